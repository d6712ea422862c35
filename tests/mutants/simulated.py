"""Defects that the simulation kills, on both event loops."""

from __future__ import annotations

from typing import Final

from stepwell.testing import Fault
from tests.mutants.patches import BySeeds, Mutant, Patch

__all__ = ["SIMULATED"]


def _mutant(name: str, *patches: tuple[str, str, str], plan: tuple[Fault, ...] | None = None) -> Mutant:
    return Mutant(name, BySeeds(plan), tuple(Patch(*patch) for patch in patches))


_MEMORY: Final = "storage.memory:MemoryStorage"
_SLOW: Final = tuple(Fault(0.4, "slow", victim, 6.0) for victim in (0, 1, 2) * 6)
"""every worker's answers are late: what matters for leases is when a request was sent"""
_FLAKY: Final = (Fault(0.0, "flaky", 0, 25.0),)
_PAUSING: Final = tuple(Fault(0.7, "pause", victim, 5.0) for victim in (0, 1) * 12)
_HELD_UP: Final = tuple(
    Fault(0.5, kind, victim, 3.0) for victim in (0, 1, 2) * 3 for kind in ("stubborn", "slow", "partition")
)
"""handlers that go on for a while, in workers whose renewals are late or lost"""

SIMULATED: Final = (
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
        ("_claiming:Claiming.request", "sent_at) for stored", "anyio.current_time()) for stored"),
        ("_leases:Leases._renew_once", "renewal, sent_at,", "renewal, anyio.current_time(),"),
        plan=_SLOW,
    ),
    _mutant(
        "nothing stops a handler whose lease ran out",
        ("_leases:Leases._look", "if held.trusted_until <= now:", "if False:"),
        ("_leases:Leases._look", "is_over = held", "is_over = True or held"),
    ),
    _mutant(
        "a lease is trusted to its very end",
        ("_leases:Leases.__init__", "timing.lease - timing.margin", "timing.lease"),
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
        ("_settling:Settling._commit", ".change == change.id", ".change == 'unknown'"),
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
        ("_settling:Settling.settle", " and self.is_trusted(self._services.loop.clock())", ""),
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
        plan=_HELD_UP,
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
            "_settling:Settling.settle",
            "await self._commit_in_hand(in_hand, move)",
            "try:\n"
            "        await self._services.storage.load(self._held.id)\n"
            "    except StorageError as error:\n"
            "        event = self._calls._failed(self._workflow.steps[self.row.step], error, 'error')\n"
            "        in_hand.events[:] = [event]\n"
            "        move = transition(self._workflow, self.state, event, terms)\n"
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
