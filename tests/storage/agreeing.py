"""The storage protocol as a state machine: memory is the model, and the others must answer and keep the same.

Each rule asks all storages the same and compares what they say; then what they keep of the executions that it touched,
and the page of all. Calls go through a portal: the storages live on an event loop in a thread of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import Any, Final

from anyio.from_thread import BlockingPortal
from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from stepwell.storage import (
    LIVE,
    NEVER,
    NOW,
    TERMINAL,
    Change,
    Claims,
    Definition,
    Deposit,
    Entry,
    Kind,
    Lease,
    Moment,
    Query,
    Renewal,
    Row,
    Signal,
    SignalState,
    Status,
    Storage,
    Stored,
    Unit,
    Wake,
)

__all__ = ["Agreeing", "OpenAll"]

OpenAll = Callable[[Callable[[], float]], Sequence[AbstractContextManager[Storage]]]
"""Makes empty storages whose clock is this, not opened yet; the first is the model."""

BEGINNING: Final = 1_800_000_000_000_000
IDS: Final = tuple(f"e{number}" for number in range(5))
PAIRS: Final = (("w", "1"), ("w", "2"), ("other", "1"))
WORKERS: Final = ("one", "two")
STEPS: Final = ("a", "b")
PAYLOADS: Final = (
    "null",
    '"\\u0000 \\ud800 \\u0000"',
    "1e23",
    "-0",
    "1.7976931348623157e308",
    "123456789012345678901234567890",
    '{"b":1,"a":2,"b":3}',
    ' { "spaced" : [ ] } ',
    '"naïve 🚀 \U0010ffff \u2028 \x7f"',
    "[" * 90 + "]" * 90,
)
METADATA: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"n": 1, "on": True},
    {"n": 2**53 + 1},
    {"n": "1", "é 🚀": "\u2028"},
    {"on": 1},
)
TAGS: Final = ((), ("red",), ("red", "blue 🚀"))

ids = st.sampled_from(IDS)
pairs = st.sampled_from(PAIRS)
workers = st.sampled_from(WORKERS)
payloads = st.sampled_from(PAYLOADS)
delays = st.sampled_from([0.0, 1e-6, 2.5e-6, 1 / 3, 1.0, 60.0, 2_600_000.0])
ahead = st.sampled_from([-60_000_000, -1, 0, 1, 3_600_000_000])
statuses = st.sampled_from([*Status, *LIVE, Status.QUEUED, Status.SUSPENDED])
leases = st.sampled_from([0.0, 60.0, 60.0, 3600.0])
capabilities = st.just(list(PAIRS)) | st.lists(pairs, unique=True, max_size=3)
off = st.sampled_from([0, 0, 0, 0, 0, 0, -1, 1])
"""how far a guard is from what is stored: mostly it holds"""


@st.composite
def moments(draw: st.DrawFn, now: int) -> Moment:
    match draw(st.integers(0, 5)):
        case 0:
            return NEVER
        case 1:
            return Moment(at=now + draw(ahead))
        case 2 | 3:
            return NOW
        case _:
            return Moment(after=draw(delays))


@st.composite
def entries(draw: st.DrawFn) -> tuple[Entry, ...]:
    kinds = st.sampled_from([Kind.STEP_SUCCEEDED, Kind.STEP_RETRY, Kind.QUEUED])
    return tuple(
        Entry(kind, draw(st.sampled_from(STEPS)), 1, 2, ref=draw(st.none() | st.just("ref 🚀")), payload=draw(payloads))
        for kind in draw(st.lists(kinds, min_size=1, max_size=3))
    )


class Agreeing(RuleBasedStateMachine):
    """Storages that are told the same."""

    def __init__(self, portal: BlockingPortal, open_all: OpenAll) -> None:
        super().__init__()
        self._portal = portal
        self._microseconds = BEGINNING
        self._stack = ExitStack()
        opened = [self._stack.enter_context(one) for one in open_all(lambda: self._microseconds / 1_000_000)]
        self._storages: list[Any] = list(opened)
        self._changes = 0
        self._leases: list[Lease] = []
        """every lease that was ever given, most of them stale"""

    def teardown(self) -> None:
        """Compare all that is kept, and close."""
        try:
            self._compare_kept(IDS)
        finally:
            self._stack.close()

    # -- asking --------------------------------------------------------------------------------------------------------

    def ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Ask all storages, at one moment and a microsecond after the last; return what the model says."""
        self._microseconds += 1
        answers = [self._portal.call(partial(self._answer, one, method, arguments, options)) for one in self._storages]
        model, *others = answers
        for storage, answer in zip(self._storages[1:], others, strict=True):
            assert answer == model, f"{type(storage).__name__}.{method}\n  model: {model}\n  found: {answer}"
        return model

    @staticmethod
    async def _answer(storage: Any, method: str, arguments: Sequence[Any], options: dict[str, Any]) -> Any:
        answer = await getattr(storage, method)(*arguments, **options)
        match answer:
            case Renewal(lost, unknown, locked):  # in no order that is promised
                return Renewal(*(tuple(sorted(some, key=lambda lease: lease.id)) for some in (lost, unknown, locked)))
            case _:
                return answer

    def kept(self, id: str) -> Stored | None:
        """Return what the model keeps."""
        stored: Stored | None = self._portal.call(self._storages[0].load, id)
        return stored

    def _compare_kept(self, touched: Sequence[str]) -> None:
        for id in touched:
            self.ask("load", id)
        self.ask("find", Query(limit=1000))

    # -- committing ----------------------------------------------------------------------------------------------------

    def _change(self, data: st.DataObject, id: str, stored: Stored | None) -> Change:
        """Return what moves an execution, or makes one; now and then with a guard that doesn't hold."""
        draw = data.draw
        status = draw(statuses)
        is_over = status in TERMINAL
        self._changes += 1
        row = self._new_row(data, id) if stored is None else stored.row
        signals = () if stored is None else tuple(signal.id for signal in stored.signals)
        marked = draw(st.lists(st.sampled_from([*signals, "unknown"]), unique=True, max_size=2)) if signals else []
        lines = draw(entries())
        due = moments(self._microseconds)
        expects = (0 if stored is None else row.revision) + draw(off)
        return Change(
            id=f"change{self._changes}",
            row=replace(
                row,
                status=status,
                step=None if is_over else draw(st.sampled_from(STEPS)),
                attempt=draw(st.integers(0, 3)),
                token=row.token + draw(st.integers(0, 1)),
                worker=draw(workers) if status is Status.RUNNING else None,
                pausing=status is Status.RUNNING and draw(st.booleans()),
                output=draw(st.none() | payloads),
                error=draw(st.none() | payloads),
                revision=expects + len(lines),
            ),
            expects=max(expects, 0),
            entries=lines,
            due=NEVER if is_over else draw(due if stored is None else st.none() | due),
            timer=NEVER if is_over else draw(st.none() | due),
            signals=None if stored is None else draw(st.none() | off.map(lambda by: stored.row.signals + by)),
            uses=tuple(marked[:1]),
            discards=tuple(marked[1:]),
        )

    def _new_row(self, data: st.DataObject, id: str) -> Row:
        workflow, version = data.draw(pairs)
        parents = [other for other in IDS[: IDS.index(id)] if self.kept(other) is not None]
        return Row(
            id=id,
            workflow=workflow,
            version=version,
            status=Status.QUEUED,
            step="a",
            visit=1,
            attempt=0,
            revision=0,
            parent=data.draw(st.none() | st.sampled_from(parents)) if parents else None,
            tags=data.draw(st.sampled_from(TAGS)),
            metadata=data.draw(st.sampled_from(METADATA)),
            input=data.draw(payloads),
        )

    def _deposit(self, data: st.DataObject, id: str, stored: Stored | None) -> Deposit:
        counted = 0 if stored is None else stored.row.signals
        name = data.draw(st.sampled_from([f"s{counted}", f"s{counted}", "s0", "é 🚀"]))
        signal = Signal(name, data.draw(st.sampled_from(STEPS)), data.draw(payloads), SignalState.USED, 7)
        return Deposit(id=id, signal=signal, expects=max(counted + data.draw(off), 0))

    def _parts(self, data: st.DataObject, id: str) -> list[Change | Wake | Deposit]:
        """Return what one unit does to one execution."""
        stored = self.kept(id)
        match data.draw(st.integers(0, 5)):
            case 0:
                return [Wake(id=id, entry=Entry(Kind.WOKEN, ref="child 🚀", route="succeeded"))]
            case 1:
                return [self._deposit(data, id, stored)]
            case 2 if stored is not None:  # as a client does whose signal finds its wait open
                deposit, change = self._deposit(data, id, stored), self._change(data, id, stored)
                return [deposit, replace(change, uses=(deposit.signal.id,), signals=None)]
            case _:
                return [self._change(data, id, stored)]

    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        touched = data.draw(st.lists(ids, unique=True, min_size=1, max_size=4))
        units: list[list[Change | Wake | Deposit]] = [[]]
        for id in touched:
            is_alone = data.draw(st.booleans())
            if units[-1] and is_alone:
                units.append([])
            units[-1].extend(self._parts(data, id))
        sent: list[Unit] = [tuple(unit) for unit in units]
        for result in self.ask("commit", sent):
            event(f"unit committed: {result}")
        self._compare_kept(touched)

    # -- leasing -------------------------------------------------------------------------------------------------------

    @rule(worker=workers, capabilities=capabilities, limit=st.integers(0, 4), lease=leases, held=st.data())
    def claim(
        self, worker: str, capabilities: list[tuple[str, str]], limit: int, lease: float, held: st.DataObject
    ) -> None:
        named = self._some_leases(held, worker)
        claims: Claims = self.ask("claim", worker, capabilities, limit=limit, lease=lease, held=named)
        event(f"claimed: {len(claims.claimed)}")
        self._leases.extend(Lease(stored.row.id, stored.row.token) for stored in claims.claimed)
        self._compare_kept([stored.row.id for stored in claims.claimed])

    @rule(worker=workers, lease=leases, named=st.data())
    def renew(self, worker: str, lease: float, named: st.DataObject) -> None:
        leases = self._some_leases(named, worker)
        renewal: Renewal = self.ask("renew", worker, leases, lease=lease)
        event(f"renewed: {len(leases) - len(renewal.lost)}")
        self._compare_kept([one.id for one in leases])

    def _some_leases(self, data: st.DataObject, worker: str) -> list[Lease]:
        """Return leases that the worker holds, now and then without one of them and with some that are stale."""
        rows = [stored.row for id in IDS if (stored := self.kept(id)) is not None and stored.row.worker is not None]
        held = [Lease(row.id, row.token) for row in rows if row.worker == worker]
        stale = [*dict.fromkeys(self._leases), *(Lease(row.id, row.token) for row in rows), Lease("unknown", 1)]
        more = data.draw(st.lists(st.sampled_from(stale), unique=True, max_size=2))
        named = [*held, *more] if data.draw(st.integers(0, 4)) else [*held[1:], *more]
        return list(dict.fromkeys(named))

    # -- reading -------------------------------------------------------------------------------------------------------

    @rule(id=ids | st.just("unknown"), after=st.integers(0, 6), limit=st.integers(1, 4))
    def journal(self, id: str, after: int, limit: int) -> None:
        self.ask("journal", id, after=after, limit=limit)

    @rule(
        query=st.builds(
            Query,
            ids=st.just(()) | st.lists(ids, max_size=3).map(tuple),
            workflow=st.none() | st.sampled_from(["w", "other"]),
            version=st.none() | st.sampled_from(["1", "2"]),
            status=st.lists(st.sampled_from(Status), max_size=3, unique=True).map(tuple),
            tag=st.none() | st.sampled_from(["red", "blue 🚀"]),
            metadata=st.sampled_from(METADATA),
            parent=st.none() | ids,
            id_prefix=st.none() | st.sampled_from(["e", "e1", "%", "E"]),
            limit=st.integers(1, 3),
        )
    )
    def find_all_pages(self, query: Query) -> None:
        for _ in IDS:
            page = self.ask("find", query)
            if not page.more:
                return
            query = replace(query, after=(page.rows[-1].created_at, page.rows[-1].id))
        raise AssertionError("more pages than executions")

    # -- the rest ------------------------------------------------------------------------------------------------------

    @rule(pair=pairs, digest=st.sampled_from("xy"), graph=payloads)
    def define(self, pair: tuple[str, str], digest: str, graph: str) -> None:
        self.ask("define", [Definition(*pair, digest, graph)])

    @rule(age=st.sampled_from([0.0, 1 / 3, 60.0, 60.0]), limit=st.integers(1, 5))
    @precondition(lambda self: self._changes > 5)
    def purge(self, age: float, limit: int) -> None:
        event(f"purged: {self.ask('purge', age, limit=limit)}")
        self._compare_kept(IDS)

    @rule(seconds=delays)
    def time_passes(self, seconds: float) -> None:
        self._microseconds += round(seconds * 1_000_000)

    @invariant()
    def revisions_are_those_of_the_journal(self) -> None:
        for id in IDS:
            stored = self.kept(id)
            assert stored is None or [entry.seq for entry in stored.journal] == list(range(1, stored.row.revision + 1))
