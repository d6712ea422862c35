"""How the demo's executions ended, told in a few lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepwell import ExecutionCancelled, ExecutionFailed
from stepwell.cli._database import Database, options_of
from stepwell.cli._demo_import import Report
from stepwell.cli._demo_payment import Payment
from stepwell.cli._demo_refund import Receipt
from stepwell.cli._demo_shop import money
from stepwell.cli._text import command, failure_text, one_line

if TYPE_CHECKING:
    from stepwell.cli._demo_run import Member, Run

__all__ = ["End", "end_of", "ends_told"]


@dataclass(frozen=True, slots=True)
class End:
    """How one of them ended."""

    member: Member
    lines: tuple[str, ...]
    is_good: bool
    """whether it ended as it is meant to, be it by a refusal"""


async def end_of(member: Member, target: Path) -> End:
    """Wait until an execution has ended, and return how."""
    try:
        output: Any = await member.handle.result()
    except ExecutionFailed as error:
        if error.failure is None:  # it ended at a `fail` step, as it was asked to
            return End(member, (f"Ended: {error.value}",), is_good=True)
        return End(member, (f"Failed at step {error.step}: {failure_text(error.failure)}",), is_good=False)
    except ExecutionCancelled as error:
        return End(member, (one_line(error),), is_good=False)
    return End(member, _told(output, target), is_good=True)


def ends_told(run: Run, ends: Sequence[End], database: Database) -> Iterator[str]:
    """Tell how all have ended, and what to type next."""
    width = max(len(end.member.handle.id) for end in ends)
    for end in ends:
        for place, line in enumerate(end.lines):
            yield f"{'' if place else end.member.handle.id:{width}}  {line}"
    options = options_of(database)
    yield ""
    yield "What to type next:"
    for member in run.members:
        yield f"  {command('stepwell', 'show', *options, member.handle.id)}"
    drawing = ["--execution", run.members[1].handle.id, "-o", "refund.svg", "stepwell.cli._demo_refund:refund"]
    yield f"  {command('stepwell', 'graph', *options, *drawing)}"
    yield f"  {command('stepwell', 'list', *options)}"
    yield f"  {command('stepwell', 'demo', *options)}      (a new run)"


def _told(output: Any, target: Path) -> tuple[str, ...]:
    match output:
        case Report():
            most = ", ".join(f"{state} {count}" for state, count in list(output.by_state.items())[:5])
            marked = f"{output.with_problems} of them marked"
            return f"Imported: {output.rows} rows, each once, {marked}", f"({most}, …)", f"in {target}"
        case Receipt():
            return f"Refunded: {money(output.amount)} to {output.customer}, once", f"under the key {output.number}"
        case Payment(reason=""):
            return (f"Paid: order {output.order}",)
        case Payment():
            why = f"card declined ({output.reason}), so step charge took its catch"
            return f"Order {output.order} is {output.state}, and the customer was told:", why
        case _:
            return ("Ended",)
