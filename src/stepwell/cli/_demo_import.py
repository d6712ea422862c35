"""The import of `stepwell demo`: a CSV file is fetched, parsed, checked, approved by a person, loaded and reported.

Nothing here knows of the command line: the steps use their context only, and everything that they need is in the input.
"""

from __future__ import annotations

import csv
import hashlib
import io
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal

import anyio
from anyio import to_thread

from stepwell import Context, Retry, Workflow, activity, fail, succeed, wait
from stepwell.cli._demo_progress import Progress

__all__ = [
    "Approval",
    "Finding",
    "ImportRequest",
    "Report",
    "approval",
    "check",
    "import_airports",
    "imported",
    "load",
    "parse",
    "rejected",
]

BATCH: Final = 40
"""rows that are loaded in one transaction"""
_STAGED_FAILURES: Final = 2
_COLUMNS: Final = ("iata", "name", "city", "state", "country", "latitude", "longitude")
_EASTERN: Final = {"CQ": "the Northern Marianas", "GU": "Guam"}
_SOUTHERN: Final = {"AS": "American Samoa"}

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS airports (
    code TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    city TEXT,
    state TEXT,
    country TEXT NOT NULL,
    latitude REAL NOT NULL,
    longitude REAL NOT NULL,
    problem TEXT
);
CREATE TABLE IF NOT EXISTS batches (
    idempotency_key TEXT NOT NULL,
    batch INTEGER NOT NULL,
    PRIMARY KEY (idempotency_key, batch)
);
"""


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What to import: the demo's data, by way of the file *inbox*, into the SQLite database *target*."""

    inbox: str
    target: str
    pause: float
    """seconds between two batches, so that there is time to kill the process"""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file as it was found."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Airport:
    """One row."""

    code: str
    name: str
    city: str | None
    state: str | None
    country: str
    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with one row."""

    code: str
    kind: Literal["incomplete", "misplaced", "duplicate"]
    problem: str


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's answer to the problems that were found."""

    approved: bool


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the load did; a batch that an earlier attempt had committed was not loaded again."""

    batches: int
    committed_before: int


@dataclass(frozen=True, slots=True)
class Report:
    """What there is in the database in the end."""

    rows: int
    with_problems: int
    by_state: dict[str, int]


class StagedFailure(Exception):
    """Raised on purpose, to show a retry."""


Ctx = Context[ImportRequest]


@activity(retry=Retry(max_attempts=10, backoff=0.5), timeout=10, label="Fetch the file")
async def fetch(ctx: Ctx) -> Fetched:
    """Copy the data set that comes with Stepwell to the inbox; the first two attempts fail."""
    if ctx.attempt <= _STAGED_FAILURES:
        raise StagedFailure(f"the disk is busy; this is staged, the first {_STAGED_FAILURES} attempts fail on purpose")
    content = files("stepwell.cli").joinpath("data", "airports.csv").read_bytes()
    await anyio.Path(ctx.input.inbox).write_bytes(content)
    return Fetched(ctx.input.inbox, len(content), hashlib.sha256(content).hexdigest())


@activity(timeout=10, label="Parse the rows")
async def parse(ctx: Ctx) -> list[Airport]:
    """Read the inbox. Raises ValueError for a row that can't be read, or a file that changed since it was fetched."""
    fetched = ctx.output(fetch)
    content = await anyio.Path(fetched.path).read_bytes()
    if hashlib.sha256(content).hexdigest() != fetched.sha256:
        raise ValueError(f"{fetched.path} changed since it was fetched")
    lines = csv.reader(io.StringIO(content.decode()))
    if tuple(next(lines)) != _COLUMNS:
        raise ValueError(f"{fetched.path} has other columns than {', '.join(_COLUMNS)}")
    return [_airport(line) for line in lines]


@activity(timeout=10, label="Check the rows")
async def check(ctx: Ctx) -> list[Finding]:
    """Find what is wrong with the rows."""
    airports = ctx.output(parse)
    findings = [finding for airport in airports for finding in _findings(airport)]
    return findings + _duplicates(airports)


@wait(label="Approve the problems")
def approval(ctx: Ctx, signal: Approval) -> Literal["approved", "rejected"]:
    """Wait until a person has looked at the problems."""
    return "approved" if signal.approved else "rejected"


