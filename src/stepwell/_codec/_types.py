"""What the codec knows of types: which annotations can be decoded, and what a value of a class is made of."""

from __future__ import annotations

import dataclasses
import operator
import types
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import inspect

from stepwell._codec._errors import UnsupportedType
from stepwell._failure import describe, escaped, shorten

_ADVICE: Final = (
    "use dataclasses, msgspec Structs, TypedDicts, NamedTuples, enums, lists, dicts, and the types of JSON, "
    "datetime, decimal and uuid"
)


class Refusal(Exception):
    """Says why a value can't be stored; becomes a `PayloadError` where its place is known."""


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    """How a value of one class is read: its parts and what they are called, or how two without parts compare."""

    parts: Callable[[Any], Sequence[object]]
    names: tuple[str, ...] | None = None
    same: Callable[[Any, Any], bool] | None = None


def decoder_for(annotation: Any) -> msgspec.json.Decoder[Any]:
    """Return the decoder for an annotated type; raise `UnsupportedType` with advice if its values can't be stored."""
    try:
        decoder = msgspec.json.Decoder(Any if annotation is object else annotation)
        custom = _custom_type(inspect.type_info(decoder.type))
    except Exception as error:  # the annotation's own code runs here, and unresolvable names are found
        raise UnsupportedType(
            f"the type {annotation_text(annotation)} can't be stored as JSON: {error}; {_ADVICE}"
        ) from error
    if custom is not None:
        raise UnsupportedType(f"the type {annotation_text(custom)} can't be stored as JSON: {_ADVICE}")
    return decoder


def annotation_text(annotation: object) -> str:
    """Return an annotated type as it is shown in messages."""
    text = annotation.__qualname__ if type(annotation) is type else str(annotation)
    return shorten(escaped(text), 100)


def shape_of(kind: type[object]) -> Shape:
    """Return how values of a class are read that is no plain JSON type; raise `Refusal` if they can't be stored."""
    known = _SHAPES.get(kind)
    if known is not None:
        return known
    if issubclass(kind, Enum):
        return _ENUM
    if issubclass(kind, tuple):  # a NamedTuple
        return Shape(_past_its_iter)
    names = _field_names(kind)
    if names is not None:
        return Shape(_reader(names), names)
    raise Refusal(refusal_of(kind))


def refusal_of(kind: type[object]) -> str:
    """Return why values of a class can't be stored, and what to do."""
    name = describe(kind).removeprefix("<class ").removesuffix(">")
    if issubclass(kind, (types.CoroutineType, types.GeneratorType, types.AsyncGeneratorType)) or _awaitable(kind):
        return f"a value of type {name} can't be stored; did you forget await?"
    for base in (dict, list, set, frozenset, str, int, float, bytes):
        if issubclass(kind, base):
            return f"a value of type {name} would come back as {base.__name__}; make it one with {base.__name__}(…)"
    return f"a value of type {name} can't be stored as JSON; return plain data, a dataclass or a msgspec Struct"


def _awaitable(kind: type[object]) -> bool:
    return any("__await__" in vars(base) for base in type.mro(kind))


def _field_names(kind: type[object]) -> tuple[str, ...] | None:
    if issubclass(kind, msgspec.Struct):
        return kind.__struct_fields__
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    attributes: Any = getattr(kind, "__attrs_attrs__", None)  # attrs, which msgspec reads too
    return None if attributes is None else tuple(attribute.name for attribute in attributes)


def _reader(names: tuple[str, ...]) -> Callable[[Any], Sequence[object]]:
    if len(names) > 1:
        return operator.attrgetter(*names)
    return lambda value: [getattr(value, name) for name in names]


def _finite_decimal(value: Decimal) -> Sequence[object]:
    if not value.is_finite():
        raise Refusal(f"{value} is not a number that JSON has; use null or a string")
    return ()


def _datetime_with_zone(value: datetime) -> Sequence[object]:
    offset = value.utcoffset()
    if offset is None:
        raise Refusal(f"{value.isoformat()} is a naive datetime; give it a timezone")
    if offset % timedelta(minutes=1):
        raise Refusal(f"the UTC offset of {value.isoformat()} has seconds, which JSON's form of it has not; use UTC")
    return ()


def _custom_type(info: inspect.Type) -> object:
    """Return a class within the annotated type that nothing can decode, or None."""
    pending: list[object] = [info]
    seen: set[int] = set()
    while pending:
        node = pending.pop()
        if isinstance(node, inspect.CustomType):
            return node.cls
        if isinstance(node, (tuple, list)):
            pending += node
        elif isinstance(node, (inspect.Type, inspect.Field)) and id(node) not in seen:
            seen.add(id(node))
            pending += [getattr(node, name) for name in node.__struct_fields__]
    return None


def _itself(value: Sequence[object]) -> Sequence[object]:
    return value


def _past_its_iter(value: tuple[object, ...]) -> Sequence[object]:
    return tuple[object, ...].__getitem__(value, slice(None))


def _no_parts(_: object) -> Sequence[object]:
    return ()


def _same_digits(value: Decimal, copy: Decimal) -> bool:
    return value.as_tuple() == copy.as_tuple()


def _same_wall_and_offset(value: datetime, copy: datetime) -> bool:
    """Compare what JSON keeps; `==` is always false within the hour that a zone repeats."""
    return value.replace(tzinfo=None, fold=0) == copy.replace(tzinfo=None, fold=0) and (
        value.utcoffset() == copy.utcoffset()
    )


ATOMS: Final[frozenset[type]] = frozenset({str, int, float, bool, type(None)})
LIST: Final = Shape(_itself)
_ENUM: Final = Shape(_no_parts, same=operator.is_)
_SHAPES: Final[dict[type, Shape]] = {
    tuple: Shape(_itself),
    set: Shape(list),
    frozenset: Shape(list),
    Decimal: Shape(_finite_decimal, same=_same_digits),
    datetime: Shape(_datetime_with_zone, same=_same_wall_and_offset),
    **dict.fromkeys(
        (date, time, timedelta, UUID, bytes, bytearray, msgspec.UnsetType), Shape(_no_parts, same=operator.eq)
    ),
}
