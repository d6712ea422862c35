"""The commands on a database in Postgres, `stepwell migrate`, and what is said to a database that can't be used."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from stepwell import Engine, PostgresStorage, SQLiteStorage
from stepwell.cli import _database, main
from stepwell.testing import check_invariants
from tests.cli.shop import greeting
from tests.support.not_postgres import closed_port
from tests.support.postgres.by_hand import execute, fetch, role, with_login

APP = "tests.cli.shop:greeting"
SECRET = "hunter2"  # noqa: S105 (nobody has it)


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the demo keeps its files."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("STEPWELL_DB", raising=False)
    return tmp_path


@pytest.fixture
def dsn(postgres_dsn: str) -> Iterator[str]:
    """A database with an execution that waits; after the test, what it holds must be sound."""

    async def fill() -> None:
        async with PostgresStorage(postgres_dsn) as storage, Engine(storage, workflows=[greeting]) as engine:
            await engine.start(greeting, "Ada", id="waits")
            await engine.run_until_idle()

    async def check() -> None:
        async with PostgresStorage(postgres_dsn) as storage:
            await check_invariants(storage)

    anyio.run(fill)
    yield postgres_dsn
    anyio.run(check)


def password_of(dsn: str) -> str:
    return dsn.partition("@")[0].rpartition(":")[2]


class TestCommands:
    def test_work_as_on_a_file(self, dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["list", "--db", dsn, "--json"]) == 0
        assert [found["id"] for found in json.loads(capsys.readouterr().out)] == ["waits"]
        for command in (
            ["show", "waits"],
            ["pause", "waits"],
            ["resume", "--app", APP, "waits"],
            ["graph", "--execution", "waits", APP],
            ["signal", "--app", APP, "waits", "verdict", '{"approved": true}'],
            ["cancel", "waits", "--reason", "enough"],
            ["verify", "--app", APP],
        ):
            assert main([command[0], "--db", dsn, *command[1:]]) == 0
        assert main(["show", "--db", dsn.replace("postgresql:", "postgres:"), "waits"]) == 0
        captured = capsys.readouterr()
        assert "because: enough" in captured.out
        assert password_of(dsn) not in captured.out + captured.err

    def test_take_the_database_from_the_environment(
        self, dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("STEPWELL_DB", dsn)
        assert main(["show", "waits"]) == 0
        assert "stepwell signal --app MODULE:NAME waits verdict JSON" in capsys.readouterr().out

    def test_rather_take_what_db_names(
        self, dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        monkeypatch.setenv("STEPWELL_DB", dsn)
        assert main(["list", "--db", str(tmp_path / "none.db")]) == 1
        assert "there is no database" in capsys.readouterr().err
        assert main(["list", "--db", ""]) == 2

    def test_take_a_file_from_the_environment_too(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        path = tmp_path / "flows.db"
        monkeypatch.setenv("STEPWELL_DB", str(path))
        assert main(["migrate"]) == 0
        assert main(["list"]) == 0
        assert path.exists()

    def test_look_into_the_schema_that_is_named(
        self, postgres_database: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["migrate", "--db", postgres_database, "--schema", "other"]) == 0
        assert "schema other: applied 0001_core" in capsys.readouterr().out
        assert main(["demo", "--db", postgres_database, "--schema", "other", "--yes", "--pace", "0"]) == 0
        captured = capsys.readouterr()
        assert "--schema other" in captured.out
        assert password_of(postgres_database) not in captured.out + captured.err
        assert main(["list", "--db", postgres_database]) == 0
        assert capsys.readouterr().out == "no executions\n"

    def test_of_the_demo_runs_once_more_beside_its_files(
        self, postgres_dsn: str, state: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for number in ("1", "2"):
            assert main(["demo", "--db", postgres_dsn, "--yes", "--pace", "0"]) == 0
            assert (
                f"Refunded: 80.00 EUR to Ada, once\n           under the key refund-{number}:"
                in capsys.readouterr().out
            )
        assert {path.name.rpartition("-")[2] for path in (state / "stepwell-demo").iterdir()} >= {
            "shop.db",
            "airports.db",
        }

    def test_make_no_tables_where_they_only_look(
        self, postgres_empty_database: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for command in (["list"], ["show", "x"], ["cancel", "x"]):
            assert main([*command, "--db", postgres_empty_database]) == 1
            captured = capsys.readouterr()
            assert captured.err.count("\n") == 1
            assert 'no tables of Stepwell in the schema "stepwell"; run `stepwell migrate`' in captured.err
        assert fetch(postgres_empty_database, "SELECT FROM pg_namespace WHERE nspname = 'stepwell'") == []

    def test_look_with_a_role_that_may_only_read_at_a_server_that_takes_no_writes(self, postgres_database: str) -> None:
        rights = (
            "GRANT USAGE ON SCHEMA stepwell TO {role}",
            "GRANT SELECT ON ALL TABLES IN SCHEMA stepwell TO {role}",
            "ALTER ROLE {role} SET default_transaction_read_only = on",
        )
        with role(postgres_database, *rights) as reader:
            assert main(["list", "--db", reader]) == 0


class TestMigrate:
    def test_says_what_it_applied_and_then_that_there_is_nothing_to_do(
        self, postgres_empty_database: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shown = postgres_empty_database.replace(f":{password_of(postgres_empty_database)}@", "@")
        assert main(["migrate", "--db", postgres_empty_database]) == 0
        assert capsys.readouterr().out == f"{shown}: applied 0001_core\n"
        assert main(["migrate", "--db", postgres_empty_database]) == 0
        assert capsys.readouterr().out == f"{shown}: up to date, nothing to do\n"

    def test_does_the_same_for_a_file(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "new" / "flows.db"
        assert main(["migrate", "--db", str(path)]) == 0
        assert main(["migrate", "--db", str(path)]) == 0
        assert capsys.readouterr().out == f"{path}: applied 0001_core\n{path}: up to date, nothing to do\n"

    def test_prints_sql_that_makes_a_schema_which_is_up_to_date(
        self, postgres_empty_database: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["migrate", "--sql", "--dialect", "postgres"]) == 0
        script = capsys.readouterr().out
        assert script == PostgresStorage.script()
        execute(postgres_empty_database, script)
        assert main(["migrate", "--db", postgres_empty_database]) == 0
        assert "up to date" in capsys.readouterr().out

    def test_prints_sql_without_connecting(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        dsn = f"postgresql://ada:{SECRET}@nowhere.invalid/flows"
        assert main(["migrate", "--sql", "--db", dsn, "--schema", "other"]) == 0
        assert capsys.readouterr().out == PostgresStorage.script("other")
        assert main(["migrate", "--sql", "--db", str(tmp_path / "none.db")]) == 0
        assert main(["migrate", "--sql", "--dialect", "sqlite"]) == 0
        assert capsys.readouterr().out == SQLiteStorage.script() * 2
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["--dialect", "postgres"], "--dialect goes with --sql"),
            (["--sql", "--dialect", "sqlite", "--schema", "x"], "an SQLite file has none"),
            (["--sql", "--dialect", "postgres", "--schema", ""], "must be a lower-case name"),
            (["--db", "flows.db", "--schema", "x"], "--schema goes with postgresql://"),
        ],
    )
    def test_refuses_what_makes_no_sense(
        self, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["migrate", *arguments]) == 2
        assert says in capsys.readouterr().err


class TestBadDatabase:
    @pytest.mark.parametrize(
        "dsn",
        [
            f"postgresq://ada:{SECRET}@db/flows",
            f"postgresql//ada:{SECRET}@db/flows",
            f"postgresql:/ada:{SECRET}@db/flows",
            f"postgresql:ada:{SECRET}@db/flows",
            f"ada:{SECRET}@db/flows",
            f" postgresql://ada:{SECRET}@db/flows",
            f"'postgresql://ada:{SECRET}@db/flows'",
            f"host=db password={SECRET} dbname=flows",
            f"postgresql://ada:{SECRET}@db:port/flows",
            f"postgresql://ada:{SECRET}@[::1/flows",
            f"postgresql://ada:{SECRET}@d b/flows",
            f"postgresql://ada:{SECRET}%@db/flows",
            f"postgresql://ada:1/{SECRET}@db/flows",
            f"postgresql://ada:{SECRET}@{'x' * 5000}:y/flows",
        ],
    )
    @pytest.mark.parametrize("command", [["list"], ["migrate"], ["demo"]])
    def test_that_is_no_dsn_is_one_line_without_the_password(
        self, dsn: str, command: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main([*command, "--db", dsn]) == 2
        captured = capsys.readouterr()
        assert (captured.out, captured.err.count("\n")) == ("", 1)
        assert captured.err.startswith("stepwell: the DSN ")
        assert SECRET not in captured.err

    @pytest.mark.parametrize("schema", ["a-b", "A", '"; drop', "x" * 64, "", "pg_x"])
    def test_with_a_schema_that_is_not_plain_is_one_line(self, schema: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["list", "--db", f"postgresql://ada:{SECRET}@db/flows", "--schema", schema]) == 2
        captured = capsys.readouterr()
        assert (captured.out, captured.err.count("\n")) == ("", 1)
        assert captured.err.startswith("stepwell: the schema ")

    def test_that_can_t_be_reached_is_one_line_at_once(self, capsys: pytest.CaptureFixture[str]) -> None:
        for server in (f"127.0.0.1:{closed_port()}", "nowhere.invalid"):
            assert main(["list", "--db", f"postgresql://ada:{SECRET}@{server}/flows"]) == 1
            captured = capsys.readouterr()
            assert (captured.out, captured.err.count("\n")) == ("", 1)
            assert f"stepwell: postgresql://{server}/flows: the server can't be reached" in captured.err
            assert SECRET not in captured.err

    def test_that_can_t_be_reached_is_waited_for_by_what_begins_something(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_database, "_PATIENCE", 0.15)
        assert main(["migrate", "--db", f"postgresql://ada:{SECRET}@127.0.0.1:{closed_port()}/flows"]) == 1
        err = capsys.readouterr().err
        assert "the server can't be reached" in err
        assert SECRET not in err

    @pytest.mark.parametrize("command", [["list"], ["migrate"]])
    def test_that_refuses_the_login_is_one_line(
        self, command: list[str], postgres_dsn: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main([*command, "--db", with_login(postgres_dsn, "postgres", SECRET)]) == 1
        captured = capsys.readouterr()
        assert (captured.out, captured.err.count("\n")) == ("", 1)
        assert "the server refused the login" in captured.err
        assert SECRET not in captured.err

    def test_that_a_newer_release_has_changed_is_one_line(
        self, postgres_database: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        execute(postgres_database, "INSERT INTO stepwell.migrations VALUES (7, '0007_later')")
        for command in (["list"], ["migrate"]):
            assert main([*command, "--db", postgres_database]) == 1
            captured = capsys.readouterr()
            assert "has version 7, and this Stepwell knows versions up to 1" in captured.err
            assert captured.err.count("\n") == 1

    def test_whose_role_lacks_a_right_is_one_line(
        self, postgres_empty_database: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with role(postgres_empty_database) as dsn:
            assert main(["migrate", "--db", dsn]) == 1
        captured = capsys.readouterr()
        assert "lacks CREATE on the database" in captured.err
        assert captured.err.count("\n") == 1

    def test_without_its_driver_is_one_line_that_says_what_to_install(self) -> None:
        program = "import sys; sys.modules['asyncpg'] = None; from stepwell.cli import main; sys.exit(main())"
        command = [sys.executable, "-c", program, "list", "--db", f"postgresql://ada:{SECRET}@db/flows"]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert ended.stderr == "stepwell: PostgresStorage needs asyncpg: pip install 'stepwell[postgres]'\n"
