"""What the checks of a storage are made of: a corner of the storage that nobody else uses, and rows to put into it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import uuid4

import anyio
from msgspec.structs import replace

from stepwell.storage import NEVER, NOW, Change, Deposit, Entry, Kind, Lease, Moment, Query, Row, Signal, Status, Wake

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from stepwell.storage import Capability, Claims, Storage, Stored

HOUR: Final = 3600.0
_HELD_UP_PAUSE: Final = 0.01
"""seconds"""


class ContractBroken(AssertionError):
    """Raised when a storage doesn't keep a promise of `stepwell.storage.Storage`; the message says which, and how."""


class Check(Protocol):
    """A promise of a storage as a function: it raises `ContractBroken` where an opened storage doesn't keep it.

    A check brings ids, workflows and workers of its own, so all of them may run on one database, in any order, one
    after the other. Those of a purge delete whatever has ended: never run them where something is to be kept.
    """

    @property
    def __name__(self) -> str:
        """What is checked, in words."""
        ...

    async def __call__(self, storage: Storage, /) -> None:
        """Run the check."""
        ...


def expect(kept: bool, promise: str, /) -> None:  # noqa: FBT001 (reads as a sentence)
    """Raise ContractBroken with *promise* unless it was *kept*."""
    if not kept:
        raise ContractBroken(promise)


def expect_equal(found: object, expected: object, promise: str, /) -> None:
    """Raise ContractBroken with *promise* and both values unless they are equal."""
    if found != expected:
        msg = f"{promise}\n  expected: {_shortened(expected)}\n  found:    {_shortened(found)}"
        raise ContractBroken(msg)


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 2_000 else f"{text[:2_000]}… ({len(text)} characters)"


def unique() -> str:
    """Return a name that nothing else has."""
    return uuid4().hex


@dataclass(frozen=True, slots=True)
class Scene:
    """A workflow, workers and executions that no other check knows, in a storage that it may share with others."""

    storage: Storage
    name: str = field(default_factory=unique)

    @property
    def workflow(self) -> str:
        """The workflow of all executions here that name no other."""
        return f"w{self.name}"

    @property
    def capability(self) -> Capability:
        """That workflow in version 1."""
        return self.workflow, "1"

    @property
    def worker(self) -> str:
        """Who claims here, unless another is named."""
        return f"worker-{self.name}"

    @property
    def rival(self) -> str:
        """Another worker."""
        return f"rival-{self.name}"

    def id(self, name: str, /) -> str:
        """Return an execution's id of this scene."""
        return f"{self.name}:{name}"

    # What is put into the storage.

    def row(
        self,
        name: str = "one",
        /,
        *,
        status: Status = Status.QUEUED,
        step: str | None = "work",
        workflow: str | None = None,
        version: str = "1",
    ) -> Row:
        """Return the row of an execution that isn't stored yet."""
        return Row(
            id=self.id(name),
            workflow=workflow or self.workflow,
            version=version,
            status=status,
            step=None if status.is_terminal else step,
            visit=0 if status.is_terminal else 1,
            attempt=0,
            revision=1,
        )

    async def create(self, row: Row | None = None, /, *, due: Moment = NOW, timer: Moment | None = None) -> Row:
        """Commit a new execution and return its row as it is stored now."""
        row = row or self.row()
        await self.committed(change(row, due=due, timer=timer))
        return await self.stored_row(row.id)

    async def create_many(self, rows: Iterable[Row], /, *, due: Moment = NOW) -> None:
        """Commit new executions, each in a unit of its own, all in one call."""
        results = await self.storage.commit([(change(row, due=due),) for row in rows])
        expect(all(results), "a new execution must be committed; commit returned False for one whose id is new")

    async def commit(self, *parts: Change | Wake | Deposit) -> bool:
        """Commit one unit and return whether it was committed."""
        while True:
            results = await self.storage.commit([parts])
            expect_equal(len(results), 1, "commit must return one result per unit")
            if results[0] is not None:
                return results[0]
            await anyio.sleep(_HELD_UP_PAUSE)

    async def committed(self, *parts: Change | Wake | Deposit) -> None:
        """Commit one unit whose guards hold."""
        expect(await self.commit(*parts), f"a unit whose guards hold must be committed, but was refused: {parts!r}")

    async def refused(self, *parts: Change | Wake | Deposit, promise: str) -> None:
        """Send one unit of which a guard doesn't hold."""
        expect(not await self.commit(*parts), f"{promise}; but it was committed")

    # What is read from it.

    async def stored(self, id: str, /) -> Stored:
        """Load an execution that must be there."""
        stored = await self.storage.load(id)
        if stored is None:
            msg = f"load must return an execution that was committed, but found none under {id!r}"
            raise ContractBroken(msg)
        return stored

    async def stored_row(self, id: str, /) -> Row:
        """Load the row of an execution that must be there."""
        return (await self.stored(id)).row

    async def found(self, query: Query, /) -> list[str]:
        """Return the names, newest first, of this scene's executions that a query finds on its first page."""
        page = await self.storage.find(query)
        return [row.id.removeprefix(f"{self.name}:") for row in page.rows]

    async def claims(
        self,
        *,
        worker: str | None = None,
        capabilities: Sequence[Capability] | None = None,
        limit: int = 100,
        lease: float = HOUR,
        held: Sequence[Lease] = (),
    ) -> Claims:
        """Claim what is due here."""
        named = [self.capability] if capabilities is None else capabilities
        return await self.storage.claim(worker or self.worker, named, limit=limit, lease=lease, held=held)

    async def claimed(self, *, worker: str | None = None, limit: int = 100, lease: float = HOUR) -> list[str]:
        """Claim what is due here and return the names of what came."""
        claims = await self.claims(worker=worker, limit=limit, lease=lease)
        return [stored.row.id.removeprefix(f"{self.name}:") for stored in claims.claimed]

    async def claimed_soon(self, *, worker: str, promise: str) -> None:
        """Claim again and again, letting time pass, until something comes."""
        for _ in range(1_000):
            if await self.claimed(worker=worker):
                return
            await anyio.sleep(0.01)
        msg = f"{promise}, but wasn't within 10 s"
        raise ContractBroken(msg)

    async def claim_one(self, *, worker: str | None = None, lease: float = HOUR) -> Row:
        """Claim the one execution that is due here, and return its row."""
        claims = await self.claims(worker=worker, lease=lease)
        expect_equal(len(claims.claimed), 1, "claim must lease the one execution that is due")
        return claims.claimed[0].row


