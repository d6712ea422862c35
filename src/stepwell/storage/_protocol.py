"""What a storage promises. Every sentence here is a check in `stepwell.testing.STORAGE_CHECKS`.

A storage knows due times, leases, revisions, wakes and signals as such. It never sees a retry, a route, a timeout or a
policy: those are decided by the core and arrive as a Change.

Time: the storage's own clock decides what is due and when a lease ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from msgspec import Struct

from stepwell._errors import StepwellError
from stepwell._model import Definition, Entry, Page, Query, Stored, Unit

__all__ = ["Capability", "Claims", "Lease", "Lifeline", "Renewal", "Storage", "StorageError"]


class StorageError(StepwellError):
    """Raised when a storage can't answer: it is away, full, locked or broken.

    What was being written may have been written or not; whoever sent it looks for its Change's id.
    """


Capability = tuple[str, str]
"""A workflow's name and version, as a worker can run it."""


class Lease(Struct, frozen=True, gc=False):
    """The right to run one execution, as one worker holds it."""

    id: str
    token: int


class Claims(Struct, frozen=True, gc=False):
    """What a claim brought: executions now leased to the worker, and which of those it held are its own no more."""

    claimed: tuple[Stored, ...] = ()
    lost: tuple[Lease, ...] = ()


class Renewal(Struct, frozen=True, gc=False):
    """What a renewal found: leases that are the worker's no more, and leases of the worker that it didn't name."""

    lost: tuple[Lease, ...] = ()
    unknown: tuple[Lease, ...] = ()
    locked: tuple[Lease, ...] = ()
    """those that are the worker's still, but that could not be moved: somebody else holds their rows for long"""


class Lifeline(Protocol):
    """A renewer that works without an event loop, for the thread that stands in for a blocked one."""

    def renew(self, worker: str, leases: Sequence[Lease], *, lease: float) -> Renewal:
        """Renew *leases* for *lease* seconds and tell what `Storage.renew` does, from any thread. Raises StorageError.

        May open its connection first.
        """
        ...

    def close(self) -> None:
        """Give its connection back."""
        ...


class Storage(Protocol):
    """Keeps executions, their journals and their signals. An async context manager, used inside only."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> bool | None: ...

    async def define(self, definitions: Sequence[Definition], /) -> tuple[Definition, ...]:
        """Make workflows known; return those stored ones that contradict.

        A definition whose name and version are stored with another digest is replaced when no live execution uses it;
        else nothing of it changes and the stored one is returned. The same digest is no contradiction, and the graph
        (its labels) is brought up to date.
        """
        ...

    async def commit(self, units: Sequence[Unit], /) -> Sequence[bool | None]:
        """Commit each unit whole or not at all; return for each whether it was committed.

        No two units of one call touch the same execution. A unit is refused (False) when any guard in it doesn't hold:
        a Change whose `expects` isn't the stored revision, whose `signals` (if given) isn't the stored counter, or
        which creates an id that exists; a Deposit whose execution is unknown or terminal, whose `expects` isn't the
        stored counter, or whose signal id was used before in that execution. One refused unit doesn't affect the
        others.

        A committed Change appends its entries (`seq` from `expects` + 1, all with the Change's id and the same time),
        and stores its row with the revision of the last of them. `due` and `timer` become times by the storage's clock;
        where they are None, they stay. The row's signal counter is never changed by a Change. The first commit gives
        `created_at`, and each `updated_at` and `ended_at` (None unless the status is terminal, also after a resume).
        Workflow, version, parent, tags, metadata and input are those of the first commit. One that creates an execution
        running, with a worker and a token, leases it to that worker until it is due. Signals that it uses or
        discards are marked so.

        None stands for a unit of which somebody else holds a row, where to wait for it would hold up the others:
        nothing of it was written, and it is to be sent again.

        The items of one unit are applied in their order, and no guard among them depends on an item before it.

        When the call returns, what was committed survives the death of the process (SQLite and Postgres: of the
        machine). Raises StorageError, after which each unit may have been committed or not.
        """
        ...

    async def claim(
        self,
        worker: str,
        capabilities: Sequence[Capability],
        /,
        *,
        limit: int,
        lease: float,
        held: Sequence[Lease] = (),
    ) -> Claims:
        """Lease up to *limit* due executions of these workflows to *worker* for *lease* seconds, longest due first.

        Due is what has `due_at` at or before now. Two callers never receive the same execution while its lease runs.
        No execution of a workflow and version that isn't named is touched. Each workflow that has due work gets at
        least one place as long as *limit* allows.

        A claim raises `token` and `revision` by one, sets the status to running, the worker, and `due_at` to the end of
        the lease; raises `attempt` by one unless the execution was suspended; and appends one `execution.claimed` entry
        with the row's step, visit and attempt, the worker, the token and, as `ref`, the status it found. `timer_at`
        stays.

        Also returns which of *held* are the worker's no more (another token, or not running), as it is after the claim.
        A *limit* of 0 only asks that.
        """
        ...

    async def renew(self, worker: str, leases: Sequence[Lease], /, *, lease: float) -> Renewal:
        """Move the end of the worker's *leases* to *lease* seconds from now.

        A lease is valid while worker, token and the status running match, even past its end if nobody claimed it.
        Neither the revision nor the journal changes. Returns those that are the worker's no more, and leases that the
        worker holds without having named them (from a claim whose answer was lost).
        """
        ...

    async def load(self, id: str, /) -> Stored | None:
        """Return the execution with its whole journal and its signals, as of one moment; None if there is none."""
        ...

    async def journal(self, id: str, /, *, after: int = 0, limit: int = 1000) -> list[Entry]:
        """Return up to *limit* entries with a `seq` above *after*, in order; empty if there is no such execution."""
        ...

    async def find(self, query: Query, /) -> Page:
        """Return one page of rows that match, newest first, ties by id descending. Never more than `query.limit`.

        Raises ValueError for a limit below 1 or above 1,000.
        """
        ...

    async def purge(self, age: float, /, *, limit: int) -> int:
        """Delete executions that ended *age* seconds ago or earlier; return how many were deleted.

        With an execution go its journal, its signals and its input, and its id is free: the next Change that creates it
        makes a new one. What hasn't ended stays, also what had ended and was resumed, and so does what ended later.

        An execution without a parent goes with its children, and theirs, in one piece and only when all of them ended
        so long ago. So nothing goes whose parent is still there, however long ago it ended itself.

        The longest ended go first. Never more than *limit* go, but where those that go together are more: then they go
        alone. Returns 0 when there is nothing to delete. What several delete at once is counted by one of them.

        Takes no longer than other calls, and holds up no claim and no commit; what it finds locked it passes over.
        Raises ValueError for an age below 0 and a limit below 1.
        """
        ...

    async def wakeup(self) -> None:
        """Return when something may have become due or changed through another process; a hint, never the truth.

        Where nothing can tell, it never returns. May return for no reason.
        """
        ...

    def lifeline(self) -> Lifeline:
        """Open a synchronous renewer. From any thread."""
        ...
