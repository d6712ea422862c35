"""What is written at an edge, and which edges look as if something went wrong: the same in every format."""

from __future__ import annotations

from stepwell._graph import StepKind

__all__ = ["NEXT", "worded"]

NEXT = "next"
"""the label of the edge that an activity takes when it has succeeded: nothing is written at it"""


def worded(kind: StepKind, label: str) -> tuple[str, bool]:
    """Return the text at an edge that leaves a step of this kind; and whether something went wrong or took too long."""
    match kind:
        case StepKind.ACTIVITY:
            return ("", False) if label == NEXT else (label.replace("catch:", "catch ", 1), True)
        case StepKind.WAIT:
            return label, label == "timeout"
        case StepKind.SUBWORKFLOW:
            return label, label != "succeeded"
        case _:
            return label, False
