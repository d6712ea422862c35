"""Runs a Postgres until it is killed, and says which."""

from __future__ import annotations

import signal

from tests.support.postgres import launched


def main() -> None:
    with launched() as server:
        print(server.pid, server.folder)  # noqa: T201 (read by the test)
        signal.pause()


if __name__ == "__main__":
    main()
