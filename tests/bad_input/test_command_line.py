"""JSON that is given to the command line: refused where it is wrong, on one line, and nothing is stored."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest

from stepwell import Engine, SQLiteStorage, Status
from stepwell.cli import main
from tests.cli.shop import greeting

APP = "tests.cli.shop:greeting"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database with one execution, which waits."""
    path = tmp_path / "flows.db"

    async def begin() -> None:
        async with SQLiteStorage(path) as storage, Engine(storage, workflows=[greeting]) as engine:
            await engine.start(greeting, "Ada", id="waits")
            await engine.run_until_idle()

    anyio.run(begin)
    return path


@pytest.mark.parametrize(
    ("payload", "code", "says"),
    [
        ('{"approved": true, "approved": false}', 2, "the key 'approved' is given twice"),
        ('{"a": [{"\\u0000": 1, "\\u0000": 2}]}', 2, "is given twice"),
        ("NaN", 2, "NaN is no JSON number"),
        ("[-Infinity]", 2, "is no JSON number"),
        ('{"approved": 1e400}', 2, "1e400 is beyond the range of a float"),
        ("1" * 5_000, 2, "4300"),
        ("[" * 100_000, 2, "the payload is not JSON"),
        ("", 2, "the payload is not JSON"),
        ("\ufeff{}", 2, "BOM"),
        ("{'approved': true}", 2, "not JSON"),
        ('{"approved": true} x', 2, "Extra data"),
        ('"\\ud800"', 1, "surrogate"),
        (os.fsdecode(b'"\xff"'), 1, "surrogate"),
        ("[" * 150 + "]" * 150, 1, "nested too deep: the limit is 100 levels"),
        ('{"approved": "' + "x" * 100_000 + '"}', 1, "Expected `bool`, got `str`"),
    ],
    ids=[
        *("twice", "twice deep", "nan", "infinity", "1e400", "5000 digits", "100000 levels", "empty", "bom", "quotes"),
        *("two values", "surrogate", "no utf-8", "150 levels", "another type"),
    ],
)
def test_a_payload_that_is_no_sound_json_is_refused_on_one_line(
    database: Path, payload: str, code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["signal", "--db", str(database), "--app", APP, "waits", "verdict", payload]) == code
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert captured.err.startswith("stepwell: ")
    assert says in captured.err
    assert len(captured.err) < 600

    async def status() -> Status:
        async with SQLiteStorage(database) as storage, Engine(storage) as engine:
            return (await engine.get("waits")).status

    assert anyio.run(status) is Status.SUSPENDED
