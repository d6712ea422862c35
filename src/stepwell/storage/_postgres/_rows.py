"""Rows of the tables as values of the model. Payloads stay the text that they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from stepwell._failure import describe
from stepwell._model import Entry, Kind, Row, Signal, Status, Stored
from stepwell.storage._unreadable import UNREADABLE, Unreadable, unreadable, why

__all__ = ["entry", "json", "row", "stored"]

_STATUS: Final = {status.value: status for status in Status}
_KIND: Final = {kind.value: kind for kind in Kind}
_TAGS: Final = msgspec.json.Decoder(tuple[str, ...])
_METADATA: Final = msgspec.json.Decoder(dict[str, Any])
_ENTRIES: Final = msgspec.json.Decoder(tuple[Entry, ...])
_SIGNALS: Final = msgspec.json.Decoder(tuple[Signal, ...])
_ENCODER: Final = msgspec.json.Encoder()


def json(value: object) -> str:
    """Return *value* as JSON text."""
    return _ENCODER.encode(value).decode()


def row(record: Mapping[str, Any]) -> Row:
    """Return the row of an execution. Raises Unreadable where it can't be read."""
    try:
        return _row(record, record["status"], record["tags"], record["metadata"])
    except UNREADABLE as error:
        raise unreadable(record["id"], why(error)) from error


def _row(record: Mapping[str, Any], status: str, tags: str = "[]", metadata: str = "{}") -> Row:
    return Row(
        id=record["id"],
        workflow=record["workflow"],
        version=record["version"],
        status=_STATUS[status],
        step=record["step"],
        visit=record["visit"],
        attempt=record["attempt"],
        revision=record["revision"],
        token=record["token"],
        due_at=record["due_at"],
        timer_at=record["timer_at"],
        worker=record["worker"],
        pausing=record["pausing"],
        signals=record["signals"],
        parent=record["parent"],
        tags=() if tags == "[]" else _TAGS.decode(tags),
        metadata={} if metadata == "{}" else _METADATA.decode(metadata),
        output=record["output"],
        error=record["error"],
        created_at=record["created_at"],
        updated_at=record["updated_at"],
        ended_at=record["ended_at"],
        input=record["input"],
    )


def entry(record: Mapping[str, Any]) -> Entry:
    """Return an entry of the journal. Raises Unreadable where it can't be read."""
    if record["kind"] not in _KIND:
        raise Unreadable(f"entry {record['seq']} of a journal can't be read: its kind is {describe(record['kind'])}")
    return Entry(
        _KIND[record["kind"]],
        record["step"],
        record["visit"],
        record["attempt"],
        record["worker"],
        record["token"],
        record["route"],
        record["ref"],
        record["payload"],
        record["change"],
        record["seq"],
        record["at"],
    )


def stored(record: Mapping[str, Any], *more: Entry) -> Stored:
    """Return an execution with its journal, to which *more* entries belong that the record doesn't have.

    What can't be read is said to be so.
    """
    journal, signals, status = record["journal"], record["accepted"], record["status"]
    try:
        entries = () if journal is None else _ENTRIES.decode(journal)
        accepted = () if signals is None else _SIGNALS.decode(signals)
        return Stored(
            _row(record, status, record["tags"], record["metadata"]), (*entries, *more), accepted, record["now"]
        )
    except UNREADABLE as error:
        known = status if status in _STATUS else Status.FAILED.value
        return Stored(_row(record, known), (), (), record["now"], unreadable=why(error))
