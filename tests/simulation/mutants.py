"""Deliberate defects, each of which the simulation must find. Nothing but tests can switch them on.

A mutant is a piece of a function's source and what stands in its place. One whose piece isn't there any more fails: so
none of them can lose its meaning unseen.
"""

from __future__ import annotations
import __future__

import inspect
import sys
import textwrap
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from stepwell.testing import Fault

__all__ = ["MUTANTS", "Mutant", "Patch", "switched_on"]


@dataclass(frozen=True)
class Patch:
    """In that function (`module:name` or `module:Class.name`, below `stepwell`), *new* in place of *old*."""

    where: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """A defect: what it is in words, and the patches that make it."""

    name: str
    patches: tuple[Patch, ...]
    plan: tuple[Fault, ...] | None = None
    """faults in place of those that a seed draws, for a defect that shows in one situation only"""


def _mutant(name: str, *patches: tuple[str, str, str], plan: tuple[Fault, ...] | None = None) -> Mutant:
    return Mutant(name, tuple(Patch(*patch) for patch in patches), plan)


_MEMORY: Final = "storage.memory:MemoryStorage"
_SLOW: Final = tuple(Fault(0.4, "slow", victim, 6.0) for victim in (0, 1, 2) * 6)
"""every worker's answers are late: what matters for leases is when a request was sent"""
_FLAKY: Final = (Fault(0.0, "flaky", 0, 25.0),)
_PAUSING: Final = tuple(Fault(0.7, "pause", victim, 5.0) for victim in (0, 1) * 12)

MUTANTS: Final = (
    # The eleven of the first prototype.
    _mutant(
        "no fencing: whoever commits, the newest state is overwritten",
        (
            f"{_MEMORY}._commit",
            "if not all(",
            """unit = tuple(
        replace(part, expects=self._rows[part.row.id].revision, signals=None)
        if isinstance(part, Change) and part.expects and self._rows[part.row.id].worker is not None
        else part
        for part in unit
    )
    if not all(""",
        ),
    ),
    _mutant("the token is not raised by a claim", ("storage.memory:_leased", "row.token + 1", "max(row.token, 1)")),
    _mutant(
        "a lease ends by the worker's clock",
        (
            f"{_MEMORY}.claim",
            "ids = self._take(capabilities, limit, now)",
            "ids = self._take(capabilities, limit, now + 4_000_000 * (int(worker[6]) % 3 - 1))",
        ),
    ),
    _mutant(
        "a lease is counted from the answer",
        ("_worker:Worker._ask", "sent_at) for stored", "anyio.current_time()) for stored"),
        ("_leases:Leases._renew_once", "renewal, sent_at,", "renewal, anyio.current_time(),"),
        plan=_SLOW,
    ),
    _mutant(
        "nothing stops a handler whose lease ran out",
        ("_leases:Leases._look", "if held.trusted_until <= now:", "if False:"),
        ("_leases:Leases._look", "is_over = held", "is_over = True or held"),
    ),
    _mutant(
        "no check before a handler starts",
        ("_calls:Calls._outcome", "if not held.is_trusted(now):", "if False:"),
        plan=_SLOW,
    ),
    _mutant(
        "look, then park: a signal that comes in between wakes nobody",
        ("_transition._progress:open_wait", "draft.guards_signals = True", "draft.guards_signals = False"),
    ),
    _mutant(
        "a signal is marked as used in a second transaction",
        (
            f"{_MEMORY}._change",
            "for signals, state in",
            "self._later = getattr(self, '_later', [])\n"
            "    while self._later:\n"
            "        self._mark(*self._later.pop())\n"
            "    self._later.extend((id, signal, SignalState.USED) for signal in change.uses)\n"
            "    change = replace(change, uses=())\n"
            "    for signals, state in",
        ),
    ),
    _mutant(
        "a commit that went unheard is not recognised",
        ("_runner:Run._commit", ".change == change.id", ".change == 'unknown'"),
        plan=_FLAKY,
    ),
    _mutant(
        "a cancel is ignored by the commit that follows",
        (
            f"{_MEMORY}._commit",
            "if not all(",
            """unit = tuple(
        replace(part, expects=self._rows[part.row.id].revision)
        if isinstance(part, Change) and part.expects and self._rows[part.row.id].status is Status.CANCELLED
        else part
        for part in unit
    )
    if not all(""",
        ),
    ),
    _mutant(
        "an attempt is not counted at its claim",
        (
            "storage.memory:_leased",
            "row.attempt + (row.status is not Status.SUSPENDED)",
            "row.attempt + (row.status in (Status.QUEUED, Status.WAITING))",
        ),
    ),
    # What the simulation has found in the engine.
    _mutant(
        "a decision rides along though the lease ran out",
        ("_runner:Run._settle", " and self.is_trusted(anyio.current_time())", ""),
        plan=_PAUSING,
    ),
    # What others have had.
    _mutant(
        "a cancel leaves the children running",
        (
            "_client:Client.cancel",
            "chain = await self._with_children(await self.load(id))",
            "chain = [await self.load(id)]",
        ),
    ),
    _mutant(
        "a child's end wakes nobody",
        ("_transition._draft:Draft.wake_parent", "if row.parent is not None:", "if False:"),
    ),
    _mutant(
        "a live job is rescued: a lease can be claimed before its end",
        (
            f"{_MEMORY}.claim",
            "ids = self._take(capabilities, limit, now)",
            "ids = self._take(capabilities, limit, now + round(lease * 400_000))",
        ),
    ),
    _mutant(
        "a drained worker leaves its executions running, and due never",
        (
            "_transition._machine:_lease_given_up",
            "draft.stand(Status.QUEUED, NOW)",
            "draft.stand(Status.QUEUED, NEVER)",
        ),
    ),
    _mutant(
        "a signal is used twice",
        (
            f"{_MEMORY}._mark",
            "state=state",
            "state=SignalState.PENDING if state is SignalState.USED else state",
        ),
    ),
    _mutant(
        "what ended can be written again",
        (
            f"{_MEMORY}._permits",
            "return part.expects == revision and part.signals in (None, signals)",
            "ended = row is not None and row.status.is_terminal\n"
            "            return ended or (part.expects == revision and part.signals in (None, signals))",
        ),
    ),
    _mutant(
        "a storage that can't be reached is booked as the step's failure",
        (
            "_runner:Run._settle",
            "await self._commit_in_hand(in_hand, move)",
            "try:\n"
            "        await self._services.storage.load(self._held.id)\n"
            "    except StorageError as error:\n"
            "        event = self._calls._failed(self._workflow.steps[self._row.step], error, 'error')\n"
            "        in_hand.events[:] = [event]\n"
            "        move = transition(self._workflow, self._state, event, terms)\n"
            "    await self._commit_in_hand(in_hand, move)",
        ),
    ),
    _mutant(
        "an attempt that was interrupted by a drain counts as failed",
        (
            "_runner:Run._give_up",
            "Drained() if self._calls.has_begun",
            'Raised(\'{"type":"Drained","message":"","code":"drain"}\') if self._calls.has_begun',
        ),
    ),
)


