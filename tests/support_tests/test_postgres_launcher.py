"""Servers of our own: where they listen, how they restart, and that nothing is left of them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.postgres import PostgresUnavailable, Server, _binaries, _launcher, launched
from tests.support.postgres._binaries import Binaries, find_binaries, runner
from tests.support.processes import run_script
from tests.support_tests.postgres import ask, execute, is_gone, is_removed

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).parent / "scripts" / "keep_postgres.py"

pytestmark = pytest.mark.skipif(find_binaries() is None, reason="no programs of a Postgres server")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with launched(settings={"synchronous_commit": "on"}) as server:
        yield server


def takes_connections(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


def test_it_listens_on_loopback_only(server: Server) -> None:
    assert ask(server.dsn, "SHOW listen_addresses") == "127.0.0.1"
    assert takes_connections(server.host, server.port)
    assert not takes_connections("127.0.0.2", server.port)


def test_it_has_a_socket_in_its_folder(server: Server) -> None:
    assert (server.folder / f".s.PGSQL.{server.port}").is_socket()
    socket_dsn = server.dsn.replace(f"{server.host}:{server.port}", "") + f"&host={server.folder}&port={server.port}"
    assert ask(socket_dsn, "SELECT inet_server_addr()") is None


def test_it_wants_the_password(server: Server) -> None:
    with pytest.raises(Exception, match="password authentication failed"):
        ask(f"postgresql://postgres:wrong@{server.host}:{server.port}/postgres?sslmode=disable", "SELECT 1")


def test_it_does_not_run_as_root(server: Server) -> None:
    user = runner()
    assert server.folder.stat().st_uid == (os.geteuid() if user is None else user.uid) != 0
    assert server.folder.stat().st_mode & 0o077 == 0


def test_a_restart_finds_what_was_committed(server: Server) -> None:
    before = server.pid, server.dsn
    execute(server.dsn, "CREATE TABLE kept AS SELECT 1 AS one")
    server.restart("immediate")
    assert ask(server.dsn, "SELECT one FROM kept") == 1
    assert server.pid != before[0]
    assert server.dsn == before[1]
    assert is_gone(before[0])


def test_it_may_be_stopped_and_started(server: Server) -> None:
    server.stop()
    server.stop()
    assert not takes_connections(server.host, server.port)
    server.start()
    server.start()
    assert ask(server.dsn, "SELECT 1") == 1


def test_a_server_that_died_may_be_restarted(server: Server) -> None:
    os.kill(server.pid, signal.SIGQUIT)
    server.restart("immediate")
    assert ask(server.dsn, "SELECT 1") == 1


def test_two_run_side_by_side(server: Server) -> None:
    with launched() as other:
        assert other.port != server.port
        assert other.folder != server.folder
        execute(other.dsn, "CREATE TABLE only_here ()")
        assert ask(server.dsn, "SELECT to_regclass('only_here')") is None


def test_nothing_is_left_of_it() -> None:
    with launched() as server:
        assert server.folder.exists()
    assert is_gone(server.pid, within=0.1)
    assert not server.folder.exists()
    assert not takes_connections(server.host, server.port)
    with pytest.raises(PostgresUnavailable, match="is gone"):
        server.start()


def test_a_stopped_one_leaves_nothing_either() -> None:
    with launched() as server:
        server.stop("immediate")
    assert not server.folder.exists()


def test_a_port_that_is_taken_is_not_insisted_on() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with launched(port=taken) as server:
            assert server.port != taken
            assert ask(server.dsn, "SELECT 1") == 1


def test_durable_means_as_in_production(server: Server) -> None:
    assert ask(server.dsn, "SHOW fsync") == "off"
    with launched(durable=True) as durable:
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            assert ask(durable.dsn, f"SHOW {name}") == "on"


def test_a_mistaken_setting_is_told() -> None:
    with pytest.raises(PostgresUnavailable, match="no_such_setting"), launched(settings={"no_such_setting": "1"}):
        pass


def test_the_newest_version_is_taken_unless_another_is_named() -> None:
    newest = find_binaries()
    assert newest is not None
    for which in (14, 15, 16, 17, 18):
        found = find_binaries(which)
        assert found is not None
        assert found.major == which or found == newest


def test_without_programs_it_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_binaries, "WHEEL", "no_such_wheel")
    monkeypatch.setattr(_binaries, "SYSTEM", Path("no such folder"))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PostgresUnavailable, match="no programs"), launched():
        pass


@pytest.mark.skipif(runner() is None, reason="only root runs the server as somebody else")
def test_programs_out_of_the_user_s_reach_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_binaries()
    assert found is not None
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    for part in found.parts:
        shutil.copytree(found.base / part, hidden / part, symlinks=True)
    binaries = replace(found, folder=hidden / found.folder.relative_to(found.base), base=hidden)

    def find_hidden(which: int | None) -> Binaries:
        assert which is None
        return binaries

    monkeypatch.setattr(_launcher, "find_binaries", find_hidden)
    with launched() as server:
        assert ask(server.dsn, "SELECT 1") == 1
    assert hidden.stat().st_mode & 0o077 == 0


@pytest.mark.anyio
@pytest.mark.real_time
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_it_ends_with_its_parent(how: signal.Signals) -> None:
    async with run_script(SCRIPT, environment={"PYTHONPATH": str(ROOT)}) as child:
        pid, folder = (await child.line(within=60)).split(maxsplit=1)
        os.kill(int(pid), 0)
        child.send_signal(how)
        assert await child.ended() != 0
    assert is_gone(int(pid))
    assert is_removed(Path(folder))
