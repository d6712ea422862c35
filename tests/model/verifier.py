"""Runs Spin on one variant of the model, and reads what it says."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from tests.model.expectations import MODEL

if TYPE_CHECKING:
    from tests.model.expectations import Expectation

__all__ = ["LIMIT", "Outcome", "ToolMissing", "ToolRefused", "judge", "require_tools", "verify"]

LIMIT: Final = 60.0
"""seconds that each program may take"""
_PROGRAMS: Final = {"spin": "spin", "gcc": "gcc"}
"""programs, and the packages of Debian that bring them"""
_DEPTH: Final = 10_000
_MEGABYTES: Final = 1_000


class ToolMissing(Exception):
    """Raised when a program that the verifier needs isn't installed."""

    def __init__(self, programs: list[str]) -> None:
        packages = " ".join(_PROGRAMS[program] for program in programs)
        super().__init__(f"the model needs {' and '.join(programs)}; on Debian: apt-get install {packages}")


class ToolRefused(Exception):
    """Raised when a program failed or took too long, so that nothing is known of the variant."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one variant."""

    complaint: str | None
    """why it isn't as expected; None where it is"""
    states: int
    seconds: float
    story: tuple[str, ...] = ()
    """the counterexample, if there is one: what happens, one event a line"""


def require_tools() -> None:
    """Raise ToolMissing unless all programs are there."""
    if missing := [program for program in _PROGRAMS if shutil.which(program) is None]:
        raise ToolMissing(missing)


def verify(expected: Expectation, *, limit: float = LIMIT) -> Outcome:
    """Generate, compile and run the verifier for one variant. Raises ToolRefused."""
    begun = time.monotonic()
    with TemporaryDirectory(prefix="stepwell-model-") as folder:
        where = Path(folder)
        shutil.copy(MODEL, where)
        # Breadth first finds the shortest counterexample. Where none is expected, depth first needs less memory, and
        # statements are kept apart, for else it wouldn't be told which of them were never reached.
        apart = [] if expected.must_fail else ["-o3", "-Dd_step=atomic"]
        how = ["-O0", "-DBFS"] if expected.must_fail else ["-O1"]
        _run(["spin", "-a", *apart, *expected.defines, MODEL.name], where, limit)
        _run(["gcc", "-w", *how, "-DSAFETY", f"-DMEMLIM={_MEGABYTES}", "-o", "pan", "pan.c"], where, limit)
        said = _run(["./pan", f"-m{_DEPTH}", "-w20"], where, limit)
        complaint, states = judge(expected, said)
        story: tuple[str, ...] = ()
        if (trail := where / f"{MODEL.name}.trail").exists():
            told = _run(["spin", "-t", "-k", trail.name, *expected.defines, MODEL.name], where, limit)
            story = tuple(line.strip() for line in told.partition("\nspin:")[0].splitlines())
    return Outcome(complaint, states, time.monotonic() - begun, story)


def judge(expected: Expectation, said: str) -> tuple[str | None, int]:
    """Read what the verifier *said*: return why that isn't as expected, if so, and how many states it saw."""
    counted = re.search(r"^\s*(\d+) states, stored", said, re.MULTILINE)
    states = int(counted[1]) if counted else 0
    failed = re.search(r"^pan:\d+: (.*?)(?: \(at depth \d+\))?$", said, re.MULTILINE)
    if expected.must_fail:
        if failed is None:
            return "no counterexample was found: the model is too weak", states
        if f"assertion violated {expected.failing_assertion}" not in failed[1]:
            return f"another error came first: {failed[1]}", states
        return None, states
    if failed is not None:
        return failed[1], states
    if counted is None or "errors: 0" not in said:
        return f"the search did not end: {said.strip()[-200:]}", states
    if found := re.search(r"max search depth too small|Search not completed|out of memory", said):
        return f"the search was not complete: {found[0]}", states
    if unreached := _unreached(said):
        return f"never reached: {'; '.join(unreached)}", states
    return None, states


def _unreached(said: str) -> list[str]:
    """Return what of the model's text was never run; that a process ends is not asked for."""
    lines = re.findall(r"^\t\S*:(\d+), state \d+, \"(.*)\"$", said, re.MULTILINE)
    return [f"line {number}: {text}" for number, text in lines if text != "-end-"]


def _run(command: list[str], where: Path, limit: float) -> str:
    try:
        done = subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        raise ToolRefused(f"{command[0]} took longer than {limit:g} s") from None
    said = done.stdout + done.stderr
    if done.returncode != 0 and command[0] != "./pan":  # which tells by its exit code that it found something
        raise ToolRefused(f"{' '.join(command)}: exit code {done.returncode}\n{said.strip()}")
    return said
