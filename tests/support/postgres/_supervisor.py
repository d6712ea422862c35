"""Runs a Postgres server for a parent that may die at any moment. A script of its own, on the standard library alone.

Its standard input is a pipe that only the parent can write to: when that ends, for whatever reason, the server is
stopped and its folder removed. So not even a parent killed with SIGKILL leaves anything behind.

It reads one JSON object per line, the first of them the configuration, and answers each with one.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Final, NoReturn

STOP_SIGNALS: Final = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
ENVIRONMENT: Final = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
"""All that the server sees: nobody's PGPORT or PGDATA may lead it astray."""

PORTS: Final = range(20_000, 32_000)
"""Below the ports that systems give to clients, so that nobody gets this one while the server is restarted, and a
client that tries to connect meanwhile can't meet itself."""

PORTS_TRIED: Final = 20
LIMIT: Final = 30.0
"""Seconds that a start or a stop may take."""
LONGEST_SOCKET: Final = 90
"""The path of a unix socket has at most 103 bytes on some systems, and its name takes up to 15."""


class Refused(Exception):
    """Raised when the server can't do what it was told to."""


class Cluster:
    """A database cluster in a folder, and the server that runs on it."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._log = folder / "log"
        self._binaries = Path(config["binaries"])
        self._config = config
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._uid: int | None = None
        self._gid: int | None = None
        if config["user"] is not None:
            self._uid, self._gid = config["user"]
        self._give(folder)

    def make(self) -> None:
        """Make the cluster, or a standby out of the files of another one, which must not run."""
        if self._config["standby_of"] is not None:
            self._copy(Path(self._config["standby_of"]))
            return
        secret = self._folder / "password"
        secret.write_text(self._config["password"])
        secret.chmod(0o600)
        self._give(secret)
        command = [self._program("initdb"), "-D", str(self._data), "-U", "postgres", "-E", "UTF8", "--no-locale"]
        command += ["-A", "scram-sha-256", "--pwfile", str(secret), "--no-instructions"]
        if self._config["major"] >= 16:
            command += ["-c", "scram_iterations=1"]  # the password is random: there is nothing to stretch
        if not self._config["durable"]:
            command.append("--no-sync")
        ended = self._run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        _, complaints = ended.communicate()
        secret.unlink()
        if ended.returncode:
            msg = f"initdb failed: {complaints.decode(errors='replace')}"
            raise Refused(msg)

    def _copy(self, data: Path) -> None:
        shutil.copytree(data, self._data)
        (self._data / "standby.signal").touch()
        for path in (self._data, *self._data.rglob("*")):
            self._give(path)

    def start(self) -> None:
        """Start the server: at first on any free port, later on the same."""
        if self._process is not None and self._process.poll() is None:
            return
        fixed, deadline = self._port, time.monotonic() + LIMIT
        port = fixed or self._config["port"] or _free_port()
        for _ in range(PORTS_TRIED):
            if self._comes_up(port):
                self._port = port
                return
            if not fixed:
                port = _free_port()
            elif time.monotonic() < deadline:
                time.sleep(0.1)
        msg = f"no port to listen on; the last one tried was {port}"
        raise Refused(msg)

    def _comes_up(self, port: int) -> bool:
        """Tell whether the server came up; False if somebody else has the port."""
        with self._log.open("wb") as log:
            command = [self._program("postgres"), "-D", str(self._data), *self._settings(port)]
            self._process = process = self._run(command, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + LIMIT
        while process.poll() is None:
            if self._is_ready(process.pid):
                return True
            if time.monotonic() > deadline:
                self.stop("immediate")
                break
            time.sleep(0.005)
        said = self._log.read_text(errors="replace")
        if "could not create any TCP/IP sockets" in said:
            return False
        msg = f"postgres did not start: {said[-2000:]}"
        raise Refused(msg)

    def _settings(self, port: int) -> list[str]:
        is_short = len(os.fsencode(self._folder)) <= LONGEST_SOCKET
        settings = {
            "port": str(port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self._folder) if is_short else "",
            **self._config["settings"],
        }
        return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    def _is_ready(self, pid: int) -> bool:
        """Look where pg_ctl looks, but more often: into the file in which the server says how it is."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() in {"ready", "standby"}

    def stop(self, mode: str) -> None:
        """Stop the server, if it runs."""
        if self._process is None:
            return
        self._process.send_signal(STOP_SIGNALS[mode])  # none is sent to a process that was seen to have ended
        try:
            self._process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            if mode != "immediate":
                msg = f"postgres did not stop within {LIMIT} s"
                raise Refused(msg) from None
            self._process.kill()
            self._process.wait()

    def state(self) -> dict[str, Any]:
        """Return what the parent wants to know."""
        pid = self._process.pid if self._process else 0
        return {"port": self._port, "pid": pid, "folder": str(self._folder)}

    def _give(self, path: Path) -> None:
        """Make the one who runs the server own it."""
        if self._uid is not None and self._gid is not None:
            os.chown(path, self._uid, self._gid)

    def _run(self, command: list[str], *, stdout: IO[bytes] | int, stderr: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=self._folder,
            env=ENVIRONMENT,
            user=self._uid,
            group=self._gid,
            extra_groups=None if self._uid is None else [],
        )

    def _program(self, name: str) -> str:
        return str(self._binaries / name)


def _folder(folders: ExitStack, base: str) -> Path:
    """Make a temporary folder."""
    folder = tempfile.TemporaryDirectory(prefix="stepwell-postgres-", dir=base, ignore_cleanup_errors=True)
    return Path(folders.enter_context(folder))


def _copied(binaries: str, base: str, parts: list[str], folder: Path) -> Path:
    """Copy programs that the user who runs the server can't reach where they are."""
    folder.chmod(0o755)
    for part in parts:
        shutil.copytree(Path(base, part), folder / part, symlinks=True)
    return folder / Path(binaries).relative_to(base)


def _free_port() -> int:
    """Return a port that was free a moment ago."""
    ports = random.sample(PORTS, 100)
    for port in ports:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    return ports[0]


def _serve(cluster: Cluster) -> None:
    """Do what the parent asks for, until it is gone."""
    _answer(cluster.state())
    for line in sys.stdin:
        command = json.loads(line)
        try:
            if command["do"] == "stop":
                cluster.stop(command["mode"])
            else:
                cluster.start()
        except Refused as error:
            _answer({"error": str(error)})
        else:
            _answer(cluster.state())


def _answer(values: dict[str, Any]) -> None:
    print(json.dumps(values), flush=True)  # noqa: T201 (the parent reads it)


def _leave(*_: object) -> NoReturn:
    sys.exit(1)


def main() -> None:
    """Run a server for the parent."""
    signal.signal(signal.SIGTERM, _leave)  # so that what must be cleaned up is
    config = json.loads(sys.stdin.readline() or "null")
    if config is None:
        return
    with ExitStack() as folders:
        if config["copy"] is not None:
            base, parts, place = config["copy"]
            config["binaries"] = _copied(config["binaries"], base, parts, _folder(folders, place))
        cluster = Cluster(_folder(folders, config["base"]), config)
        try:
            cluster.make()
            cluster.start()
            _serve(cluster)
        except (Refused, OSError) as error:
            _answer({"error": str(error)})
        finally:
            cluster.stop("immediate")


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:  # the parent went before it had its answer
        os._exit(1)
