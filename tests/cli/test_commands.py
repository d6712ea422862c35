"""`stepwell list`, `show` and `signal`, and what the command line says to what it can't do."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from stepwell import Engine, Execution, SQLiteStorage, Status
from stepwell.cli import main
from stepwell.cli._demo_run import found_or_started
from stepwell.cli._demo_workflow import DEMO_WORKFLOWS
from tests.cli.shop import greeting

APP = "tests.cli.shop:greeting"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with an execution that waits, one that failed, and one that nobody has run."""
    path = tmp_path_factory.mktemp("cli") / "flows.db"

    async def fill() -> None:
        async with SQLiteStorage(path) as storage, Engine(storage, workflows=[greeting]) as engine:
            await engine.start(greeting, "Ada", id="waits", tags=["urgent"])
            await engine.start(greeting, "break", id="fails")
            await engine.run_until_idle()
            await engine.start(greeting, "Bob", id="queued")

    anyio.run(fill)
    return path


@pytest.fixture
def database(template: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "flows.db"
    with closing(sqlite3.connect(template)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy


def loaded(database: Path, id: str) -> Execution:
    async def load() -> Execution:
        async with SQLiteStorage(database) as storage, Engine(storage) as engine:
            return await engine.get(id)

    return anyio.run(load)


def damage(database: Path, statement: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(statement)


class TestList:
    def test_shows_executions_newest_first(self, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["list", "--db", str(database)]) == 0
        lines = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert lines[0] == ["ID", "WORKFLOW", "VERSION", "STATUS", "STEP", "AGE"]
        assert [line[:5] for line in lines[1:]] == [
            ["queued", "greeting", "1", "queued", "greet"],
            ["fails", "greeting", "1", "failed", "-"],
            ["waits", "greeting", "1", "suspended", "verdict"],
        ]

    def test_narrows_by_status(self, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["list", "--db", str(database), "--status", "failed", "--status", "queued", "--json"]) == 0
        assert [found["id"] for found in json.loads(capsys.readouterr().out)] == ["queued", "fails"]
        assert main(["list", "--db", str(database), "--status", "paused"]) == 0
        assert capsys.readouterr().out == "no executions that are paused\n"

    def test_is_bounded_and_says_so(self, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["list", "--db", str(database), "--limit", "2"]) == 0
        out = capsys.readouterr().out
        assert "waits" not in out
        assert "the newest 2" in out

    @pytest.mark.skipif(sys.platform == "win32", reason="there, a pipe without a reader is another error")
    def test_ends_quietly_when_nobody_reads(self, database: Path) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        command = [sys.executable, "-m", "stepwell", "list", "--db", str(database)]
        ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, timeout=30, check=False)
        os.close(writer)
        assert (ended.returncode, ended.stderr) == (1, b"")


class TestShow:
    def test_tells_what_to_type_next(self, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["show", "--db", str(database), "waits"]) == 0
        out = capsys.readouterr().out
        assert "suspended at step verdict" in out
        assert "urgent" in out
        assert f"stepwell signal --db {database} --app MODULE:NAME waits verdict JSON" in out

    def test_escapes_what_could_steer_a_terminal(self, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["show", "--db", str(database), "waits"]) == 0
        assert main(["show", "--db", str(database), "fails"]) == 0
        out = capsys.readouterr().out
        assert "\x1b" not in out
        assert "hello \\u001b[31mAda" in out
        assert "ValueError: red: \\x1b[31m and a second line" in out

    def test_gives_everything_as_json(self, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["show", "--db", str(database), "waits", "--json"]) == 0
        shown = json.loads(capsys.readouterr().out)
        assert (shown["status"], shown["steps"]["greet"]["output"]) == ("suspended", "hello \x1b[31mAda")


class TestPurge:
    def test_deletes_what_has_ended_and_says_how_many(self, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["purge", "--db", str(database), "--older-than", "0s"]) == 0
        assert capsys.readouterr().out == "1 execution deleted that had ended 0s ago or earlier\n"
        assert main(["list", "--db", str(database), "--json"]) == 0
        assert [found["id"] for found in json.loads(capsys.readouterr().out)] == ["queued", "waits"]

    def test_leaves_what_ended_later(self, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["purge", "--db", str(database), "--older-than", "30d"]) == 0
        assert capsys.readouterr().out.startswith("nothing to delete")
        assert loaded(database, "fails").status == Status.FAILED

    @pytest.mark.parametrize("text", ["30", "30 days", "-1d", "soon", "", "1e999d", "40000d"])
    def test_takes_nothing_that_could_be_misread(
        self, database: Path, capsys: pytest.CaptureFixture[str], text: str
    ) -> None:
        assert main(["purge", "--db", str(database), f"--older-than={text}"]) == 2
        assert "argument --older-than: " in capsys.readouterr().err
        assert loaded(database, "fails").status == Status.FAILED

    def test_asks_for_a_time(self, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["purge", "--db", str(database)]) == 2
        assert "--older-than" in capsys.readouterr().err


class TestVerify:
    def test_finds_nothing_where_all_is_sound(self, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["verify", "--db", str(database), "--app", "tests.cli.shop:workflows"]) == 0
        captured = capsys.readouterr()
        assert (captured.out, captured.err) == ("3 executions checked, 0 breaches\n", "")

    @pytest.mark.synthetic
    def test_tells_each_breach_and_fails(self, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
        damage(database, "UPDATE executions SET due_at = NULL WHERE id = 'queued'")
        damage(database, "UPDATE journal SET ref = 'wai\x1bting' WHERE execution_id = 'fails' AND seq = 2")
        assert main(["verify", "--db", str(database)]) == 1
        out = capsys.readouterr().out
        assert "P5 (stranded) broken by 'queued': expected a due time of what is queued, found none" in out
        assert "P6 (readable) broken by 'fails'" in out
        assert "\x1b" not in out
        assert out.endswith("3 executions checked, 2 breaches\n")
        assert main(["verify", "--db", str(database), "--show", "1"]) == 1
        assert "… and 1 more (--show)" in capsys.readouterr().out

    @pytest.mark.synthetic
    def test_gives_breaches_as_json(self, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
        damage(database, "UPDATE executions SET due_at = NULL WHERE id = 'queued'")
        assert main(["verify", "--db", str(database), "--json"]) == 1
        told = json.loads(capsys.readouterr().out)
        assert (told["checked"], told["unshown"], told["next"]) == (3, 0, None)
        assert [(b["promise"], b["rule"], b["execution"]) for b in told["breaches"]] == [(5, "stranded", "queued")]

    @pytest.mark.synthetic
    def test_goes_on_where_it_stopped(self, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
        damage(database, "UPDATE executions SET due_at = NULL WHERE id = 'queued'")
        assert main(["verify", "--db", str(database), "--limit", "1"]) == 1
        captured = capsys.readouterr()
        cursor = captured.out.split()[-1]
        assert f"1 execution checked, 1 breach so far; go on from here with --after {cursor}" in captured.err
        assert main(["verify", "--db", str(database), "--after", cursor]) == 0
        assert capsys.readouterr().out == "2 executions checked, 0 breaches\n"

    @pytest.mark.synthetic
    def test_checks_the_path_where_it_knows_the_workflow(
        self, database: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        damage(database, "UPDATE journal SET step = 'greeted' WHERE step = 'greet' AND execution_id = 'queued'")
        damage(database, "UPDATE executions SET step = 'greeted' WHERE id = 'queued'")
        assert main(["verify", "--db", str(database)]) == 0
        assert main(["verify", "--db", str(database), "--app", APP]) == 1
        assert "P6 (path) broken by 'queued' at entry 1: expected to begin at 'greet'" in capsys.readouterr().out

    @pytest.mark.parametrize("arguments", [["--after", "x"], ["--limit", "0"], ["--show", "-1"], ["--app", "shop"]])
    def test_takes_nothing_that_makes_no_sense(
        self, database: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
    ) -> None:
        assert main(["verify", "--db", str(database), *arguments]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert arguments[0] in captured.err


class TestSignal:
    def test_is_taken_by_the_wait(self, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
        payload = '{"approved": true}'
        assert main(["signal", "--db", str(database), "--app", APP, "waits", "verdict", payload]) == 0
        assert "taken" in capsys.readouterr().out
        waited = loaded(database, "waits")
        assert (waited.status, waited.current_step) == (Status.QUEUED, "done")

    def test_every_workflow_of_the_demo_is_known(self, database: Path, tmp_path: Path) -> None:
        async def begin() -> None:
            async with SQLiteStorage(database) as storage, Engine(storage, workflows=DEMO_WORKFLOWS) as engine:
                await found_or_started(engine, tmp_path / "demo.db", pace=0.0)

        anyio.run(begin)
        for id, step in (("import-1", "approval"), ("refund-1", "review")):
            assert main(["signal", "--db", str(database), id, step, '{"approved": true}']) == 0

    def test_takes_a_list_of_workflows_too(self, database: Path) -> None:
        app = "tests.cli.shop:workflows"
        assert main(["signal", "--db", str(database), "--app", app, "queued", "verdict", '{"approved": false}']) == 0

    @pytest.mark.parametrize(
        ("arguments", "code", "says"),
        [
            (["--app", APP, "waits", "verdict", '{"approved": 1}'], 1, "at $.approved: Expected `bool`, got `int`"),
            (["--app", APP, "waits", "greet"], 1, "takes no signal"),
            (["--app", APP, "waits", "nowhere"], 1, "has no step 'nowhere'"),
            (["--app", APP, "fails", "verdict", '{"approved": true}'], 1, "has already failed"),
            (["--app", APP, "missing", "verdict"], 1, "no execution 'missing'"),
            (["waits", "verdict"], 1, "--app MODULE:NAME"),
            (["--app", "tests.cli.shop:other", "waits", "verdict"], 1, "neither a Workflow nor a list"),
            (["--app", "tests.cli.shop:none", "waits", "verdict"], 1, "AttributeError"),
            (["--app", "tests.cli.none:x", "waits", "verdict"], 1, "ModuleNotFoundError"),
            (["--app", "shop", "waits", "verdict"], 2, "MODULE:NAME"),
            (["--app", APP, "waits", "verdict", "{"], 2, "the payload is not JSON"),
            (["--app", APP, "waits", "verdict", "NaN"], 2, "NaN is no JSON number"),
        ],
    )
    def test_says_why_it_is_not_taken(
        self, database: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, says: str
    ) -> None:
        assert main(["signal", "--db", str(database), *arguments]) == code
        captured = capsys.readouterr()
        assert captured.out == ""
        assert says in captured.err
        assert captured.err.count("\n") == 1
        assert loaded(database, "waits").status is Status.SUSPENDED


class TestBadArguments:
    @pytest.mark.parametrize(
        "arguments",
        [
            [],
            ["dance"],
            ["list", "--status", "nope"],
            ["list", "--limit", "0"],
            ["list", "--limit", "many"],
            ["show"],
            ["signal", "one"],
            ["demo", "--backend", "curio"],
            ["demo", "--pace", "nan"],
        ],
    )
    def test_are_a_usage_error(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert main(arguments) == 2
        assert "usage: stepwell" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("command", "code"), [(["list"], 1), (["show", "x"], 1), (["signal", "x", "y"], 1), (["verify"], 2)]
    )
    def test_no_database_is_made_where_there_is_none(
        self, command: list[str], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main([*command, "--db", str(tmp_path / "none.db")]) == code
        assert "there is no database" in capsys.readouterr().err
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(("command", "code"), [(["list"], 1), (["demo"], 1), (["verify"], 2)])
    def test_a_database_of_something_else_is_left_alone(
        self, command: list[str], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "theirs.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE theirs (x)")
        before = path.read_bytes()
        assert main([*command, "--db", str(path)]) == code
        assert "database of" in capsys.readouterr().err
        assert path.read_bytes() == before

    def test_a_file_that_is_no_database_is_said_to_be_none(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "note.txt"
        path.write_text("no database\n" * 100)
        assert main(["list", "--db", str(path)]) == 1
        assert "can't be read as an SQLite database" in capsys.readouterr().err


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(command in out for command in ("demo", "signal", "list", "show", "cancel", "pause", "resume", "verify"))
