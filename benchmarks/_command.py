"""The command: what is asked for, one benchmark after the other, and the report."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, Final

from benchmarks._all import BENCHMARKS
from benchmarks._machine import NoRealDisk, describe, real_disk
from benchmarks._plan import Benchmark, Scale
from benchmarks._postgres import NoPostgres, served
from benchmarks._report import as_json, table
from benchmarks._rounds import ProgramFailed, run_rounds

__all__ = ["main"]

_FULL: Final = Scale(executions=10_000, rounds=5)
_QUICK: Final = Scale(executions=200, rounds=1, hold=2.0)


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
        report = _run(asked.names, _scale(asked))
    except (NoRealDisk, NoPostgres, ProgramFailed) as error:
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
    parser.add_argument(
        "--hold",
        type=_positive,
        metavar="S",
        help=f"seconds for which a transaction is held ({_FULL.hold:g}; postgres-bloat)",
    )
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
        hold=asked.hold or default.hold,
    )


def _run(asked: Sequence[str], scale: Scale) -> dict[str, Any]:
    disk = real_disk()
    tempfile.tempdir = str(disk.folder)  # a server of our own lies there, too
    names = list(dict.fromkeys(asked)) or [name for name, one in BENCHMARKS.items() if one.is_default]
    report: dict[str, Any] = {**describe(disk), "executions": scale.executions, "rounds": scale.rounds}
    with ExitStack() as stack:
        if any(BENCHMARKS[name].on_postgres for name in names):
            try:
                report["postgres"] = stack.enter_context(served())
            except NoPostgres as error:
                if asked:
                    raise
                _tell(f"no benchmark runs on Postgres: {error}")
                names = [name for name in names if not BENCHMARKS[name].on_postgres]
            else:
                _tell(f"Postgres: {json.dumps(report['postgres'])}")
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="stepwell-benchmarks-", dir=disk.folder)))
        report["benchmarks"] = {name: _measured(BENCHMARKS[name], scale, folder) for name in names}
    return report


def _measured(benchmark: Benchmark, scale: Scale, folder: Path) -> dict[str, Any]:
    samples = run_rounds(benchmark, scale, folder, told=_tell)
    title = f"{benchmark.name}: {benchmark.title}"
    _tell(f"{table(title, benchmark.figures(samples))}\n{benchmark.notes(samples)}")
    return as_json(benchmark, samples)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _leave(number: int, _: FrameType | None) -> None:
    """Leave as Ctrl-C does, so that the temporary files are removed."""
    raise SystemExit(128 + number)