@activity(retry=Retry(max_attempts=3, backoff=0.5), timeout=120, label="Load the rows")
async def load(ctx: Ctx) -> Loaded:
    """Load the rows batch by batch; whatever is killed meanwhile, each row is there once."""
    airports = ctx.output(parse)
    problems = {finding.code: finding.problem for finding in ctx.output(check)}
    target, key = Path(ctx.input.target), ctx.idempotency_key
    before = await to_thread.run_sync(_prepare, target, key)
    count = -(-len(airports) // BATCH)
    if before:
        found = f"{len(before)} of {count} batches are in the database already, from an earlier attempt"
        ctx.log.info(Progress(len(before), count, found))
    for number in range(count):
        if number not in before:
            rows = airports[number * BATCH : (number + 1) * BATCH]
            await anyio.sleep(ctx.input.pause)
            await to_thread.run_sync(_load_batch, target, key, number, rows, problems)
            loaded = f"batch {number + 1} of {count} loaded, {number * BATCH + len(rows)} rows so far"
            ctx.log.info(Progress(number + 1, count, loaded))
    return Loaded(count, len(before))


@activity(timeout=10, label="Count what was loaded")
async def report(ctx: Ctx) -> Report:
    """Count what is in the database now."""
    return await to_thread.run_sync(_count, Path(ctx.input.target))


@succeed(label="Imported")
def imported(ctx: Ctx) -> Report:
    """End with the report."""
    return ctx.output(report)


@fail(label="Rejected")
def rejected(ctx: Ctx) -> str:
    """End without having loaded anything."""
    return f"the {len(ctx.output(check))} problems were not approved; nothing was loaded"


import_airports = Workflow[ImportRequest, Report](
    "import_airports",
    version="1",
    start=fetch,
    edges=[
        fetch.then(parse),
        parse.then(check),
        check.then(approval),
        approval.to({"approved": load, "rejected": rejected}),
        load.then(report),
        report.then(imported),
    ],
)


def _airport(line: Sequence[str]) -> Airport:
    code, name, city, state, country, latitude, longitude = line
    return Airport(code, name, _known(city), _known(state), country, float(latitude), float(longitude))


def _known(text: str) -> str | None:
    return None if text in {"", "NA"} else text


def _findings(airport: Airport) -> Iterator[Finding]:
    if airport.city is None or airport.state is None:
        yield Finding(airport.code, "incomplete", "has no city or no state")
    if airport.state in _EASTERN and airport.longitude < 0:
        where = f"the wrong hemisphere for {_EASTERN[airport.state]}"
        yield Finding(airport.code, "misplaced", f"has a longitude of {airport.longitude:.2f}, {where}")
    if airport.state in _SOUTHERN and airport.latitude > 0:
        where = f"the wrong hemisphere for {_SOUTHERN[airport.state]}"
        yield Finding(airport.code, "misplaced", f"has a latitude of {airport.latitude:.2f}, {where}")


def _duplicates(airports: Sequence[Airport]) -> list[Finding]:
    first: dict[tuple[str, str | None, str | None], str] = {}
    findings: list[Finding] = []
    for airport in airports:
        known = first.setdefault((airport.name, airport.city, airport.state), airport.code)
        if known != airport.code:
            findings.append(Finding(airport.code, "duplicate", f"has the name and the city of {known} too"))
    return findings


def _prepare(target: Path, key: str) -> set[int]:
    """Make the tables, and return the batches that earlier attempts under this key have committed."""
    with closing(_connect(target)) as connection:
        connection.executescript(_TABLES)
        rows = connection.execute("SELECT batch FROM batches WHERE idempotency_key = ?", (key,))
        return {batch for (batch,) in rows}


def _load_batch(target: Path, key: str, number: int, airports: Sequence[Airport], problems: dict[str, str]) -> None:
    """Load one batch and note that under the key, in one transaction."""
    rows = [
        (a.code, a.name, a.city, a.state, a.country, a.latitude, a.longitude, problems.get(a.code)) for a in airports
    ]
    with closing(_connect(target)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT OR IGNORE INTO batches VALUES (?, ?)", (key, number))
        connection.executemany("INSERT OR REPLACE INTO airports VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        connection.execute("COMMIT")


def _count(target: Path) -> Report:
    with closing(_connect(target)) as connection:
        rows = connection.execute("SELECT state, problem FROM airports").fetchall()
    by_state = Counter(state or "unknown" for state, _ in rows)
    return Report(len(rows), sum(problem is not None for _, problem in rows), dict(by_state.most_common()))


def _connect(target: Path) -> sqlite3.Connection:
    return sqlite3.connect(target, timeout=5.0, isolation_level=None)
