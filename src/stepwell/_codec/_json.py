"""JSON that others wrote: read strictly, or put into the one form that is compared."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Final, NoReturn

import msgspec

from stepwell._codec._errors import LimitExceeded, PayloadError, path_text
from stepwell._codec._types import Refusal, Shape
from stepwell._codec._walk import fault_in
from stepwell._limits import Limits

_DEFAULT: Final = Limits()
_SORTED: Final = msgspec.json.Encoder(order="sorted")


def canonical(text: str) -> str:
    """Return JSON text with sorted keys and without space, so that the same content is the same text.

    The text is one that a codec made; raises `PayloadError` for anything that is not JSON.
    """
    try:
        return _SORTED.encode(msgspec.json.decode(text)).decode()
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise PayloadError("the text", "$", f"not JSON that can be read back: {error}") from error


def decode_json(text: str | bytes, *, limits: Limits = _DEFAULT, what: str = "the JSON text") -> object:
    """Return the value of JSON from outside, or raise `PayloadError` that says where it is wrong.

    Refused are, beside what is not JSON: a key given twice, `NaN`, numbers beyond a float's range, lone surrogates,
    text that is not UTF-8 or begins with a byte order mark, and what exceeds the limits.
    """
    if len(text) > limits.payload:
        raise _too_large(len(text), limits, what)
    source = _source(text, what)
    if not source.isascii() and (size := len(source.encode(errors="surrogatepass"))) > limits.payload:
        raise _too_large(size, limits, what)
    try:
        value = json.loads(source, object_pairs_hook=_object, parse_constant=_constant, parse_float=_number)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise PayloadError(what, place, f"not JSON: {error.msg}") from error
    except RecursionError as error:
        reason = f"nested too deep: the limit is {limits.depth} levels"
        raise LimitExceeded(what, "$", reason, limits.depth, limits.depth + 1) from error
    except ValueError as error:  # an integer of too many digits
        raise PayloadError(what, "$", str(error)) from error
    fault = fault_in(value, _shape_of, depth=limits.depth, size=limits.payload)
    if fault is None:
        return value
    if fault.limit is None:
        raise PayloadError(what, path_text(fault.path), fault.reason)
    raise LimitExceeded(what, path_text(fault.path), fault.reason, fault.limit, fault.actual)


@dataclass(frozen=True, slots=True)
class _Wrong:
    """Stands in the parsed value for what JSON has not, until the walk knows its place."""

    reason: str


def _object(pairs: list[tuple[str, object]]) -> object:
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    seen: set[str] = set()
    twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
    return _Wrong(f"key {twice!r} is given twice")


def _constant(name: str) -> object:
    return _Wrong(f"{name} is not JSON; use null or a string")


def _number(digits: str) -> object:
    value = float(digits)
    return value if math.isfinite(value) else _Wrong(f"{digits} is beyond the range of a float")


def _shape_of(_: type[object]) -> Shape:
    return Shape(_refuse)


def _refuse(value: _Wrong) -> NoReturn:
    raise Refusal(value.reason)


def _source(text: str | bytes, what: str) -> str:
    try:
        source = text if isinstance(text, str) else text.decode()
    except UnicodeDecodeError as error:
        raise PayloadError(what, f"byte {error.start}", "not UTF-8") from error
    if source.startswith("\ufeff"):
        raise PayloadError(what, "byte 0", "begins with a byte order mark; save it as UTF-8 without one")
    return source


def _too_large(size: int, limits: Limits, what: str) -> LimitExceeded:
    reason = f"too large: {size:,} bytes, the limit is {limits.payload:,}"
    return LimitExceeded(what, "$", reason, limits.payload, size)
