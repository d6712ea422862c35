"""How an execution comes to be, from a client or from its parent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from stepwell._model import NEVER, NOW, Change, Entry, Kind, Moment, Row, Status

if TYPE_CHECKING:
    from stepwell._definition import Workflow

__all__ = ["begin", "child_id"]

_ID_BYTES: Final = 255


def begin(
    workflow: Workflow[Any, Any],
    *,
    id: str,
    input: str,
    change_id: str,
    parent: str | None = None,
    tags: Sequence[str] = (),
    metadata: Mapping[str, Any] | None = None,
    due: Moment = NOW,
) -> Change:
    """Return the Change that creates an execution, queued at the workflow's start."""
    start = workflow.start.name
    row = Row(
        id=id,
        workflow=workflow.name,
        version=workflow.version,
        status=Status.QUEUED,
        step=start,
        visit=1,
        attempt=0,
        revision=1,
        parent=parent,
        tags=tuple(tags),
        metadata=dict(metadata or {}),
        input=input,
    )
    created = Entry(Kind.CREATED, step=start, visit=1, ref=parent)
    timer = NEVER if due == NOW else due
    return Change(id=change_id, row=row, expects=0, entries=(created,), due=due, timer=timer)


def child_id(parent: str, step: str, visit: int) -> str:
    """Return the one id that the child of this visit has, whoever creates it.

    `<parent>/<step>`, with `:<visit>` from the second visit on; where that would be longer than 255 bytes, its end is
    replaced by a digest of the whole. Ids that callers choose hold no `/`, so the two can't meet.
    """
    whole = f"{parent}/{step}" if visit == 1 else f"{parent}/{step}:{visit}"
    encoded = whole.encode()
    if len(encoded) <= _ID_BYTES:
        return whole
    digest = sha256(encoded).hexdigest()[:32]
    kept = encoded[: _ID_BYTES - len(digest) - 2].decode(errors="ignore")
    return f"{kept}/~{digest}"
