"""A thread that stands in for an event loop that doesn't turn: it tells who blocks it, and renews the leases meanwhile.

Starts a daemon thread for each worker, which ends with it. It looks at the loop's beats (`_leases.Pulse`), a few times
in the time for which the loop may stand still, and sleeps while nothing is held.

Rule 1: a loop that is blocked by a handler keeps all leases of its worker until that handler's timeout, for none of the
others can run; without a timeout, or where it isn't known who blocks it, for three leases. Then they are let go.
Rule 2: a lease that isn't trusted any more is left to lapse, as the loop would do.
Rule 3: whatever goes wrong here harms neither the thread nor the worker: it is told, and tried again.
Rule 4: nobody waits for a log: who blocks the loop may do so in a log handler, and hold the lock that telling needs.
"""

from __future__ import annotations

import itertools
import logging
import math
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import anyio

from stepwell._failure import failure_of
from stepwell._interrupts import exposed

if TYPE_CHECKING:
    from stepwell._leases import Beat, Held, Leases, Timing
    from stepwell._model import Row
    from stepwell.storage._protocol import Lifeline, Storage

__all__ = ["EXIT_CODE", "Block", "Watchdog"]

EXIT_CODE: Final = 70
"""of a process that is ended because a handler keeps its worker from leaving (EX_SOFTWARE in sysexits.h)"""
_LEASES: Final = 3
"""leases for which a loop may be blocked by who has no timeout"""
_RETRY: Final = 1.0
"""seconds at most between two tries to renew"""
_FRAMES: Final = 20
_LINE: Final = 200
"""frames of a stack that are shown, from the innermost on, and characters of each line"""
_JOIN: Final = 1.0
"""seconds for which the thread's end is waited for where it isn't talking to the storage"""
_TELL: Final = 0.05
_LAST_WORDS: Final = 1.0
"""seconds for which a log is waited for, and for which it is before the process ends"""
_SPIN: Final = 50e-6
"""seconds"""

logger = logging.getLogger("stepwell")


@dataclass(slots=True)
class Block:
    """A time in which the loop doesn't turn, as the thread saw it. The loop reads it when it turns again."""

    beat: Beat
    """the last one before"""
    row: Row | None
    """where the execution stands whose handler blocks the loop; None if it isn't known to be one"""
    stack: str
    limit: float
    """when the leases are let go, by the loop's clock"""
    next_try: float = -math.inf
    renewals: int = 0
    let_go_after: float | None = None
    """seconds after which the leases weren't renewed any more"""
    has_run_out: bool = False
    """whether no lease could be trusted any more"""
    trouble: str | None = None
    """why they couldn't be renewed, the last time they couldn't"""

    @property
    def culprit(self) -> str:
        """Who blocks the loop, in words."""
        if self.row is None:
            return "something that is no handler's own code"
        return f"step {self.row.step!r} (attempt {self.row.attempt}) of execution {self.row.id!r}"

    @property
    def measures(self) -> str:
        """What was done about the leases, in words."""
        told: list[str] = []
        if self.renewals:
            told.append("its leases were renewed in its place")
        if self.let_go_after is not None:
            told.append(f"its leases were let go after {self.let_go_after:.1f} s")
        if self.has_run_out:
            told.append("its leases ran out")
        if self.trouble is not None:
            told.append(f"its leases could not be renewed at times: {self.trouble}")
        return "; ".join(told) or "its leases needed no renewal"


