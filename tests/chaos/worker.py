"""A worker process to be harmed: `worker.py <options as JSON>`; see `Options`.

Stops as `examples/worker.py` shows. On its standard output it says `ready`, and what its steps do.
"""

from __future__ import annotations

import resource
import sys
from functools import partial
from typing import Any

import anyio
import msgspec
from anyio import Event
from examples.worker import until_told

from stepwell import Engine, PostgresStorage, SQLiteStorage, Workflow
from stepwell import Event as Happening
from tests.chaos.jobs import JOBS, say
from tests.chaos.mixture import MIXTURE

__all__ = ["Options", "storage_at"]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker process is told."""

    db: str
    """a file, or the DSN of a Postgres"""
    schema: str = "stepwell"
    backend: str = "asyncio"
    lease: float = 1.0
    poll: float = 0.1
    concurrency: int = 4
    connections: int = 4
    max_crashes: int = 3
    grace: float = 3600.0
    memory: int = 0
    """bytes of address space that it may have beyond what it has when it is ready; 0 for no limit"""
    files: int = 0
    """files that it may have open; 0 for no limit"""
    name: str = "worker"


def storage_at(db: str, schema: str = "stepwell", connections: int = 4) -> PostgresStorage | SQLiteStorage:
    """Return the storage of the file, or of the database, that *db* names."""
    if db.startswith("postgresql://"):
        return PostgresStorage(db, schema=schema, connections=connections, wait=120)
    return SQLiteStorage(db, busy_timeout=30)


def tell(event: Happening) -> None:
    words = () if event.execution is None else (event.execution.id,)
    say(event.kind, *words)
    sys.stderr.write(f"{event.kind}: {event.message}\n")


def limit(options: Options) -> None:
    if options.files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (options.files, options.files))
    if options.memory:
        with open("/proc/self/statm", encoding="ascii") as statm:
            pages = int(statm.read().split()[0])
        most = pages * resource.getpagesize() + options.memory
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


async def serve(options: Options, leaving: Event) -> None:
    workflows: list[Workflow[Any, Any]] = [JOBS, *MIXTURE]
    async with (
        storage_at(options.db, options.schema, options.connections) as storage,
        Engine(
            storage, workflows=workflows, lease=options.lease, max_crashes=options.max_crashes, name=options.name
        ) as engine,
        engine.worker(poll_interval=options.poll, concurrency=options.concurrency, grace=options.grace),
    ):
        engine.on(["execution.lease_lost", "worker.error"], tell)
        limit(options)
        say("ready")
        await leaving.wait()


if __name__ == "__main__":
    told = msgspec.json.decode(sys.argv[1].encode(), type=Options)
    anyio.run(until_told, partial(serve, told), backend=told.backend)
