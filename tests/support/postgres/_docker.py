"""A Postgres in a container, where a Docker daemon answers."""

from __future__ import annotations

import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, cast
from urllib.parse import urlsplit

from tests.support.postgres._launcher import COMMON, NOT_DURABLE, PostgresUnavailable

__all__ = ["container", "daemon_answers"]

DEFAULT: Final = "unix:///var/run/docker.sock"
NEWEST: Final = 18
PROBE: Final = 1.0
"""Seconds in which a daemon must answer; a client alone, or a daemon that hangs, must not hold the tests up."""


def daemon_answers(host: str | None = None) -> bool:
    """Tell whether a Docker daemon answers at this address, or at the one of this environment."""
    address = urlsplit(host or os.environ.get("DOCKER_HOST") or DEFAULT)
    try:
        with _connected(address.scheme, address.path, address.hostname or "", address.port) as connection:
            if address.scheme == "tcp" and os.environ.get("DOCKER_TLS_VERIFY"):
                return True  # somebody listens; to ask in TLS is left to the client
            connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            return b" 200 " in connection.recv(64)
    except OSError:
        return False


@contextmanager
def _connected(scheme: str, path: str, name: str, port: int | None) -> Generator[socket.socket]:
    if scheme == "tcp":
        with socket.create_connection((name, port or 2375), timeout=PROBE) as connection:
            yield connection
    elif scheme == "unix":
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PROBE)
            connection.connect(path)
            yield connection
    else:  # ssh, say: it may ask for a password
        msg = f"not tried: {scheme}"
        raise OSError(msg)


@contextmanager
def container(which: int | None = None) -> Generator[str]:
    """Run a container for the length of the block, and give the URL of its database.

    Raises:
        PostgresUnavailable: No daemon answers, or it can't run the image.
    """
    if not daemon_answers():
        msg = "no Docker daemon answers"
        raise PostgresUnavailable(msg)
    try:
        from testcontainers.community.postgres import PostgresContainer  # noqa: PLC0415 (slow, and seldom needed)
    except ImportError as error:
        msg = "testcontainers is not installed"
        raise PostgresUnavailable(msg) from error
    settings = " ".join(f"-c {name}={value}" for name, value in {**COMMON, **NOT_DURABLE}.items())
    postgres = PostgresContainer(f"postgres:{which or NEWEST}-alpine", driver=None).with_command(f"postgres {settings}")
    ports = cast("dict[str, object]", postgres.ports)
    ports["5432"] = ("127.0.0.1", None)  # a free port, on loopback alone: left to itself it would listen everywhere
    try:
        postgres.start()
    except Exception as error:  # whatever goes wrong in a daemon: there are other places to look
        postgres.stop()
        msg = f"Docker can't run it: {error}"
        raise PostgresUnavailable(msg) from error
    try:
        yield postgres.get_connection_url()
    finally:
        postgres.stop()
