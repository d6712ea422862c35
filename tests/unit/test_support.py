"""The harness's own recorders, gates and children."""

import signal
import time
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from tests.support.processes import Child, ChildDisappointed, run_script
from tests.support.virtual_time import HOUR, VirtualTime
from tests.support.waiting import Gate, Recorder

pytestmark = pytest.mark.anyio


async def test_a_recorder_wakes_who_waits_for_an_entry() -> None:
    recorder: Recorder[str] = Recorder()

    async def work() -> None:
        for step in ("load", "pay", "load"):
            await anyio.sleep(1)
            recorder.record(step)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        await recorder.until_recorded("load", "load")
    assert recorder.entries == ["load", "pay", "load"]


async def test_a_recorder_says_what_it_has_when_the_wait_is_too_long(virtual_time: VirtualTime) -> None:
    recorder: Recorder[str] = Recorder()
    recorder.record("load")
    with pytest.raises(TimeoutError, match=r"within 3600.0 s; recorded so far: \['load'\]"):
        await recorder.until_count(2, within=HOUR)
    assert virtual_time.now() == pytest.approx(HOUR)


async def test_a_recorder_takes_entries_from_worker_threads(virtual_time: VirtualTime) -> None:
    recorder: Recorder[int] = Recorder()

    def work() -> None:
        time.sleep(0.01)
        recorder.record(1)

    async with anyio.create_task_group() as tasks:
        with virtual_time.hold():
            tasks.start_soon(to_thread.run_sync, work)
            await recorder.until_count(1)
    assert recorder.entries == [1]


async def test_a_gate_holds_who_enters_until_it_opens(virtual_time: VirtualTime) -> None:
    gate = Gate()
    passed: list[str] = []

    async def enter(name: str) -> None:
        await gate.enter(name)
        passed.append(name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(enter, "a")
        tasks.start_soon(enter, "b")
        await gate.reached(2)
        assert passed == []
        gate.open()
    assert sorted(passed) == sorted(gate.arrivals.entries) == ["a", "b"]
    await gate.enter("late")
    assert virtual_time.now() == 0


ECHO = """
import sys
print("noise")
print("ready", *sys.argv[1:])
for line in sys.stdin:
    print("heard", line.strip(), file=sys.stderr)
    print("echo", line.strip())
"""


@pytest.fixture
def echo(tmp_path: Path) -> Path:
    path = tmp_path / "echo.py"
    path.write_text(ECHO)
    return path


@pytest.mark.real_time
async def test_a_child_is_told_and_answers(echo: Path) -> None:
    async with run_script(echo, "now") as child:
        assert await child.line("ready") == "ready now"
        for word in ("hello", "again"):
            await child.tell(word)
            assert await child.line() == f"echo {word}"
            assert child.errors().splitlines()[-1] == f"heard {word}"
        assert child.errors().splitlines() == ["heard hello", "heard again"]


@pytest.mark.real_time
async def test_a_killed_child_is_gone(echo: Path) -> None:
    async with run_script(echo) as child:
        await child.line("ready")
        child.kill()
        assert await child.ended() == -signal.SIGKILL


@pytest.mark.real_time
async def test_a_child_is_reaped_at_the_end_of_the_block(echo: Path) -> None:
    async with run_script(echo) as child:
        await child.line("ready")
    assert await child.ended() == -signal.SIGKILL


@pytest.mark.real_time
async def test_a_child_is_reaped_when_the_block_is_cancelled(echo: Path) -> None:
    children: list[Child] = []
    with anyio.CancelScope() as scope:
        async with run_script(echo) as child:
            children.append(child)
            await child.line("ready")
            scope.cancel()
            await anyio.sleep_forever()
    assert await children[0].ended() == -signal.SIGKILL


@pytest.mark.real_time
async def test_a_silent_child_disappoints_in_time(echo: Path) -> None:
    async with run_script(echo) as child:
        with pytest.raises(ChildDisappointed, match=r"wrote no line containing 'never' within 0\.2 s"):
            await child.line("never", within=0.2)
        with pytest.raises(ChildDisappointed, match=r"still runs after 0\.1 s"):
            await child.ended(within=0.1)


@pytest.mark.real_time
async def test_a_child_that_fails_disappoints_with_its_traceback(tmp_path: Path) -> None:
    script = tmp_path / "broken.py"
    script.write_text("raise ValueError('on purpose')\n")
    async with run_script(script) as child:
        with pytest.raises(ChildDisappointed, match="ValueError: on purpose"):
            await child.line("ready")
        assert await child.ended() == 1
