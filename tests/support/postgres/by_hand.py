"""What a DBA does by hand: statements, roles and their rights. All of it blocks, in or beside any event loop."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

import asyncpg
from anyio.from_thread import start_blocking_portal

__all__ = ["execute", "fetch", "role", "with_login"]


def execute(dsn: str, *scripts: str) -> None:
    """Run scripts, each of any number of statements."""

    async def run() -> None:
        connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(dsn)
        try:
            for script in scripts:
                await connection.execute(script)
        finally:
            await connection.close()

    with start_blocking_portal("asyncio") as portal:
        portal.call(run)


def fetch(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    """Return the rows of a statement."""

    async def run() -> list[tuple[Any, ...]]:
        connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(dsn)
        try:
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    with start_blocking_portal("asyncio") as portal:
        return portal.call(run)


def with_login(dsn: str, user: str, password: str) -> str:
    """Return the URL for another user of the same database."""
    parts = urlsplit(dsn)
    place = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{user}:{password}@{place}{parts.path}{parts.query and '?'}{parts.query}"


@contextmanager
def role(dsn: str, *grants: str) -> Generator[str]:
    """Give the URL of a new role in this database. In *grants*, and in whatever else is run, `{role}` is its name."""
    name, password = f"stepwell_test_{token_hex(6)}", token_hex(16)
    execute(dsn, f"CREATE ROLE {name} LOGIN PASSWORD '{password}'", *[grant.format(role=name) for grant in grants])
    try:
        yield with_login(dsn, name, password)
    finally:
        execute(dsn, f"DROP OWNED BY {name} CASCADE", f"DROP ROLE {name}")