@contextmanager
def switched_on(mutant: Mutant) -> Generator[None]:
    """Run the block with the defect."""
    with ExitStack() as stack:
        for patch in mutant.patches:
            stack.enter_context(_patched(patch))
        yield


@contextmanager
def _patched(patch: Patch) -> Generator[None]:
    module_name, _, path = patch.where.partition(":")
    owner: Any = import_module(f"stepwell.{module_name}")
    *outer, name = path.split(".")
    for each in outer:
        owner = getattr(owner, each)
    original = inspect.getattr_static(owner, name)
    with _replaced(owner, name, _rewritten(original, patch)):
        yield


def _rewritten(original: Any, patch: Patch) -> Any:
    function: Any = getattr(original, "__func__", original)
    source: str = getattr(function, "__mutated__", "") or textwrap.dedent(inspect.getsource(function))
    if source.count(patch.old) != 1:
        raise LookupError(f"{patch.where} has {source.count(patch.old)} times {patch.old!r}: mend this mutant")
    made: dict[str, Any] = {}
    mutated = source.replace(patch.old, patch.new)
    code = compile(mutated, f"<mutant of {patch.where}>", "exec", flags=__future__.annotations.compiler_flag)
    exec(code, function.__globals__, made)  # noqa: S102 -- our own source, with a defect of our own
    result = made[function.__name__]
    getattr(result, "__func__", result).__mutated__ = mutated
    return result


@contextmanager
def _replaced(owner: Any, name: str, new: Any) -> Generator[None]:
    """Put *new* in its place: also where other modules have imported it by name."""
    old = inspect.getattr_static(owner, name)
    places = [(owner, name)]
    if inspect.ismodule(owner):
        places += [
            (module, name)
            for key, module in list(sys.modules.items())
            if key.startswith("stepwell") and module is not owner and getattr(module, name, None) is old
        ]
    for place, attribute in places:
        setattr(place, attribute, new)
    try:
        yield
    finally:
        for place, attribute in places:
            setattr(place, attribute, old)
