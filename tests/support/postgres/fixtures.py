"""Fixtures for tests on Postgres. Nothing starts before a test asks for it."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import ExitStack
from typing import TYPE_CHECKING, NoReturn

import pytest

from tests.support.postgres._launcher import PostgresUnavailable, Server, launched
from tests.support.postgres._provided import provided

if TYPE_CHECKING:  # it needs the driver, which most tests do without
    from tests.support.postgres._databases import Databases

__all__ = [
    "own_postgres",
    "postgres_database",
    "postgres_databases",
    "postgres_dsn",
    "postgres_empty_database",
    "postgres_url",
]


def unavailable(error: PostgresUnavailable) -> NoReturn:
    """End the test: where all must be tested, a missing server is a failure."""
    if os.environ.get("CI"):
        pytest.fail(str(error), pytrace=False)
    pytest.skip(str(error))


async def migrate(dsn: str) -> None:
    """Bring a database up to date, as every storage does that is opened on it."""
    from stepwell.storage.postgres import PostgresStorage  # noqa: PLC0415 (its driver is only needed here)

    async with PostgresStorage(dsn):
        pass


@pytest.fixture(scope="session")
def postgres_url() -> Generator[str]:
    """The server of this session. Others may use it too: leave it running, and its other databases alone."""
    with ExitStack() as stack:
        try:
            url = stack.enter_context(provided())
        except PostgresUnavailable as error:
            unavailable(error)
        yield url


@pytest.fixture(scope="session")
def postgres_databases(postgres_url: str) -> Generator[Databases]:
    from tests.support.postgres._databases import open_databases  # noqa: PLC0415

    with open_databases(postgres_url, migrate) as databases:
        yield databases


@pytest.fixture
def postgres_dsn(postgres_databases: Databases) -> str:
    """A migrated database without rows. The next test gets the same one, emptied."""
    return postgres_databases.shared()


@pytest.fixture
def postgres_database(postgres_databases: Databases) -> Generator[str]:
    """A migrated database that no other test has seen or will see, for DDL, roles and large amounts of rows."""
    with postgres_databases.fresh() as dsn:
        yield dsn


@pytest.fixture
def postgres_empty_database(postgres_databases: Databases) -> Generator[str]:
    """A database that was never migrated."""
    with postgres_databases.fresh(migrated=False) as dsn:
        yield dsn


@pytest.fixture(scope="module")
def own_postgres() -> Generator[Server]:
    """A server that the tests of a module may stop and start; what it has committed survives that."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(launched(settings={"synchronous_commit": "on"}))
        except PostgresUnavailable as error:
            unavailable(error)
        yield server
