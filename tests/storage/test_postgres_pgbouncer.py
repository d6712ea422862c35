"""Every promise also holds behind PgBouncer in transaction mode. Run by `nox -s pgbouncer`, which needs its program.

Collected only where it is asked for (`--pgbouncer`): a machine without the program would skip what nobody then misses.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import anyio
import pytest

from stepwell import Engine
from stepwell.storage.postgres import PostgresStorage
from stepwell.testing import STORAGE_CHECKS, Check, check_invariants
from tests.engine.flows import Runs
from tests.support.postgres._binaries import runner
from tests.support.postgres._databases import with_database

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


@pytest.fixture(scope="module")
def bouncer(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A PgBouncer before the test server, on a loopback port of its own; give the port."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        pytest.fail("there is no program `pgbouncer` on the PATH", pytrace=False)
    parts, folder = urlsplit(postgres_url), tmp_path_factory.mktemp("pgbouncer")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        own_port = int(probe.getsockname()[1])
    file = folder / "pgbouncer.ini"
    file.write_text(
        CONFIG.format(
            host=parts.hostname, port=parts.port, user=parts.username, password=parts.password, own_port=own_port
        )
    )
    user = runner()  # PgBouncer refuses to run as root, as Postgres does
    if user is not None:
        for path in (folder, file):
            os.chown(path, user.uid, user.gid)
        for path in (folder, *list(folder.parents)[:2]):
            path.chmod(path.stat().st_mode | 0o011)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, str(file)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            user=None if user is None else user.uid,
            group=None if user is None else user.gid,
            extra_groups=None if user is None else [],
        )
    try:
        _await_port(own_port, process, folder / "log")
        yield own_port
    finally:
        process.terminate()
        process.wait(LIMIT)


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
def dsn(bouncer: int, postgres_dsn: str) -> str:
    database = urlsplit(postgres_dsn).path.removeprefix("/")
    return with_database(f"postgresql://stepwell@127.0.0.1:{bouncer}/x?sslmode=disable", database)


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
