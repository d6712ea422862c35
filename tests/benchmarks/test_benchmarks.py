"""Every benchmark in its smallest form, on both backends, so that none of them rots."""

from __future__ import annotations

import json
import math
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import pytest
from benchmarks._all import BENCHMARKS
from benchmarks._command import main
from benchmarks._machine import Disk, NoRealDisk, disk_of, real_disk
from benchmarks._plan import BACKENDS, Benchmark, Figure, Measured, Samples, Scale, Settings, Target, Variant, figure
from benchmarks._population import Population
from benchmarks._profile import counting_calls, sampling, shares_table
from benchmarks._raw import Raw
from benchmarks._report import as_json, table
from benchmarks._rounds import ROOT, ProgramFailed, in_a_process, run_rounds
from benchmarks._skeleton import Skeleton
from benchmarks._workload import STORAGES, Order

from stepwell import MemoryStorage, Status
from stepwell.storage import Query as StorageQuery
from tests.support.storages import Clock

SMALLEST = Scale(executions=20, rounds=1)


def silent(_: str) -> None:
    pass


def here(benchmark: Benchmark, settings: Settings, folder: Path) -> Measured:
    """Run a program in this process; what goes in and out must be JSON all the same."""
    measured: Measured = json.loads(json.dumps(benchmark.measure(json.loads(json.dumps(settings)), folder)))
    return measured


@pytest.mark.parametrize("name", [name for name, one in BENCHMARKS.items() if not one.on_postgres])
def test_a_benchmark_tells_its_figures_for_both_storages_and_backends(name: str, tmp_path: Path) -> None:
    benchmark = BENCHMARKS[name]
    samples = run_rounds(benchmark, SMALLEST, tmp_path, runner=here, told=silent)
    report = json.loads(json.dumps(as_json(benchmark, samples), allow_nan=False))

    figures: list[dict[str, Any]] = report["figures"]
    names = " ".join(one["name"] for one in figures)
    for storage in ["memory"] if name == "cpu" else STORAGES:
        for backend in BACKENDS:
            assert f"{storage}/{backend}" in names
    for one in figures:
        assert one["unit"]
        assert one["rounds"] == 1
        assert one["low"] == one["median"] == one["high"]
        if name != "memory":  # in a process that has run other tests, a few executions take no new memory
            assert one["median"] > 0
            assert one["ratio"] is None or one["ratio"] > 0
    assert any(one["ceiling"] for one in figures)
    assert set(report["rounds"]) == {variant.name for variant in benchmark.variants(SMALLEST)}
    assert list(tmp_path.iterdir()) == []


def test_the_smallest_backlog_is_held_against_and_the_largest_is_ten_times_ten_as_large() -> None:
    benchmark = BENCHMARKS["backlog"]
    assert {tuple(variant.settings["sizes"]) for variant in benchmark.variants(Scale(10_000, 5))} == {
        (1_000, 10_000, 100_000)
    }


