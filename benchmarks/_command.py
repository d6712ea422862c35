"""The command: what is asked for, one benchmark after the other, and the report."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, Final

from benchmarks._all import BENCHMARKS
from benchmarks._machine import NoRealDisk, describe, real_disk
from benchmarks._plan import Scale
from benchmarks._report import as_json, table
from benchmarks._rounds import ProgramFailed, run_rounds

__all__ = ["main"]

_FULL: Final = Scale(executions=10_000, rounds=5)
_QUICK: Final = Scale(executions=200, rounds=1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks that are named, or all; return the exit code.

    The report goes to standard output, or to a file, as JSON; a table, and what is running, go to standard error.
    """
    parser = _parser()
    asked = parser.parse_args(arguments)
    unknown = [name for name in asked.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    signal.signal(signal.SIGTERM, _leave)
    if asked.quick:
        _tell("--quick only shows that everything works: its figures mean nothing")
    try:
        report = _run(asked.names or list(BENCHMARKS), _scale(asked))
    except (NoRealDisk, ProgramFailed) as error:
        _tell(f"benchmarks: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    text = json.dumps(report, indent=2)
    if asked.json is None:
        print(text)
    else:
        asked.json.write_text(f"{text}\n", encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure Stepwell on this machine.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones (all): {', '.join(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true", help="only see that everything works; the figures mean nothing")
    parser.add_argument("--rounds", type=_positive, metavar="N", help=f"rounds of each program ({_FULL.rounds})")
    parser.add_argument("--executions", type=_positive, metavar="N", help=f"for each figure ({_FULL.executions})")
    parser.add_argument("--profile", action="store_true", help="tell where the processor time goes (cpu)")
    parser.add_argument("--json", type=_writable, metavar="FILE", help="write the report there, not to standard output")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number above 0")
    return int(text)


def _writable(text: str) -> Path:
    """Return the path of a file that can be written, which is better known before a long run than after it."""
    path = Path(text)
    try:
        path.open("a", encoding="utf-8").close()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"can't be written: {error.strerror}") from error
    return path


def _scale(asked: argparse.Namespace) -> Scale:
    default = _QUICK if asked.quick else _FULL
    return Scale(
        executions=asked.executions or default.executions,
        rounds=asked.rounds or default.rounds,
        is_profiled=asked.profile,
    )


def _run(names: Sequence[str], scale: Scale) -> dict[str, Any]:
    disk = real_disk()
    report: dict[str, Any] = {
        **describe(disk),
        "executions": scale.executions,
        "rounds": scale.rounds,
        "benchmarks": {},
    }
    with TemporaryDirectory(prefix="stepwell-benchmarks-", dir=disk.folder) as folder:
        for name in dict.fromkeys(names):
            benchmark = BENCHMARKS[name]
            samples = run_rounds(benchmark, scale, Path(folder), told=_tell)
            report["benchmarks"][name] = as_json(benchmark, samples)
            _tell(f"{table(f'{name}: {benchmark.title}', benchmark.figures(samples))}\n{benchmark.notes(samples)}")
    return report


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _leave(number: int, _: FrameType | None) -> None:
    """Leave as Ctrl-C does, so that the temporary files are removed."""
    raise SystemExit(128 + number)
