"""Where the processor time goes: by function, and by module.

Two ways to look, since each lies about something. cProfile counts every call, and slows down small functions most. A
sampler interrupts the process every few milliseconds of its processor time, and notes which function runs: its shares
are undistorted, but it counts no calls, and what C code takes goes to the Python function that called it.
"""

from __future__ import annotations

import cProfile
import pstats
import signal
import sysconfig
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final, Literal, cast

__all__ = ["LOOKS", "Look", "calls_table", "counting_calls", "sampling", "shares_table"]

Look = Literal["calls", "samples"]
LOOKS: Final[tuple[Look, ...]] = ("calls", "samples")

_INTERVAL: Final = 0.001
"""seconds of processor time between two samples; a kernel that ticks more slowly takes fewer"""
_TOP: Final = 30
_ROOT: Final = Path(__file__).resolve().parent.parent
_FOLDERS: Final = (*(Path(sysconfig.get_path(name)) for name in ("purelib", "stdlib")), _ROOT / "src", _ROOT)

Counts = dict[str, float]
"""Samples by function, or calls, or seconds."""


@contextmanager
def sampling(counts: Counts) -> Generator[None]:
    """Count into *counts*, for as long as the block runs, which function the main thread is in. Main thread only."""
    codes: Counter[CodeType] = Counter()

    def sample(_: int, frame: FrameType | None) -> None:
        if frame is not None:
            codes[frame.f_code] += 1

    before = signal.signal(signal.SIGPROF, sample)
    signal.setitimer(signal.ITIMER_PROF, _INTERVAL, _INTERVAL)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    for code, amount in codes.items():
        name = _name(code.co_filename, code.co_firstlineno, code.co_qualname)
        counts[name] = counts.get(name, 0) + amount


@contextmanager
def counting_calls(calls: Counts, seconds: Counts) -> Generator[None]:
    """Count the calls of this thread's functions, and the seconds of their own, for as long as the block runs."""
    profile = cProfile.Profile()
    profile.enable()
    try:
        yield
    finally:
        profile.disable()
    entries = cast("Mapping[tuple[str, int, str], tuple[Any, ...]]", pstats.Stats(profile).stats)  # type: ignore[attr-defined]
    for (file, line, function), (_, amount, own, *_) in entries.items():
        name = _name(file, line, function)
        calls[name] = calls.get(name, 0) + amount
        seconds[name] = seconds.get(name, 0) + own


def _name(file: str, line: int, function: str) -> str:
    return f"{_module(file)}:{line} {function}"


def _module(file: str) -> str:
    """Return the dotted name of a source file, from the folder in which imports find it."""
    if not file.endswith(".py"):
        return "C" if file == "~" else file.replace(":", " ")
    path = Path(file)
    for folder in _FOLDERS:
        if path.is_relative_to(folder):
            path = path.relative_to(folder)
            break
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def shares_table(rounds: Sequence[Mapping[str, float]]) -> dict[str, list[dict[str, Any]]]:
    """Return what share of all samples each module has, and the functions that have most."""
    functions: Counter[str] = Counter()
    for counts in rounds:
        functions.update(cast("Mapping[str, int]", counts))
    modules: Counter[str] = Counter()
    for name, amount in functions.items():
        modules[name.partition(":")[0]] += amount
    whole = max(functions.total(), 1)

    def shares(of: Counter[str], what: str) -> list[dict[str, Any]]:
        return [{what: name, "share": amount / whole} for name, amount in of.most_common(_TOP)]

    return {"modules": shares(modules, "module"), "functions": shares(functions, "function")}


def calls_table(
    calls: Sequence[Mapping[str, float]], seconds: Sequence[Mapping[str, float]], *, steps: int
) -> list[dict[str, Any]]:
    """Return the functions that take most by themselves: calls and µs for each step that ended, under cProfile."""
    own: Counter[str] = Counter()
    amounts: Counter[str] = Counter()
    for of_round in seconds:
        own.update(cast("Mapping[str, int]", of_round))
    for of_round in calls:
        amounts.update(cast("Mapping[str, int]", of_round))
    return [
        {"function": name, "calls_per_step": amounts[name] / steps, "own_us_per_step": value * 1e6 / steps}
        for name, value in own.most_common(_TOP)
    ]
