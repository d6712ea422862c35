"""Claims: what a worker gets of an execution that it has leased, also where it leased it in the commit that started it.

An engine that starts an execution while a worker of its own has a free slot, and knows of nothing else to claim, lets
that worker take it in the very commit that creates it: the claim's own round trip and commit are spared. The journal
tells the same.

A lease that came of it and that nobody runs (the answer was lost, the worker is gone) is handed back: no attempt began.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from stepwell._model import Stored
from stepwell._transition import Claimant, HandedBack, State, transition
from stepwell.storage._protocol import Lease

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell._definition import Workflow
    from stepwell._model import Change, Row
    from stepwell._program import Program
    from stepwell._services import Services

__all__ = ["Claim", "Place", "hand_back"]


@dataclass(frozen=True, slots=True)
class Claim:
    """An execution that was claimed, and what was registered for it when the claim was sent."""

    stored: Stored
    program: Program
    sent_at: float


class _Slots(Protocol):
    """The worker that keeps the place."""

    @property
    def id(self) -> str:
        """The worker's id."""
        ...

    def fill(self, claim: Claim) -> bool:
        """Begin to run the claim in the place that was kept; False if the worker starts nothing any more."""
        ...

    def vacate(self) -> None:
        """Keep the place no longer."""
        ...


class Place:
    """A free slot, kept for an execution that is being started. Whoever asked for it closes it.

    Goes with the commit that creates the execution, as its `_commits.Holder`.
    """

    def __init__(self, slots: _Slots, program: Program, lease: float) -> None:
        self._slots = slots
        self._program = program
        self._lease = lease
        self._change: Change | None = None
        self._sent_at = math.inf
        self._is_filled = False
        self._is_closed = False

    @property
    def worker(self) -> str:
        """The worker's id."""
        return self._slots.id

    @property
    def change_id(self) -> str | None:
        """The id of the Change that leases the execution as it creates it, once that is known."""
        return None if self._change is None else self._change.id

    @property
    def claimant(self) -> Claimant:
        """Who leases the execution as it is created."""
        return Claimant(self._slots.id, self._lease)

    def expect(self, change: Change) -> None:
        """Hear what will be committed."""
        self._change = change

    def is_trusted(self, now: float) -> bool:
        """Hear that the commit is sent, perhaps once more: the lease is counted from before the first time."""
        self._sent_at = min(self._sent_at, now)
        return True

    def landed(self) -> None:
        """Let the worker begin. A lease that lands after the place was closed is found by the next renewal."""
        if self._change is not None and not self._is_filled and not self._is_closed:
            stored = Stored(self._change.row, self._change.entries, (), now=0)
            self._is_filled = self._slots.fill(Claim(stored, self._program, self._sent_at))

    def close(self) -> Lease | None:
        """Free the slot if nothing runs in it, and return the lease that there is then if the commit went through."""
        self._is_closed = True
        if self._is_filled:
            return None
        self._slots.vacate()
        return None if self._change is None else Lease(self._change.row.id, self._change.row.token)


async def hand_back(
    services: Services,
    worker: str,
    lease: Lease,
    workflow_of: Callable[[Row], Workflow[Any, Any]],
    *,
    started_by: str | None = None,
) -> None:
    """Give back a lease that nobody runs, if it is still the worker's: no attempt has begun. Raises StorageError.

    A lease that came of a start names with *started_by* its Change. Where another one created the execution, the worker
    may have claimed it like any other, under the same token, and runs it.
    """
    stored = await services.storage.load(lease.id)
    if stored is None or started_by not in (None, stored.journal[0].change):
        return
    if (stored.row.worker, stored.row.token) == (worker, lease.token):
        # The attempt before may have been lost: then the crash budget decides, and it is the engine's own.
        terms = services.terms(keep_lease=False)
        move = transition(workflow_of(stored.row), State.of(stored), HandedBack("unknown claim"), terms)
        await services.commits.commit(move.unit)
