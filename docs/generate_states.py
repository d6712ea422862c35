"""Writes `states.md` from the one table of statuses: `python docs/generate_states.py`. A test keeps it current."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from stepwell._model import LEGAL, TERMINAL, Status

__all__ = ["page"]

WHY: Final[dict[tuple[Status, Status], str]] = {
    (Status.QUEUED, Status.RUNNING): "claimed",
    (Status.WAITING, Status.RUNNING): "claimed when due",
    (Status.SUSPENDED, Status.RUNNING): "claimed to look",
    (Status.RUNNING, Status.RUNNING): "next step, or claimed after a crash",
    (Status.RUNNING, Status.QUEUED): "handed back",
    (Status.RUNNING, Status.WAITING): "retry, or back-off after a crash",
    (Status.RUNNING, Status.SUSPENDED): "at a wait or subworkflow",
    (Status.SUSPENDED, Status.QUEUED): "signal",
    (Status.SUSPENDED, Status.SUSPENDED): "signal, at the next wait",
    (Status.SUSPENDED, Status.FAILED): "signal, then too many visits",
    (Status.PAUSED, Status.QUEUED): "resumed",
    (Status.PAUSED, Status.WAITING): "resumed",
    (Status.PAUSED, Status.SUSPENDED): "resumed",
    (Status.FAILED, Status.QUEUED): "resumed",
    (Status.FAILED, Status.SUSPENDED): "resumed at a wait",
}
HEAD: Final = """# States

Where an execution may stand, and what may follow. This page is generated from the table that the library itself checks
before every commit (`LEGAL` in `stepwell._model`), by `python docs/generate_states.py`; a test drives small workflows
through every event and sees to it that each arrow happens and that nothing else does.
"""
TAIL: Final = """\
- `running` means that a worker holds the lease. A worker that dies leaves it so until the lease ends; then the next
  claim follows `running` with `running`, and the attempt counts as lost.
- `suspended` waits for a signal, a timeout or a child. A worker claims it only to look whether the wait is over; that
  is no attempt. A client whose signal fits the open wait moves it on by itself.
- `paused` goes back to where it was. A running step is not stopped by a pause: its outcome's commit leads there.
- `succeeded` and `cancelled` are final. `failed` is left only by an explicit resume, and not after a `fail` step.
"""


def page() -> str:
    """Return the whole page."""
    lines = ["stateDiagram-v2", f"    [*] --> {Status.QUEUED}"]
    for before, followers in LEGAL.items():
        for after in Status:
            if after in followers:
                why = WHY.get((before, after), "")
                lines.append(f"    {before} --> {after}{why and f': {why}'}")
    lines += [f"    {status} --> [*]" for status in Status if status in TERMINAL]
    diagram = "\n".join(lines)
    return f"{HEAD}\n```mermaid\n{diagram}\n```\n\n{TAIL}"


if __name__ == "__main__":
    Path(__file__).with_name("states.md").write_text(page(), encoding="utf-8")