class Watchdog:
    """Watches the loop of one worker from a thread."""

    def __init__(self, storage: Storage, worker: str, leases: Leases, timing: Timing) -> None:
        self._storage = storage
        self._worker = worker
        self._leases = leases
        self._lease = timing.lease
        self._renew_every = timing.renew_every
        self._spare = leases.trust_of_a_lease - timing.renew_every
        """seconds of trust that are left when a renewal is due"""
        self._pause_after_trouble = min(_RETRY, timing.renew_every / 4)
        self._lifeline: Lifeline | None = None
        self._is_over = False
        self._is_talking = False
        """whether the thread waits for the storage"""
        self._exit_at = math.inf
        self._loop_thread = 0
        self.block: Block | None = None
        """the last one"""

    @contextmanager
    def watching(self) -> Generator[None]:
        """Watch the running loop for as long as the block runs.

        Virtual time stands still while a handler blocks the loop, and no lease runs out: then there is no thread.
        """
        if not _follows_the_machine():
            yield
            return
        self._loop_thread = threading.get_ident()
        thread = threading.Thread(target=self._run, name=f"stepwell watchdog of {self._worker}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._is_over = True
            self._leases.pulse.woken.set()
            if not self._is_talking:  # else it ends with the storage's answer, for which nobody has to wait
                thread.join(_JOIN)

    def exit_after(self, seconds: float) -> None:
        """End the process if it is still watched in so many seconds: a handler keeps the worker from leaving."""
        self._exit_at = min(self._exit_at, time.monotonic() + seconds)
        self._leases.pulse.woken.set()

    def _run(self) -> None:
        pulse = self._leases.pulse
        try:
            while True:
                pulse.woken.clear()
                if self._is_over:
                    return
                try:
                    pause = self.look(time.monotonic())
                except Exception as error:  # rule 3
                    self._tell_stumble(error)
                    pause = self._pause_after_trouble
                pulse.is_unseen = math.isinf(pulse.beat.due)
                if not pulse.is_unseen or math.isinf(pulse.beat.due):  # else the loop began to beat just now
                    pulse.woken.wait(min(pause, self._lease))
                pulse.is_unseen = False
        finally:
            self._close()

    def look(self, real: float) -> float:
        """Do what is due at that time of the monotonic clock; return the seconds after which to look again."""
        if real >= self._exit_at:
            self._end_the_process()
        return min(self._look(real), self._exit_at - real)

    def _look(self, real: float) -> float:
        beat = self._leases.pulse.beat
        now = beat.at + real - beat.real
        patience = self._leases.patience
        late = now - beat.due
        if late < patience:
            return max(patience - late, patience / 2)
        if self.block is None or self.block.beat is not beat:
            self.block = self._noticed(beat)
            self._tell_of(self.block, now)
        return max(self._stand_in(self.block, now), 0.0)

    def _noticed(self, beat: Beat) -> Block:
        held: Held | None = self._leases.pulse.turn.whose
        row = None if held is None else held.row
        block = Block(beat, row, _stack_of(self._loop_thread), limit=beat.at + _LEASES * self._lease)
        self._set_limit(block)
        return block

    def _tell_of(self, block: Block, now: float) -> None:
        _tell(
            logging.WARNING,
            "stepwell: the event loop of worker %s hasn't turned for %.1f s: %s blocks it; its leases are renewed in "
            "its place for %.1f s more at most\n%s",
            self._worker,
            now - block.beat.at,
            block.culprit,
            max(block.limit - now, 0.0),
            block.stack,
        )

    def _tell_stumble(self, error: Exception) -> None:
        told = failure_of(error)
        _tell(
            logging.ERROR,
            "stepwell: the watchdog of worker %s stumbled: %s\n%s",
            self._worker,
            told.summary,
            told.traceback,
        )

    def _set_limit(self, block: Block) -> None:
        """Let go at the timeout of whoever blocks the loop now; at the instant at which the block ends, nobody does."""
        held: Held | None = self._leases.pulse.turn.whose
        if held is not None and not math.isinf(held.deadline):
            block.limit = held.deadline

    def _stand_in(self, block: Block, now: float) -> float:
        """Renew what has to be renewed by now; return the seconds after which to look again."""
        held = self._leases.trusted(now)
        if not held:
            block.has_run_out = len(self._leases) > 0
            return self._leases.patience
        self._set_limit(block)
        limit = block.limit
        if now >= limit:
            self._let_go(block, now)
            return self._leases.patience
        due = max(min(one.trusted_until for one in held) - self._spare, block.next_try)
        if now < due:
            return min(due, limit) - now
        is_renewed = self._renew(block, held, now)
        pause = self._renew_every if is_renewed else self._pause_after_trouble
        block.next_try = now + pause
        return min(block.next_try, limit) - now

    def _let_go(self, block: Block, now: float) -> None:
        if block.let_go_after is not None:
            return
        block.let_go_after = now - block.beat.at
        _tell(
            logging.WARNING,
            "stepwell: the event loop of worker %s hasn't turned for %.1f s, longer than %s may take: "
            "its leases are let go, and others may take its executions",
            self._worker,
            block.let_go_after,
            block.culprit,
        )

    def _renew(self, block: Block, held: list[Held], now: float) -> bool:
        self._is_talking = True
        try:
            if self._lifeline is None:
                self._lifeline = self._storage.lifeline()
            renewal = self._lifeline.renew(self._worker, [one.lease for one in held], lease=self._lease)
        except Exception as error:  # rule 3: of the storage most likely, but whatever it is
            is_new, block.trouble = block.trouble is None, failure_of(error).message
            if is_new:
                _tell(logging.WARNING, "stepwell: leases can't be renewed for a blocked event loop: %s", block.trouble)
            return False
        finally:
            self._is_talking = False
        self._leases.extend(held, renewal, sent_at=now)
        block.renewals += 1
        return True

    def _close(self) -> None:
        if self._lifeline is not None:
            try:
                self._lifeline.close()
            except Exception as error:  # rule 3
                self._tell_stumble(error)

    def _end_the_process(self) -> None:
        _tell(
            logging.CRITICAL,
            "stepwell: worker %s can't leave, for a handler goes on although it was cancelled: the process ends",
            self._worker,
            at_most=_LAST_WORDS,
        )
        _aside(logging.shutdown, (), _LAST_WORDS)
        os._exit(EXIT_CODE)


def _tell(level: int, message: str, *values: object, at_most: float = _TELL) -> None:
    _aside(logger.log, (level, message, *values), at_most)


def _aside(work: Callable[..., object], arguments: tuple[Any, ...], at_most: float) -> None:
    """Do the work in a thread of its own, and wait for it so many seconds (rule 4); what it raises is lost (rule 3)."""

    def done() -> None:
        with suppress(Exception):
            work(*arguments)

    thread = threading.Thread(target=done, name="stepwell watchdog tells", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # there are too many
        done()
    else:
        thread.join(at_most)


def _follows_the_machine() -> bool:
    """Tell whether the loop's clock is the machine's, and not one under somebody's control.

    One that differs (Trio adds a random number to it) at least moves.
    """
    now = anyio.current_time()
    if abs(now - time.monotonic()) < 1:
        return True
    until = time.perf_counter() + _SPIN
    while time.perf_counter() < until:
        pass
    return anyio.current_time() > now


def _stack_of(thread: int) -> str:
    """Return what that thread is doing, innermost call last: what a handler called, or the end of the stack."""
    frame = sys._current_frames().get(thread)  # pyright: ignore[reportPrivateUsage] -- documented, and the only way
    if frame is None:
        return "(its thread is gone)"
    inner = itertools.takewhile(lambda place: place[0].f_code is not exposed.__code__, traceback.walk_stack(frame))
    try:
        summary = traceback.StackSummary.extract(itertools.islice(inner, _FRAMES), lookup_lines=True)
    except Exception as error:  # rule 3: a loader of the user's may be asked for the source
        return f"(its stack can't be read: {type(error).__name__})"
    summary.reverse()
    return "\n".join(line[:_LINE] for entry in summary.format() for line in entry.splitlines())
