"""How an execution comes to be, from a client or from its parent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from stepwell._model import NEVER, NOW, Change, Entry, Kind, Moment, Row, Status

if TYPE_CHECKING:
    from stepwell._definition import Workflow

__all__ = ["Claimant", "begin", "child_id"]

_ID_BYTES: Final = 255


class Claimant(Struct, frozen=True, gc=False):
    """A worker that leases an execution in the commit which creates it, for so many seconds."""

    worker: str
    lease: float


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
    claimant: Claimant | None = None,
) -> Change:
    """Return the Change that creates an execution, queued at the workflow's start.

    With a *claimant* it is due at once, and claimed in the same commit; the journal is that of a claim which follows.
    """
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
    if claimant is not None:
        return _claimed(change_id, row, created, claimant)
    timer = NEVER if due == NOW else due
    return Change(id=change_id, row=row, expects=0, entries=(created,), due=due, timer=timer)


def _claimed(change_id: str, queued: Row, created: Entry, claimant: Claimant) -> Change:
    row = replace(queued, status=Status.RUNNING, attempt=1, revision=2, token=1, worker=claimant.worker)
    claim = Entry(Kind.CLAIMED, row.step, row.visit, row.attempt, row.worker, row.token, ref=queued.status.value)
    due = Moment(after=claimant.lease)
    return Change(id=change_id, row=row, expects=0, entries=(created, claim), due=due, timer=NEVER)


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
