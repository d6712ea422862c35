"""`stepwell show` of an execution in every status, and the commands that it names."""

from __future__ import annotations

import io
import shlex
import sqlite3
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from stepwell import Engine, Execution, SQLiteStorage, Status
from stepwell.cli import main
from stepwell.cli._control import add_controls, cancel_execution, pause_execution, resume_execution
from stepwell.cli._errors import CommandError
from stepwell.cli._inspect import family, show_execution
from stepwell.cli._next import awaited_step, next_told, payload_for
from stepwell.cli._tree import ASCII, UNICODE, drawn, head, signs_for, steps_of
from tests.cli.shop import Verdict, calling, greeting, inviting, verdict, workflows

APP = "tests.cli.shop:workflows"
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with an execution in each status in which nobody runs it."""
    path = tmp_path_factory.mktemp("show") / "flows.db"

    async def fill() -> None:
        async with SQLiteStorage(path) as storage, Engine(storage, workflows=workflows) as engine:
            for name in ("waits", "succeeds", "refused", "cancelled", "paused"):
                await engine.start(greeting, "Ada", id=name)
            await engine.start(greeting, "break", id="fails")
            await engine.start(calling, "busy", id="retries")
            await engine.start(calling, "hello", id="timed")
            await engine.start(inviting, "hello", id="parent")
            await engine.run_until_idle()
            await engine.signal("succeeds", verdict, Verdict(approved=True))
            await engine.signal("refused", verdict, Verdict(approved=False))
            await engine.cancel("cancelled", "changed \x1b[31mmy mind")
            await engine.pause("paused")
            await engine.run_until_idle()
            await engine.start(greeting, "Bob", id="queued")
            await engine.start(greeting, "Bob", id="later", delay=3600)

    anyio.run(fill)
    return path


@pytest.fixture
def database(template: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "flows.db"
    with closing(sqlite3.connect(template)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy


SHOWN: dict[str, tuple[str, str, list[str]]] = {
    "queued": ("", "It is due, and waits for a worker that has workflow greeting, version 1", ["cancel queued"]),
    "later": ("", "It is due in ", ["cancel later"]),
    "retries": (
        "└─ ↻ call  {took}  tried again in 3 d  OSError: the line is busy",
        "It waits for its next attempt, which is due in 3 d",
        ["cancel retries"],
    ),
    "waits": (
        "└─ ? verdict  {took}  waits for a signal",
        "It waits for a signal:",
        ["signal --app MODULE:NAME waits verdict JSON"],
    ),
    "timed": (
        "└─ ? answer  {took}  waits for a signal, for 7 d more",
        "then it takes its timeout route:",
        ["signal --app MODULE:NAME timed answer JSON"],
    ),
    "parent": (
        "└─ ? ring  {took}  waits for its child  child parent/ring",
        "It waits for its child to end:",
        ["show parent/ring"],
    ),
    "parent/ring": (
        "└─ ? answer  {took}  waits for a signal, for 7 d more",
        "It is a child; its parent:",
        ["signal --app MODULE:NAME parent/ring answer JSON", "show parent"],
    ),
    "paused": ("└─ ? verdict  {took}  waits for a signal", "It is paused", ["resume --app MODULE:NAME paused"]),
    "fails": (
        "└─ ✗ greet  {took}  failed  ValueError: red: \\x1b[31m and a second line",
        "Step greet failed. Once the cause is mended, give it one more attempt:",
        ["resume --app MODULE:NAME fails"],
    ),
    "refused": ('└─ ✗ refused  {took}  "refused"', "It ended at step refused, as the workflow provides for", []),
    "cancelled": ("└─ ⊘ verdict  {took}  cancelled", "It was cancelled, because: changed \\x1b[31mmy mind", []),
    "succeeds": ('├─ ✓ verdict  {took}  → yes  {"approved": true}', "It has succeeded", []),
}
"""By id: the last line of its tree (`{took}` stands for a duration), what is said of it, and the commands named."""


@pytest.mark.parametrize("id", SHOWN)
def test_each_status_says_what_can_be_done(database: Path, capsys: pytest.CaptureFixture[str], id: str) -> None:
    tree, says, commands = SHOWN[id]
    assert main(["show", "--db", str(database), id]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    before, _, after = " ".join(tree.split()).partition("{took} ")
    assert not tree or any(line.startswith(before) and line.endswith(after) for line in lines), out
    assert says in out
    for command in commands:
        verb, *rest = command.split()
        assert f"  stepwell {verb} --db {database} {' '.join(rest)}" in out.splitlines()


def test_a_child_is_nested_below_its_step(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--db", str(database), "parent"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (place,) = [number for number, line in enumerate(lines) if line.startswith("└─ ? ring")]
    assert lines[place + 1].startswith("   ├─ ✓ call")
    assert lines[place + 2].startswith("   └─ ? answer")


def test_what_the_terminal_cannot_show_is_drawn_in_ascii(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert main(["show", "--db", str(database), "parent"]) == 0
    assert "`- ? ring" in written.getvalue().decode("ascii")
    assert signs_for("latin-1") is ASCII
    assert signs_for("no such encoding") is signs_for(None) is ASCII
    assert signs_for("utf-8") is UNICODE
    assert all(len(set(signs.marks.values())) == len(Status) for signs in (ASCII, UNICODE))


async def of_tree(engine: Engine, id: str) -> tuple[Execution, list[str]]:
    execution = await engine.get(id)
    children = await family(engine, execution)
    now = datetime.now(UTC)
    top = head(execution, now=now, signs=ASCII)
    return execution, drawn([top, *steps_of(execution, children, now=now, signs=ASCII)])


@pytest.mark.anyio
@pytest.mark.real_time
class TestRunning:
    @asynccontextmanager
    async def engine(self, database: Path) -> AsyncGenerator[Engine]:
        """An engine whose worker runs a step that doesn't end by itself."""
        async with (
            SQLiteStorage(database) as storage,
            Engine(storage, workflows=workflows, name="desk") as engine,
            engine.events("step.started") as events,
            engine.worker(grace=0),
        ):
            await engine.start(calling, "long", id="runs")
            with anyio.fail_after(30):
                await events.receive()
            yield engine

    async def test_its_worker_and_its_lease_are_told(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        database = tmp_path / "flows.db"
        async with self.engine(database):
            assert await show_execution(database, "runs", as_json=False) == 0
            out = capsys.readouterr().out
            assert "└─ ● call" in out
            assert "running, attempt 1" in out
            assert "It runs in worker desk" in out
            assert "; its lease ends in 60" in out or "; its lease ends in 59" in out or "ends in 1 min" in out
            for verb in ("show", "pause", "cancel"):
                assert f"  stepwell {verb} --db {database} runs" in out.splitlines()

    async def test_a_pause_and_a_cancel_by_command_are_taken(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        database = tmp_path / "flows.db"
        async with self.engine(database) as engine:
            assert await pause_execution(database, "runs", reason="lunch") == 0
            assert "paused as soon as its running step ends" in capsys.readouterr().out
            assert await show_execution(database, "runs", as_json=False) == 0
            out = capsys.readouterr().out
            assert "about to be paused" in out
            assert "stepwell pause" not in out
            assert await cancel_execution(database, "runs", reason="home") == 0
            assert "cancelled" in capsys.readouterr().out
            assert (await engine.get("runs")).status is Status.CANCELLED
            assert await cancel_execution(database, "runs", reason="") == 0

    async def test_a_lease_that_has_ended_is_said_to_have(self, tmp_path: Path) -> None:
        async with self.engine(tmp_path / "flows.db") as engine:
            running = await engine.get("runs")
        lost = replace(running, due_at=NOW - timedelta(seconds=1))
        assert "has not renewed its lease in time" in next(next_told(lost, Path("flows.db"), now=NOW))


@pytest.mark.anyio
@pytest.mark.real_time
class TestControl:
    async def test_what_is_paused_goes_on_once_it_is_resumed(
        self, database: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert await resume_execution(database, "paused", app=APP) == 0
        assert f"stepwell show --db {database} paused" in capsys.readouterr().out
        async with SQLiteStorage(database) as storage, Engine(storage) as engine:
            assert (await engine.get("paused")).status is Status.SUSPENDED
        assert await pause_execution(database, "paused", reason="") == 0
        assert f"stepwell resume --db {database} paused" in capsys.readouterr().out

    async def test_a_failed_step_gets_another_attempt(self, database: Path) -> None:
        assert await resume_execution(database, "fails", app=APP) == 0
        async with SQLiteStorage(database) as storage, Engine(storage) as engine:
            assert (await engine.get("fails")).status is Status.QUEUED

    async def test_a_workflow_that_is_not_known_is_asked_for(self, database: Path) -> None:
        with pytest.raises(CommandError, match="--app MODULE:NAME"):
            await resume_execution(database, "paused", app=None)

    async def test_what_has_ended_is_not_cancelled(self, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert await cancel_execution(database, "succeeds", reason="") == 1
        assert "it has already succeeded" in capsys.readouterr().out


@pytest.mark.anyio
@pytest.mark.real_time
async def test_a_tree_is_one_line_per_step_below_its_execution(database: Path) -> None:
    async with SQLiteStorage(database) as storage, Engine(storage) as engine:
        execution, lines = await of_tree(engine, "parent")
        assert lines[0].startswith("? parent ")
        assert lines[0].endswith("suspended at ring")
        assert [line.split()[0:3] for line in lines[1:]] == [
            ["`-", "?", "ring"],
            ["|-", "+", "call"],
            ["`-", "?", "answer"],
        ]
        assert awaited_step(execution) is None
        folded = steps_of(execution, await family(engine, execution), now=NOW, signs=ASCII, folded={"parent/ring"})
        assert [line.name for line in folded] == ["ring"]
        assert payload_for(await engine.get("waits"), "verdict") == "JSON"


def test_the_three_commands_take_their_options(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def added(commands: Any, name: str, purpose: str, run: Callable[[Namespace], int]) -> ArgumentParser:
        parser: ArgumentParser = commands.add_parser(name, help=purpose)
        parser.add_argument("--db", type=Path)
        parser.set_defaults(run=run)
        return parser

    def ran(work: Callable[[], Awaitable[int]]) -> int:
        async def run() -> int:
            return await work()

        return anyio.run(run)

    parser = ArgumentParser()
    add_controls(parser.add_subparsers(), added, ran)
    for words in (["pause", "--reason", "lunch", "waits"], ["resume", "--app", APP, "waits"], ["cancel", "waits"]):
        arguments = parser.parse_args([words[0], "--db", str(database), *words[1:]])
        assert arguments.run(arguments) == 0
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if line.startswith("execution waits: ")] == [
        "execution waits: paused",
        "execution waits: resumed; it goes on where a worker has its workflow",
        "execution waits: cancelled; a step that runs in another process ends as soon as that looks",
    ]


def test_commands_can_be_pasted(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spaced = database.rename(database.with_name("my flows.db"))
    assert main(["show", "--db", str(spaced), "waits"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "stepwell signal" in line]
    words = shlex.split(line)
    words[words.index("MODULE:NAME")], words[words.index("JSON")] = APP, '{"approved": true}'
    assert main(words[1:]) == 0
