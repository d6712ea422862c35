"""Runs the programs of a benchmark, each round of each in a process of its own, and the rounds interleaved.

So a slow minute of the machine strikes all variants alike, and nothing that one leaves behind (memory, compiled code,
open files) is there for the next.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, cast

from benchmarks._plan import Benchmark, Measured, Samples, Scale, Settings

__all__ = ["ProgramFailed", "Runner", "in_a_process", "run_rounds"]

Runner = Callable[[Benchmark, Settings, Path], Measured]
"""Runs one program, in a folder of its own."""

ROOT: Final = Path(__file__).resolve().parent.parent
LIMIT: Final = 300.0
"""seconds that one program may take, beside those that it was told to take"""


class ProgramFailed(Exception):
    """Raised when a program ended with an error or didn't end in time; the message holds what it said last."""


def in_a_process(benchmark: Benchmark, settings: Settings, folder: Path) -> Measured:
    """Run one program in a process of its own. Raises ProgramFailed."""
    command = [sys.executable, "-m", "benchmarks._child", benchmark.name, json.dumps(settings), str(folder)]
    limit = LIMIT + settings.get("seconds", 0.0)
    try:
        ended = subprocess.run(  # noqa: S603 (our own program, by this interpreter)
            command, cwd=ROOT, capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        raise ProgramFailed(f"{benchmark.name} {dict(settings)} didn't end within {limit:g} s") from None
    if ended.returncode:
        raise ProgramFailed(f"{benchmark.name} {dict(settings)} failed:\n{ended.stderr[-4000:]}")
    return cast("Measured", json.loads(ended.stdout))


def run_rounds(
    benchmark: Benchmark, scale: Scale, folder: Path, *, runner: Runner = in_a_process, told: Callable[[str], None]
) -> Samples:
    """Run the rounds one after the other, every other one backwards, and return what was measured.

    No round but the first begins for which the benchmark's budget has no room. *told* hears of each program before it
    runs.
    """
    variants = list(benchmark.variants(scale))
    measured: Mapping[str, list[Measured]] = {variant.name: [] for variant in variants}
    begun = time.monotonic()
    for number in range(scale.rounds):
        spent = time.monotonic() - begun
        if number and spent + spent / number > benchmark.budget:
            told(f"{benchmark.name}: no time for more than {number} of {scale.rounds} rounds")
            break
        for variant in variants if number % 2 == 0 else reversed(variants):
            told(f"{benchmark.name}, round {number + 1} of {scale.rounds}: {variant.name}")
            with tempfile.TemporaryDirectory(dir=folder) as own:
                measured[variant.name].append(runner(benchmark, variant.settings, Path(own)))
    return Samples(scale, measured)
