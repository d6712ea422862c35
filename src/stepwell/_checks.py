"""Ids, names, tags, metadata and reasons: one check each, the same at every door.

Lengths are counted in bytes of UTF-8, because that is what a database's index holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, cast

from stepwell._failure import describe, escaped, shorten, type_name
from stepwell._limits import InvalidArgument, Limits

__all__ = [
    "InvalidArgument",
    "check_execution_id",
    "check_filter",
    "check_metadata",
    "check_name",
    "check_reason",
    "check_tags",
]

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
_ID_BYTES: Final = 255
_VALUE_BYTES: Final = 1024
_REASON_LENGTH: Final = 1024
_KEYS: Final = 64
_GIVEN: Final = 32
"""how many tags may be given for each one that is allowed: beyond, whoever repeats them does so without end"""
_INTEGERS: Final = range(-(2**63), 2**63)


def check_execution_id(value: object, *, what: str = "the execution id") -> str:
    """Return *value* if it is 1 to 255 bytes of printable text without `/` and without space at its ends.

    Ids are compared byte by byte: those that differ in case or in Unicode normal form are different.
    """
    text = _printable(value, what, _ID_BYTES)
    if "/" in text:
        raise InvalidArgument(f"{what} may not contain '/', which joins a parent's id and a step: {describe(text)}")
    return text


def check_name(value: object, what: str = "the name") -> str:
    """Return *value* if it is a name: a letter or `_`, then up to 127 letters, digits, `_`, `.` and `-`, all ASCII."""
    if type(value) is not str or _NAME.fullmatch(value) is None:
        raise InvalidArgument(
            f"{what} must be a letter or '_', then up to 127 letters, digits, '_', '.' and '-', not {describe(value)}"
        )
    return value


def check_tags(tags: object, limits: Limits) -> tuple[str, ...]:
    """Return the tags in their order, each once: texts of 1 to 255 printable bytes, at most `limits.tags` of them."""
    if type(tags) is str or not isinstance(tags, Iterable):
        raise InvalidArgument(f"tags must be a list of texts, not {describe(tags)}")
    kept: dict[str, None] = {}
    for index, tag in enumerate(cast("Iterable[object]", tags)):
        kept[_printable(tag, f"tags[{index}]", _ID_BYTES)] = None
        if len(kept) > limits.tags or index >= _GIVEN * limits.tags:
            raise InvalidArgument(f"an execution may have {limits.tags} tags; there are more, from {describe(tag)} on")
    return tuple(kept)


def check_metadata(metadata: object) -> dict[str, str | int | bool]:
    """Return the metadata as a dict: up to 64 names, each with a text of 1,024 bytes, a 64-bit integer or a bool.

    Metadata is searched, and the databases agree on these values only; anything else belongs in the input.
    """
    if not isinstance(metadata, Mapping):
        raise InvalidArgument(f"metadata must be a dict, not {describe(metadata)}")
    pairs = cast("Mapping[object, object]", metadata)
    checked: dict[str, str | int | bool] = {}
    for key, value in pairs.items():
        name = check_name(key, "a key of metadata")
        checked[name] = _metadata_value(value, f"metadata[{name!r}]")
        if len(checked) > _KEYS:
            raise InvalidArgument(f"metadata may have {_KEYS} keys; there are more: put the rest into the input")
    return checked


def check_filter(value: object, what: str) -> str | None:
    """Return a text that is searched for, or None for none; one that nothing can have is refused, not searched for."""
    if value is None:
        return None
    if type(value) is not str and not isinstance(value, StrEnum):
        raise InvalidArgument(f"{what} must be text, not {type_name(value)}: {describe(value)}")
    if not value.isprintable():
        raise InvalidArgument(f"{what} may hold printable characters only: {describe(value)}")
    return str(value)


def check_reason(value: object) -> str:
    """Return the reason as one line of at most 1,024 characters: longer text is cut, what can't be printed escaped."""
    if type(value) is not str:
        raise InvalidArgument(f"the reason must be text, not {describe(value)}")
    return shorten(escaped(value[: 2 * _REASON_LENGTH]), _REASON_LENGTH)


def _metadata_value(value: object, what: str) -> str | int | bool:
    if type(value) is str:
        if _size(value, what) > _VALUE_BYTES or "\0" in value:
            raise InvalidArgument(f"{what} must be at most {_VALUE_BYTES:,} bytes without NUL, not {_measured(value)}")
        return value
    if type(value) is bool or (type(value) is int and value in _INTEGERS):
        return value
    if type(value) is int:
        raise InvalidArgument(f"{what} must fit into 64 bits; store {describe(value)} as text")
    if type(value) is float:
        raise InvalidArgument(f"{what} may not be a float, which databases compare differently; store it as text")
    raise InvalidArgument(f"{what} must be a text, an int or a bool, not {type_name(value)}: {describe(value)}")


def _printable(value: object, what: str, most: int) -> str:
    if type(value) is not str:
        raise InvalidArgument(f"{what} must be text, not {type_name(value)}: {describe(value)}")
    if not value:
        raise InvalidArgument(f"{what} is empty")
    if len(value) > most or _size(value, what) > most:
        raise InvalidArgument(f"{what} must be at most {most} bytes of UTF-8, not {_measured(value)}")
    if not value.isprintable():
        place = next(index for index, char in enumerate(value) if not char.isprintable())
        raise InvalidArgument(f"{what} may hold printable characters only; at {place} it does not: {describe(value)}")
    if value != value.strip():
        raise InvalidArgument(f"{what} may not begin or end with a space: {describe(value)}")
    return value


def _size(text: str, what: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"{what} has a lone surrogate at {error.start}: {describe(text)}") from None


def _measured(text: str) -> str:
    return f"{len(text.encode(errors='replace')):,} bytes: {describe(text)}"
