"""Servers that are no Postgres, on a loopback port."""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from threading import Thread

__all__ = ["answering", "closed_port", "silent"]


@contextmanager
def silent() -> Generator[int]:
    """Give the port of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@contextmanager
def answering(*replies: bytes) -> Generator[int]:
    """Give the port of a server that says these, one each time that it hears something, and then hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = Thread(target=_answer_all, args=(server, replies), daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def _answer_all(server: socket.socket, replies: tuple[bytes, ...]) -> None:
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        with client, suppress(OSError):
            client.settimeout(5)
            for reply in replies:
                if not client.recv(10_000):
                    break
                client.sendall(reply)


def closed_port() -> int:
    """Return a port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