async def at_once(*calls: Callable[[], Awaitable[Any]], swapped: bool = False) -> list[Any]:
    """Run the calls as tasks, the last one first if *swapped*, and return their results in the order given.

    A broken promise leaves bare, not in a group.
    """
    results: list[Any] = [None] * len(calls)
    broken: list[ContractBroken] = []

    async def run(place: int) -> None:
        try:
            results[place] = await calls[place]()
        except ContractBroken as exc:
            broken.append(exc)

    async with anyio.create_task_group() as tasks:
        for place in reversed(range(len(calls))) if swapped else range(len(calls)):
            tasks.start_soon(run, place)
    if broken:
        raise broken[0]
    return results


def change(
    row: Row,
    /,
    *,
    expects: int = 0,
    entries: Sequence[Entry] = (Entry(Kind.CREATED, "work", 1),),
    due: Moment | None = NOW,
    timer: Moment | None = None,
    signals: int | None = None,
    uses: Sequence[str] = (),
    discards: Sequence[str] = (),
) -> Change:
    """Return a Change that stores *row*, by default as a new execution."""
    return Change(
        id=f"change-{unique()}",
        row=replace(row, revision=expects + len(entries)),
        expects=expects,
        entries=tuple(entries),
        due=due,
        timer=timer,
        signals=signals,
        uses=tuple(uses),
        discards=tuple(discards),
    )


def following(
    before: Row,
    /,
    *,
    status: Status,
    step: str | None = "work",
    due: Moment | None = NEVER,
    timer: Moment | None = None,
    signals: int | None = None,
    uses: Sequence[str] = (),
    discards: Sequence[str] = (),
) -> Change:
    """Return a Change that moves an execution on from a row that is stored; the lease is given back unless it runs."""
    running = status is Status.RUNNING
    row = replace(
        before,
        status=status,
        step=None if status.is_terminal else step,
        worker=before.worker if running else None,
    )
    entries = (Entry(Kind.STEP_SUCCEEDED, "work", 1), Entry(Kind.QUEUED, step, 1))
    return change(
        row,
        expects=before.revision,
        entries=entries,
        due=due,
        timer=timer,
        signals=signals,
        uses=uses,
        discards=discards,
    )


def wake(id: str, /, *, child: str = "child") -> Wake:
    """Return the wake-up of a parent."""
    return Wake(id=id, entry=Entry(Kind.WOKEN, ref=child, route="succeeded"))


def deposit(
    id: str, /, *, expects: int = 0, signal: str = "signal", step: str = "work", payload: str = "null"
) -> Deposit:
    """Return a signal for a wait."""
    return Deposit(id=id, signal=Signal(signal, step, payload), expects=expects)


def lease_of(row: Row, /) -> Lease:
    """Return the lease under which a claimed row is held."""
    return Lease(row.id, row.token)


def same_but(before: Row, after: Row, /, **settled: Any) -> bool:
    """Whether only *settled* fields, and the time of the last update, differ."""
    return replace(before, updated_at=after.updated_at, **settled) == after
