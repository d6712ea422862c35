"""What the watchdog does at which time, without its thread and without a clock. The thread: `test_blocked_loops`."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

import pytest

from stepwell import Engine, MemoryStorage, StorageError
from stepwell._leases import Beat, Ending, Held, Leases, Timing
from stepwell._watchdog import Watchdog
from stepwell.storage import Lease, Renewal
from tests.engine.flows import Ctx, line

pytestmark = pytest.mark.anyio

TIMING = Timing(lease=60.0, renew_every=15.0, margin=6.0)
BEAT = 2.0
PATIENCE = 4.0
TRUST = 54.0


class Lifeline:
    """Renews what it is told to, or not; remembers what."""

    def __init__(self, lease: float) -> None:
        self.lease = lease
        self.sent: list[list[str]] = []
        self.answer = Renewal()
        self.is_away = False
        self.closed = 0

    def lifeline(self) -> Lifeline:
        return self

    def renew(self, worker: str, leases: Sequence[Lease], *, lease: float) -> Renewal:
        assert (worker, lease) == ("worker", self.lease)
        self.sent.append([one.id for one in leases])
        if self.is_away:
            raise StorageError("it is away")
        return self.answer

    def close(self) -> None:
        self.closed += 1


class Scene:
    """A loop that beat for the last time at 1000, by its own clock; the machine's showed 0 then."""

    def __init__(self, timing: Timing = TIMING) -> None:
        self.store = Lifeline(timing.lease)
        self.leases = Leases(
            self.store,  # type: ignore[arg-type] # all that is asked of it
            "worker",
            timing,
            unknown=self._never,
            unstoppable=self._never,
            stalled=self._never,
            failed=self._never,
        )
        self.pulse = self.leases.pulse
        self.dog = Watchdog(self.store, "worker", self.leases, timing)  # type: ignore[arg-type] # as above
        self.pulse.beat = Beat(1000.0, 1000.0 + BEAT, 0.0)

    @staticmethod
    def _never(*_: object) -> None:
        raise AssertionError("the thread tells nothing of this")

    def hold(self, id: str, *, sent_at: float = 1000.0, deadline: float = math.inf, is_running: bool = False) -> Held:
        held = self.leases.take(id, 1, sent_at=sent_at)
        held.deadline = deadline
        if is_running:
            self.pulse.turn.whose = held
        return held


async def test_an_idle_worker_is_not_looked_at() -> None:
    scene = Scene()
    scene.pulse.beat = Beat(1000.0, math.inf, 0.0)
    assert scene.dog.look(10_000) == math.inf
    assert scene.dog.block is None


async def test_a_loop_that_beats_is_left_alone() -> None:
    scene = Scene()
    scene.hold("one")
    assert scene.dog.look(1) == BEAT + PATIENCE - 1
    assert scene.dog.look(BEAT + PATIENCE - 0.1) == PATIENCE / 2, "no oftener than it takes"
    assert (scene.dog.block, scene.store.sent) == (None, [])


async def test_leases_are_renewed_when_the_loop_would_have_done_so() -> None:
    scene = Scene()
    one, two = scene.hold("one"), scene.hold("two", sent_at=999)
    assert scene.dog.look(7) == 7, "the older one's next renewal is due at 14"
    assert scene.dog.block is not None
    assert scene.store.sent == []
    assert scene.dog.look(14) == 15
    assert scene.store.sent == [["one", "two"]]
    assert [one.trusted_until, two.trusted_until] == [1014 + TRUST] * 2
    assert scene.dog.look(20) == 9
    assert scene.dog.look(29) == 15
    assert len(scene.store.sent) == 2


async def test_a_block_is_noticed_once_and_the_next_one_anew() -> None:
    scene = Scene()
    scene.hold("one")
    scene.dog.look(7)
    first = scene.dog.block
    scene.dog.look(8)
    assert scene.dog.block is first
    scene.pulse.beat = Beat(1009.0, 1011.0, 9.0)
    assert scene.dog.look(10) == 5
    scene.dog.look(20)
    assert scene.dog.block is not first


async def test_trust_is_counted_from_when_the_renewal_was_sent_by_the_loops_clock() -> None:
    scene = Scene()
    scene.pulse.beat = Beat(1000.0, 1002.0, 500.0)
    held = scene.hold("one")
    scene.dog.look(520)
    assert held.trusted_until == 1020 + TRUST


