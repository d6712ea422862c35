"""A Postgres server of our own, in a temporary folder, for as long as a block runs. It needs no pytest.

The server listens on a loopback port and a unix socket, behind a random password. A supervisor keeps it
(`_supervisor.py`), so that it is gone with this process however that ends.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from threading import Lock
from typing import Any, Final, Literal, cast

from tests.support.postgres._binaries import find_binaries, memory_folder, runner, temporary_folder

__all__ = ["PostgresUnavailable", "Server", "StopMode", "launched"]

StopMode = Literal["smart", "fast", "immediate"]
"""As pg_ctl has them: wait for the clients, break off their transactions, or leave without a checkpoint."""

COMMON: Final = {"max_connections": "200"}
NOT_DURABLE: Final = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_wal_size": "256MB",  # it may lie in memory
    "autovacuum": "off",  # what a test measures or plans must not depend on when it came by
}
SUPERVISOR: Final = Path(__file__).with_name("_supervisor.py")
LIMIT: Final = 90.0
"""Seconds within which the supervisor answers, or is gone."""


class PostgresUnavailable(Exception):
    """Raised when there is no Postgres, with what was tried."""


class Server:
    """A running server; `launched` makes them. Its methods block, may be called from any thread, and one at a time."""

    def __init__(self, supervisor: subprocess.Popen[bytes], password: str, major: int) -> None:
        self._supervisor = supervisor
        self._password = password
        self._said = b""
        self._lock = Lock()
        self.host: Final = "127.0.0.1"
        self.major: Final = major
        """its major version"""
        self.port = 0
        self.pid = 0
        """the process that listens; another one after each start"""
        self.folder = Path()

    @property
    def dsn(self) -> str:
        """The URL of the database `postgres`, for its superuser; the same for as long as the block runs."""
        return f"postgresql://postgres:{self._password}@{self.host}:{self.port}/postgres?sslmode=disable"

    @property
    def password(self) -> str:
        """That of its superuser."""
        return self._password

    @property
    def conninfo(self) -> str:
        """How a standby reaches it."""
        return f"host={self.host} port={self.port} user=postgres password={self._password} sslmode=disable"

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server, if it runs, and return when it is gone."""
        self._ask({"do": "stop", "mode": mode})

    def start(self) -> None:
        """Start the server where it was, if it doesn't run, and return when it takes connections."""
        self._ask({"do": "start"})

    def restart(self, mode: StopMode = "fast") -> None:
        """Stop the server and start it again; *immediate* is what a crash looks like."""
        self.stop(mode)
        self.start()

    def configure(self, config: Mapping[str, Any]) -> None:
        """Tell the supervisor what to run; once."""
        self._ask(config)

    def _ask(self, command: Mapping[str, Any]) -> None:
        assert self._supervisor.stdin is not None
        with self._lock:
            answer: dict[str, Any] = {}
            if not self._supervisor.stdin.closed:
                with suppress(BrokenPipeError):
                    self._supervisor.stdin.write(json.dumps(command).encode() + b"\n")
                    answer = self._answer()
        if "port" not in answer:
            msg = answer.get("error") or "the supervisor of the server is gone"
            raise PostgresUnavailable(msg)
        self.port, self.pid, self.folder = answer["port"], answer["pid"], Path(answer["folder"])

    def _answer(self) -> dict[str, Any]:
        assert self._supervisor.stdout is not None
        deadline = time.monotonic() + LIMIT
        while b"\n" not in self._said:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self._supervisor.stdout], [], [], max(left, 0))
            if not ready:
                msg = f"the supervisor of the server did not answer within {LIMIT} s"
                raise PostgresUnavailable(msg)
            said = self._supervisor.stdout.read(65_536)
            if not said:
                return {}
            self._said += said
        line, _, self._said = self._said.partition(b"\n")
        return cast("dict[str, Any]", json.loads(line))


@contextmanager
def launched(
    *,
    durable: bool = False,
    which: int | None = None,
    settings: Mapping[str, str] | None = None,
    port: int | None = None,
    base: Path | None = None,
    standby_of: Server | None = None,
) -> Generator[Server]:
    """Run a server of its own for the length of the block; its data is gone afterwards.

    Args:
        durable: Whether what it has committed survives a crash of the machine, as in production. Without it all is
            faster, and after `restart("immediate")` the last commits may be missing.
        which: The major version to take if there is a choice; else the newest.
        settings: More settings, as `postgres -c` takes them; these win.
        port: The port to try first; any free one is taken if somebody has it.
        base: The folder in which that of its data is made; it must be open to whoever runs the server.
        standby_of: The server to follow, with its roles and passwords. It must be stopped now, and started afterwards.

    Raises:
        PostgresUnavailable: There are no programs to run, or they don't start.
    """
    binaries = find_binaries(which)
    if binaries is None:
        msg = "no programs of a Postgres server were found"
        raise PostgresUnavailable(msg)
    user = runner()
    password = token_hex(16) if standby_of is None else standby_of.password
    following = {} if standby_of is None else {"primary_conninfo": standby_of.conninfo}
    temporary = temporary_folder(user)
    is_reached = user is None or user.reaches(binaries.folder)
    config = {
        "binaries": str(binaries.folder),
        "major": binaries.major,
        "copy": None if is_reached else (str(binaries.base), binaries.parts, str(temporary)),
        "base": str(base or (temporary if durable else memory_folder() or temporary)),
        "user": None if user is None else (user.uid, user.gid),
        "durable": durable,
        "settings": {**COMMON, **({} if durable else NOT_DURABLE), **following, **(settings or {})},
        "standby_of": None if standby_of is None else str(standby_of.folder / "data"),
        "port": port or 0,
        "password": password,
    }
    supervisor = subprocess.Popen(
        [sys.executable, "-I", str(SUPERVISOR)],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us: the tests that are ending still need the server
    )
    server = Server(supervisor, password, binaries.major)
    try:
        server.configure(config)
        yield server
    finally:
        _end(supervisor)


def _end(supervisor: subprocess.Popen[bytes]) -> None:
    """Let the supervisor see that nobody needs the server any more, and wait until both are gone."""
    assert supervisor.stdin is not None
    assert supervisor.stdout is not None
    supervisor.stdin.close()
    try:
        supervisor.wait(LIMIT)
    finally:
        supervisor.stdout.close()
