"""Where the processes of these tests work."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from tests.chaos.places import Place

PAIRS: Final = {"sqlite-trio": ("sqlite", "trio"), "postgres-asyncio": ("postgres", "asyncio")}
"""Each storage and each loop once: what differs between the pairs is the business of the tests of the storages."""


@pytest.fixture(params=PAIRS.values(), ids=list(PAIRS))
def pair(request: pytest.FixtureRequest) -> tuple[str, str]:
    chosen: tuple[str, str] = request.param
    return chosen


@pytest.fixture
def backend(pair: tuple[str, str]) -> str:
    """The loop of the processes, and of the test."""
    return pair[1]


@pytest.fixture
def place(request: pytest.FixtureRequest, pair: tuple[str, str], tmp_path: Path) -> Place:
    db: Any = str(tmp_path / "flows.db") if pair[0] == "sqlite" else request.getfixturevalue("postgres_dsn")
    return Place(db, pair[1])