@pytest.mark.parametrize("how", ["lost", "locked"])
async def test_what_could_not_be_renewed_is_not_trusted_longer(how: str) -> None:
    scene = Scene()
    kept, other = scene.hold("kept"), scene.hold("other")
    scene.store.answer = Renewal(lost=(other.lease,)) if how == "lost" else Renewal(locked=(other.lease,))
    assert scene.dog.look(20) == 15, "and asking again at once would not help"
    assert (kept.trusted_until, other.trusted_until) == (1020 + TRUST, 1000 + TRUST)


async def test_what_was_given_up_or_has_run_out_is_left_to_lapse() -> None:
    scene = Scene()
    scene.hold("kept", sent_at=1000)
    scene.hold("old", sent_at=1020 - TRUST)
    scene.hold("lost").ending = Ending.LOST
    scene.hold("drained").ending = Ending.DRAINED
    scene.dog.look(20)
    assert scene.store.sent == [["kept", "drained"]]


async def test_where_all_has_run_out_nothing_is_renewed() -> None:
    scene = Scene()
    scene.hold("one")
    assert scene.dog.look(100) == PATIENCE
    assert scene.store.sent == []
    assert scene.dog.block is not None
    assert scene.dog.block.measures == "its leases ran out"


@pytest.mark.parametrize(
    ("deadline", "until"), [(1030.0, 30), (math.inf, 180)], ids=["of the handler that blocks", "of three leases"]
)
async def test_leases_are_let_go_at_the_end(deadline: float, until: float) -> None:
    scene = Scene()
    scene.hold("one", deadline=deadline, is_running=True)
    scene.hold("another", deadline=1001)
    now = 7.0
    while now < until:
        pause = scene.dog.look(now)
        assert pause > 0
        now += pause
    assert now == pytest.approx(until)
    sent = len(scene.store.sent)
    assert sent == (1 if until == 30 else 11)
    assert scene.dog.look(now) == PATIENCE
    assert scene.dog.look(now + 1) == PATIENCE
    assert len(scene.store.sent) == sent
    assert scene.dog.block is not None
    assert scene.dog.block.let_go_after == pytest.approx(until)


async def test_a_renewal_that_fails_is_told_once_and_tried_again_soon(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    held = scene.hold("one")
    scene.store.is_away = True
    assert scene.dog.look(20) == 1
    assert held.trusted_until == 1000 + TRUST
    assert scene.dog.look(20.5) == 0.5
    assert scene.dog.look(21) == 1
    scene.store.is_away = False
    assert scene.dog.look(22) == 15
    assert held.trusted_until == 1022 + TRUST
    assert sum("can't be renewed for a blocked event loop: it is away" in one for one in caplog.messages) == 1
    assert scene.dog.block is not None
    assert scene.dog.block.measures.endswith("could not be renewed at times: it is away")


async def test_a_block_between_two_renewals_that_lie_far_apart_costs_no_lease() -> None:
    timing = Timing(lease=10.0, renew_every=8.5, margin=1.0)
    scene = Scene(timing)
    held = scene.hold("one", sent_at=991.51)  # the loop would renew at 1000.01, and can be trusted until 1000.51
    beat = timing.stall / 3
    scene.pulse.beat = Beat(1000.0, 1000.0 + beat, 0.0)
    assert timing.stall < held.trusted_until - 1000.01
    assert scene.dog.look(timing.stall + 0.001) > 0
    assert held.trusted_until > 1009


async def test_in_virtual_time_there_is_no_thread() -> None:

    async def work(ctx: Ctx) -> int:
        return sum("watchdog" in thread.name for thread in threading.enumerate())

    async with Engine(MemoryStorage(), workflows=[flow := line(work)]) as engine, engine.worker():
        assert await (await engine.start(flow, 1)).result(5) == 0


async def test_the_process_ends_when_it_is_due_however_seldom_the_loop_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    scene.hold("one")
    monkeypatch.setattr("time.monotonic", lambda: 0.0)
    scene.dog.exit_after(3.0)
    assert scene.dog.look(1.0) == 2.0, "sooner than the next beat is missed"
    scene.pulse.beat = Beat(1000.0, math.inf, 0.0)
    assert scene.dog.look(1.0) == 2.0


async def test_a_stack_whose_source_cannot_be_asked_for_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no source today")

    monkeypatch.setattr("traceback.StackSummary.extract", refuse)
    scene = Scene()
    scene.dog._loop_thread = threading.get_ident()
    scene.hold("one", is_running=True)
    scene.dog.look(BEAT + PATIENCE)
    assert scene.dog.block is not None
    assert scene.dog.block.stack == "(its stack can't be read: RuntimeError)"
