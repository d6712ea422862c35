"""Where a session's Postgres comes from, and what is said when there is none."""

from __future__ import annotations

import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from tests.support.postgres import PostgresUnavailable
from tests.support.postgres._docker import container, daemon_answers
from tests.support.postgres._provided import URL, provided
from tests.support.postgres.fixtures import unavailable


@contextmanager
def broken(which: int | None) -> Generator[str]:
    if which is None:
        msg = "no such thing"
        raise PostgresUnavailable(msg)
    yield "never"


@contextmanager
def working(which: int | None) -> Generator[str]:
    yield f"postgresql://found/{which}"


@pytest.fixture(autouse=True)
def no_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(URL, raising=False)


def test_the_one_that_is_named_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL, "postgresql://named/db")
    with provided(sources=(working,)) as url:
        assert url == "postgresql://named/db"


def test_what_does_not_work_is_passed_over() -> None:
    with provided(sources=(broken, working, broken)) as url:
        assert url == "postgresql://found/None"


def test_when_there_is_none_it_says_what_to_do() -> None:
    message = rf"{URL}=.*start Docker.*pip install .*Tried: no such thing; no such thing\.$"
    with pytest.raises(PostgresUnavailable, match=message), provided(sources=(broken, broken)):
        pass


def test_a_test_that_fails_is_not_taken_for_a_missing_server() -> None:
    with pytest.raises(PostgresUnavailable, match=r"^mine$"), provided(sources=(working, broken)):
        raise PostgresUnavailable("mine")


def test_without_a_server_tests_are_skipped_unless_all_must_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="do this"):
        unavailable(PostgresUnavailable("do this"))
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="do this"):
        unavailable(PostgresUnavailable("do this"))


@contextmanager
def daemon(path: Path, answer: bytes) -> Generator[str]:
    """Play a Docker daemon that is asked once."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            if answer:
                connection.sendall(answer)
            else:
                connection.recv(1)  # hangs until the client has gone

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = Thread(target=serve)
        thread.start()
        yield f"unix://{path}"
        thread.join(10)
        assert not thread.is_alive()


def test_a_daemon_that_answers_is_found(tmp_path: Path) -> None:
    with daemon(tmp_path / "docker", b"HTTP/1.0 200 OK\r\n\r\nOK") as address:
        assert daemon_answers(address)


def test_a_daemon_that_is_in_trouble_does_not_count(tmp_path: Path) -> None:
    with daemon(tmp_path / "docker", b"HTTP/1.0 500 Oops\r\n\r\n") as address:
        assert not daemon_answers(address)


def test_a_daemon_that_hangs_holds_nobody_up(tmp_path: Path) -> None:
    started = time.monotonic()
    with daemon(tmp_path / "docker", b"") as address:
        assert not daemon_answers(address)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("address", ["unix:///no/such/socket", "tcp://127.0.0.1:1", "ssh://host", "nonsense"])
def test_where_nobody_listens_there_is_no_daemon(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not daemon_answers(address)
    monkeypatch.setenv("DOCKER_HOST", address)
    with pytest.raises(PostgresUnavailable, match="no Docker daemon answers"), container():
        pass