def test_the_command_writes_what_it_measured_and_where(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    command = [sys.executable, "-m", "benchmarks", "cpu", "--executions", "8", "--rounds", "1", "--json", str(file)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == ""
    assert "cpu: what a step costs the processor" in ended.stderr
    report = json.loads(file.read_text(encoding="utf-8"))
    assert report["python"].endswith(sys.version.split()[0])
    assert report["versions"].keys() == {
        "stepwell",
        "anyio",
        "trio",
        "msgspec",
        "sqlite-anyio",
        "asyncpg",
        "dbos",
        "sqlite",
    }
    assert report["machine"]["cores"] > 0
    assert report["machine"]["file_system"] != "tmpfs"
    assert (report["executions"], report["rounds"], list(report["benchmarks"])) == (8, 1, ["cpu"])
    asyncio, trio = report["benchmarks"]["cpu"]["figures"]
    assert (asyncio["name"], trio["name"], asyncio["rounds"]) == ("memory/asyncio", "memory/trio", 1)
    assert asyncio["ceiling"] == "skeleton"


def test_the_command_refuses_what_it_can_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, complaint in [
        (["thruput"], "no benchmark 'thruput'; there are throughput"),
        (["--rounds", "0"], "must be a whole number above 0"),
        (["--json", str(tmp_path / "no" / "folder.json")], "can't be written"),
    ]:
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == 2
        assert complaint in capsys.readouterr().err


def test_a_program_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(ProgramFailed, match="no-such-loop"):
        in_a_process(
            BENCHMARKS["cpu"],
            {"program": "skeleton", "backend": "no-such-loop", "concurrency": 1, "executions": 1},
            tmp_path,
        )


class Recorded:
    """A benchmark of two programs that take no time; it remembers in which order they ran."""

    def __init__(self, budget: float = 60.0) -> None:
        self.ran: list[str] = []
        self.folders: set[Path] = set()
        self.benchmark = Benchmark("recorded", "", self._variants, self._measure, lambda _: [], budget)

    @staticmethod
    def _variants(_: Scale) -> list[Variant]:
        return [Variant("first", {"name": "first"}), Variant("second", {"name": "second"})]

    def _measure(self, settings: Settings, folder: Path) -> Measured:
        self.ran.append(settings["name"])
        self.folders.add(folder)
        return {"number": len(self.ran)}


def test_rounds_are_interleaved_and_every_other_one_goes_backwards(tmp_path: Path) -> None:
    recorded = Recorded()
    samples = run_rounds(recorded.benchmark, Scale(3, 3), tmp_path, runner=here, told=silent)
    assert recorded.ran == ["first", "second", "second", "first", "first", "second"]
    assert (samples.of("first", "number"), samples.of("second", "number")) == ([1, 4, 5], [2, 3, 6])
    assert len(recorded.folders) == 6


def test_no_round_begins_without_time_for_it(tmp_path: Path) -> None:
    recorded = Recorded(budget=0.0)
    told: list[str] = []
    samples = run_rounds(recorded.benchmark, Scale(3, 3), tmp_path, runner=here, told=told.append)
    assert recorded.ran == ["first", "second"]
    assert len(samples.of("first", "number")) == 1
    assert told[-1] == "recorded: no time for more than 1 of 3 rounds"


def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    held = figure("f", "steps/s", [10, 40, 30], ceiling=("other", [20, 50, 100]), target=Target("at least", 0.5))
    assert (held.median, held.low, held.high, held.rounds) == (30, 10, 40, 3)
    assert (held.ceiling_median, held.ratio, held.is_met) == (50, 0.5, True)


@pytest.mark.parametrize(
    ("target", "is_met"),
    [
        (None, None),
        (Target("at least", 0.6), False),
        (Target("at most", 0.4), False),
        (Target("at most", 0.5), True),
        (Target("at least", 30, of="median"), True),
        (Target("at most", 29, of="median"), False),
    ],
)
def test_a_target_is_met_or_missed(*, target: Target | None, is_met: bool | None) -> None:
    held = figure("f", "steps/s", [30.0], ceiling=("other", [60.0]), target=target)
    assert held.is_met is is_met
    line = table("title", [held]).splitlines()[-1]
    assert ("MISSED" in line, "met" in line) == (is_met is False, is_met is True)


def test_there_is_no_ratio_to_nothing() -> None:
    held = figure("f", "kB", [1.0], ceiling=("other", [0.0]), target=Target("at most", 2))
    assert (held.ratio, held.is_met) == (None, None)
    assert "at most" not in table("title", [held])


def test_the_table_leaves_out_what_is_minor() -> None:
    text = table(
        "title", [Figure("major", "ms", 1.0, 1.0, 1.0, 1), Figure("minor", "ms", 1.0, 1.0, 1.0, 1, is_minor=True)]
    )
    assert "major" in text
    assert "minor" not in text


def mounts(tmp_path: Path) -> Path:
    file = tmp_path / "mountinfo"
    lines = [
        "27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw",
        rf"28 27 0:25 / {tmp_path}/in\040memory rw - tmpfs tmpfs rw",
        rf"29 27 0:26 / {tmp_path}/in\040memory/disk rw - xfs /dev/vdb rw",
    ]
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def test_the_file_system_is_that_of_the_longest_mount_point(tmp_path: Path) -> None:
    file = mounts(tmp_path)
    found = [disk_of(tmp_path / part, file).file_system for part in ("in", "in memory/x", "in memory/disk/x")]
    assert found == ["ext4", "tmpfs", "xfs"]
    assert disk_of(tmp_path, tmp_path / "missing").file_system == "unknown"


def test_a_file_system_in_memory_is_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_memory = tmp_path / "memory"
    in_memory.mkdir()

    def told(folder: Path) -> Disk:
        return Disk(folder, "tmpfs" if folder == in_memory else "xfs")

    monkeypatch.setattr("benchmarks._machine.disk_of", told)
    assert real_disk([in_memory, tmp_path / "missing", tmp_path]) == Disk(tmp_path, "xfs")
    with pytest.raises(NoRealDisk, match="set TMPDIR"):
        real_disk([in_memory])


def spin(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        math.sqrt(2.0)


def test_the_sampler_finds_who_takes_the_time() -> None:
    counts: dict[str, float] = {}
    before = signal.getsignal(signal.SIGPROF)
    with sampling(counts):
        spin(0.2)
    assert signal.getsignal(signal.SIGPROF) is before
    shares = shares_table([counts, counts])
    assert shares["functions"][0]["function"].startswith(f"{__name__}:")
    assert shares["functions"][0]["function"].endswith(" spin")
    assert shares["modules"][0]["module"] == __name__
    assert sum(one["share"] for one in shares["modules"]) == pytest.approx(1.0)


def test_a_profile_tells_calls_and_modules(tmp_path: Path) -> None:
    scale = Scale(executions=40, rounds=1, is_profiled=True)
    benchmark = BENCHMARKS["cpu"]
    samples = run_rounds(benchmark, scale, tmp_path, runner=here, told=silent)
    profile = json.loads(json.dumps(as_json(benchmark, samples)))["profile"]
    for backend in BACKENDS:
        assert any(one["function"].startswith("stepwell.") for one in profile[backend]["calls"])
        assert all(one["own_us_per_step"] > 0 for one in profile[backend]["calls"])
    assert "trio: calls for each step end" in benchmark.notes(samples)


def test_calls_are_counted() -> None:
    calls: dict[str, float] = {}
    seconds: dict[str, float] = {}
    with counting_calls(calls, seconds):
        spin(0.001)
        spin(0.001)
    (name,) = [name for name in calls if name.endswith(" spin")]
    assert calls[name] == 2
    assert seconds[name] > 0


def test_samples_are_given_round_by_round() -> None:
    samples = Samples(SMALLEST, {"one": [{"value": 1.0}, {"value": 2.0}]})
    assert samples.of("one", "value") == [1.0, 2.0]


def test_the_plain_loop_really_writes_each_step(tmp_path: Path) -> None:
    raw = Raw(tmp_path)
    for _ in range(3):
        raw.commit(400)
    raw.create(7)
    assert (tmp_path / "raw.db-wal").exists()
    raw.close()
    connection = sqlite3.connect(tmp_path / "raw.db")
    (steps,) = connection.execute("SELECT count(*) FROM journal WHERE length(payload) = 200").fetchone()
    (revisions, executions) = connection.execute("SELECT sum(revision), count(*) FROM executions").fetchone()
    connection.close()
    assert (steps, revisions, executions) == (1_207, 1_200, 1_007)


@pytest.mark.anyio
async def test_the_skeleton_really_runs_the_handlers() -> None:
    skeleton = Skeleton()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(skeleton.write)
        id = await skeleton.start(Order(7, "ada"))
        assert skeleton.output(id) is None
        await skeleton.run(id)
        assert skeleton.output(id) == '{"number":7,"text":"shipped"}'
        tasks.cancel_scope.cancel()


@pytest.mark.anyio
async def test_a_population_keeps_its_size(clock: Clock) -> None:
    async with MemoryStorage(clock=clock) as storage:
        population = Population(storage, "waiting")
        await population.grow(30, ready=10)
        _, claimed = await population.claim(10)
        _, after = await population.step(claimed[0].row)
        await population.replace([after, *(stored.row for stored in claimed[1:])])
        _, others = await population.claim(10)
        ended = await storage.find(StorageQuery(status=(Status.SUCCEEDED,)))
        waiting = await storage.find(StorageQuery(status=(Status.WAITING,)))
    assert {stored.row.id for stored in others}.isdisjoint(stored.row.id for stored in claimed)
    assert (len(ended.rows), len(waiting.rows)) == (10, 30)
