"""Where the figures come from: the machine, the versions, and a disk that is one."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

__all__ = ["Disk", "NoRealDisk", "describe", "disk_of", "is_in_memory", "real_disk"]

_IN_MEMORY: Final = frozenset({"tmpfs", "ramfs", "devtmpfs"})
_MOUNTS: Final = Path("/proc/self/mountinfo")
_PACKAGES: Final = ("stepwell", "anyio", "trio", "msgspec", "sqlite-anyio", "asyncpg", "dbos")


class NoRealDisk(Exception):
    """Raised when every folder for temporary files lies in memory: a commit there says nothing of one on a disk."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A folder for temporary files, and the type of the file system that it lies on ("unknown" where none tells)."""

    folder: Path
    file_system: str


def real_disk(candidates: Iterable[Path] | None = None) -> Disk:
    """Return the first folder that doesn't lie in memory: where temporary files go, then /var/tmp, then the checkout.

    Raises NoRealDisk.
    """
    if candidates is None:
        candidates = (Path(tempfile.gettempdir()), Path("/var/tmp"), Path(__file__).resolve().parent)  # noqa: S108
    tried: list[str] = []
    for folder in candidates:
        if not os.access(folder, os.W_OK):
            continue
        disk = disk_of(folder)
        if not is_in_memory(disk):
            return disk
        tried.append(str(folder))
    raise NoRealDisk(f"{', '.join(tried)} lie in memory; set TMPDIR to a folder on a disk")


def is_in_memory(disk: Disk) -> bool:
    """Tell whether a commit there waits for nothing."""
    return disk.file_system in _IN_MEMORY


def disk_of(folder: Path, mounts: Path = _MOUNTS) -> Disk:
    """Tell the file system of a folder: that of the longest mount point which it lies under."""
    folder = folder.resolve()
    best, file_system = -1, "unknown"
    if mounts.exists():
        for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
            ahead, _, behind = line.partition(" - ")
            point = Path(_unescaped(ahead.split()[4]))
            if len(point.parts) >= best and folder.is_relative_to(point):  # a later mount hides an earlier one
                best, file_system = len(point.parts), behind.split()[0]
    return Disk(folder, file_system)


def _unescaped(path: str) -> str:
    """Undo what the kernel does to spaces, tabs, newlines and backslashes in a path."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), path)


def describe(disk: Disk) -> dict[str, Any]:
    """Return what a reader needs to know to judge the figures."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": _revision(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": {**{name: _version(name) for name in _PACKAGES}, "sqlite": sqlite3.sqlite_version},
        "machine": {
            "system": f"{platform.system()} {platform.release()}",
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "load": round(os.getloadavg()[0], 2),
            "file_system": disk.file_system,
        },
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.exists() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _revision() -> str | None:
    """Return the checkout's commit, with a + if files differ from it; None outside of a checkout."""
    git = shutil.which("git")
    if git is None:
        return None
    answers: list[str] = []
    for arguments in (["rev-parse", "--short", "HEAD"], ["status", "--porcelain", "--untracked-files=no"]):
        answer = subprocess.run(  # noqa: S603 (git, by its full path)
            [git, *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=30, check=False
        )
        if answer.returncode:
            return None
        answers.append(answer.stdout.strip())
    return answers[0] + ("+" if answers[1] else "")
