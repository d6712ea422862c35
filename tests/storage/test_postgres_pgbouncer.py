"""Every promise also holds behind PgBouncer in transaction mode. Run by `nox -s pgbouncer`, which needs its program.

Collected only where it is asked for (`--pgbouncer`): a machine without the program would skip what nobody then misses.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import anyio
import pytest
from anyio import to_thread

from stepwell import Engine
from stepwell.storage.postgres import PostgresStorage
from stepwell.testing import STORAGE_CHECKS, Check, check_invariants
from tests.engine.flows import Runs
from tests.support.postgres._binaries import runner, temporary_folder
from tests.support.postgres._databases import with_database
from tests.support.postgres.outsider import outsider

pytestmark = [pytest.mark.anyio, pytest.mark.real_time, pytest.mark.pgbouncer]

LIMIT: Final = 20.0
CONFIG: Final = """
[databases]
* = host={host} port={port} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 20
max_client_conn = 400
server_tls_sslmode = disable
ignore_startup_parameters = extra_float_digits
"""


class Bouncer:
    """A PgBouncer on a loopback port of its own, which may be killed and started again."""

    def __init__(self, program: str, file: Path, port: int) -> None:
        self.port = port
        self._command = [program, str(file)]
        self._folder = file.parent
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        user = runner()
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                user=None if user is None else user.uid,
                group=None if user is None else user.gid,
                extra_groups=None if user is None else [],
            )
        _await_port(self.port, self._process, self._folder / "log")

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(LIMIT)


@pytest.fixture(scope="module")
def bouncer(postgres_url: str) -> Iterator[Bouncer]:
    """A PgBouncer before the test server."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        pytest.fail("there is no program `pgbouncer` on the PATH", pytrace=False)
    parts, user = urlsplit(postgres_url), runner()  # PgBouncer refuses to run as root, as Postgres does
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        own_port = int(probe.getsockname()[1])
    # Not pytest's own folder: other runs close that to all but its owner, and this one starts again in between.
    with tempfile.TemporaryDirectory(prefix="stepwell-pgbouncer-", dir=temporary_folder(user)) as name:
        file = Path(name) / "pgbouncer.ini"
        file.write_text(
            CONFIG.format(
                host=parts.hostname, port=parts.port, user=parts.username, password=parts.password, own_port=own_port
            )
        )
        if user is not None:
            for path in (file.parent, file):
                os.chown(path, user.uid, user.gid)
        made = Bouncer(program, file, own_port)
        made.start()
        try:
            yield made
        finally:
            made.kill()


def _await_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"pgbouncer did not start: {log.read_text()[-2000:]}")
            time.sleep(0.02)
        else:
            return


@pytest.fixture
def dsn(bouncer: Bouncer, postgres_dsn: str) -> str:
    database = urlsplit(postgres_dsn).path.removeprefix("/")
    return with_database(f"postgresql://stepwell@127.0.0.1:{bouncer.port}/x?sslmode=disable", database)


@pytest.fixture
async def pooled(dsn: str) -> AsyncIterator[PostgresStorage]:
    async with PostgresStorage(dsn, pooler=True, notify=False) as storage:
        yield storage


@pytest.mark.parametrize("check", STORAGE_CHECKS, ids=lambda check: check.__name__)
async def test_a_storage_keeps_its_promise(check: Check, pooled: PostgresStorage) -> None:
    await check(pooled)


async def test_checks_run_at_once(dsn: str) -> None:
    async def run(checks: list[Check]) -> None:
        async with PostgresStorage(dsn, pooler=True, notify=False) as storage:
            for check in checks:
                await check(storage)

    async with anyio.create_task_group() as tasks:
        for place in range(6):
            tasks.start_soon(run, list(STORAGE_CHECKS[place::6]))


async def test_engines_share_their_work(dsn: str) -> None:
    runs = Runs()
    workflow = runs.flow()
    async with (
        PostgresStorage(dsn, pooler=True, notify=False) as one,
        PostgresStorage(dsn, pooler=True, notify=False) as two,
        Engine(one, workflows=[workflow]) as first,
        Engine(two, workflows=[workflow]) as second,
        first.worker(poll_interval=0.1),
        second.worker(poll_interval=0.1),
    ):
        handles = [await engine.start(workflow, 1) for _ in range(20) for engine in (first, second)]
        for handle in handles:
            assert await handle.result(60) == "first second third"
        assert await check_invariants(one) == 40
    assert set(runs.of.values()) == {1}


async def test_a_pooler_that_is_killed_and_comes_back_loses_nothing(bouncer: Bouncer, dsn: str) -> None:
    runs = Runs()
    workflow = runs.flow()
    async with (
        PostgresStorage(dsn, pooler=True, notify=False) as storage,
        Engine(storage, workflows=[workflow], lease=2.0, max_crashes=100) as engine,
        engine.worker(poll_interval=0.1, concurrency=10),
    ):
        handles = [await engine.start(workflow, 1) for _ in range(60)]
        for _ in range(3):
            await anyio.sleep(0.5)  # while some of them are under way
            await to_thread.run_sync(bouncer.kill)
            await anyio.sleep(0.3)
            await to_thread.run_sync(bouncer.start)
        with anyio.fail_after(90):
            for handle in handles:
                assert await handle.result() == "first second third"
        assert await check_invariants(storage) == 60


async def test_backends_that_end_behind_a_pooler_lose_nothing(dsn: str, postgres_dsn: str) -> None:
    runs = Runs()
    workflow = runs.flow()
    async with (
        outsider(postgres_dsn) as dba,
        PostgresStorage(dsn, pooler=True, notify=False) as storage,
        Engine(storage, workflows=[workflow], lease=2.0, max_crashes=100) as engine,
        engine.worker(poll_interval=0.1, concurrency=10),
    ):
        handles = [await engine.start(workflow, 1) for _ in range(60)]
        for _ in range(8):
            await dba.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            await anyio.sleep(0.2)
        with anyio.fail_after(90):
            for handle in handles:
                assert await handle.result() == "first second third"
        assert await check_invariants(storage) == 60
