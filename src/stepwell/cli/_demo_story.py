"""What the demo says: events of the engine in, lines for people out."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from stepwell import Event, Execution, Status
from stepwell.cli._database import options_of
from stepwell.cli._demo_workflow import Finding, Report, approval, check, imported, load, parse, rejected
from stepwell.cli._text import command, failure_text, length, shortened

__all__ = ["findings_told", "found_told", "report_told", "told"]

_ENDS: Final = {imported.name, rejected.name}
"""steps that take no time of their own"""
_SHOWN: Final = 3
"""findings of one kind"""


def told(event: Event) -> Iterator[str]:
    """Tell of one event of the demo's execution."""
    match event.kind:
        case "step.started" if event.step not in _ENDS:
            yield f"{event.step}: attempt {event.attempt}"
            if event.step == load.name:
                yield from _invitation()
        case "step.succeeded":
            yield f"{event.step}: done  {_in_short(event.value)}"
        case "step.retry":
            failure = "" if event.failure is None else failure_text(event.failure)
            delay = "" if event.reference is None else f"; again in {length(float(event.reference))}"
            yield f"{event.step}: failed  {failure}{delay}"
        case "step.failed":
            yield f"{event.step}: failed  {'' if event.failure is None else failure_text(event.failure)}"
        case "execution.lease_lost":
            yield (
                f"{event.step}: the lease of the process that ran it has ended, so this one takes over "
                "(in a second, for a step that may have killed its process is handled with care)"
            )
        case "worker.error":
            yield f"worker: {event.message}"
        case _:
            return


def found_told(execution: Execution) -> Iterator[str]:
    """Tell how an unfinished execution was found."""
    now = datetime.now(UTC)
    age = length((now - execution.created_at).total_seconds())
    yield f"Found an unfinished import, begun {age} ago, and going on where it stood: {execution.id}"
    done = [name for name, step in execution.steps.items() if step.status is Status.SUCCEEDED]
    if done:
        yield f"  done already, and not run again: {', '.join(done)}"
    if execution.status is Status.RUNNING:
        left = 0.0 if execution.due_at is None else (execution.due_at - now).total_seconds()
        yield f"  step {execution.current_step} was running when its process was lost (or it still runs: look around)"
        yield f"  its lease ends in {length(left)} if nobody renews it; then this process takes over"


def findings_told(execution: Execution, database: Path | None, *, with_keys: bool) -> Iterator[str]:
    """Tell what is to be approved, and how, unless no *database* is given: then nobody is asked."""
    findings = msgspec.convert(execution.steps[check.name].output, list[Finding])
    rows: Any = execution.steps[parse.name].output
    yield f"{approval.name}: waits for you. {len(findings)} problems in {len(rows)} rows:"
    for kind in dict.fromkeys(finding.kind for finding in findings):
        yield from _of_one_kind(kind, [finding for finding in findings if finding.kind == kind])
    if database is None:
        return
    line = command("stepwell", "signal", *options_of(database), execution.id, approval.name, '{"approved": true}')
    yield "  Load them all the same, marked? (It may wait for days: stop this process if you like.)"
    if with_keys:
        yield "    here:                  y or n, then Enter"
    yield f"    in another terminal:   {line}"


def report_told(report: Report, target: Path) -> Iterator[str]:
    """Tell what was imported."""
    most = ", ".join(f"{state} {count}" for state, count in list(report.by_state.items())[:5])
    yield f"Imported: {report.rows} rows, each once, {report.with_problems} of them marked ({most}, …)"
    yield f"  they are in {target}"


def _of_one_kind(kind: str, findings: Sequence[Finding]) -> Iterator[str]:
    yield f"  {len(findings)} {kind}:"
    for finding in findings[:_SHOWN]:
        yield f"    {finding.code:4}  {finding.problem}"
    if len(findings) > _SHOWN:
        yield f"    …     and {len(findings) - _SHOWN} more"


def _invitation() -> Iterator[str]:
    kill = f"taskkill /F /PID {os.getpid()}" if sys.platform == "win32" else f"kill -9 {os.getpid()}"
    yield "  This step is slow on purpose. Kill this process in the middle of it, and start it again:"
    yield f"    {kill}      (in another terminal; or press Ctrl-C here)"


def _in_short(value: Any) -> str:
    if isinstance(value, list):
        count = len(msgspec.convert(value, list[Any]))
        return f"{count} of them"
    return shortened(value, 90)
