"""Records of plain values: what most steps return, and what needs no second look.

A dataclass or Struct whose fields are annotated as text, whole numbers, floats, booleans or null comes back from its
JSON equal, with equal types, if each value is exactly of an annotated type. So a look at those types takes the place of
the general one, which reads the text back and compares.
"""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Callable
from typing import Any, Final, cast

import msgspec
from msgspec import inspect

__all__ = ["FlatRecord", "flat_record"]

_WORD: Final = 1 << 63
_LEAST_FIELDS: Final = 2
"""with fewer, `attrgetter` gives no tuple"""
_PLAIN: Final[dict[type[inspect.Type], type]] = {
    inspect.StrType: str,
    inspect.IntType: int,
    inspect.FloatType: float,
    inspect.BoolType: bool,
    inspect.NoneType: type(None),
}


_type_of = cast("Callable[[object], type[object]]", type)  # to type checkers, the type of an Any is unknown


class FlatRecord:
    """How a value of one class is looked at."""

    __slots__ = ("_kind", "_kinds", "_numbers", "_values")

    def __init__(self, kind: type, names: tuple[str, ...], kinds: tuple[frozenset[type], ...]) -> None:
        self._kind = kind
        self._kinds = kinds
        self._numbers = [place for place, known in enumerate(kinds) if known & {int, float}]
        """fields of which not every value comes back"""
        self._values: Callable[[Any], Any] = operator.attrgetter(*names)

    def holds(self, value: object) -> bool:
        """Tell whether *value* is of the class and holds nothing but what comes back; if not, look closer."""
        if type(value) is not self._kind:
            return False
        try:
            items = self._values(value)
        except AttributeError:
            return False
        if not all(map(operator.contains, self._kinds, map(type, items))):
            return False
        for place in self._numbers:
            item = items[place]
            kind = _type_of(item)
            if kind is int and not -_WORD < item < _WORD:
                return False
            if kind is float and not math.isfinite(item):
                return False
        return True


def flat_record(annotation: Any, decoder: msgspec.json.Decoder[Any]) -> FlatRecord | None:
    """Return how to look at values of *annotation*, or None if it is no such record."""
    if not isinstance(annotation, type):
        return None
    kind: Any = annotation
    info = inspect.type_info(decoder.type)
    if isinstance(info, inspect.DataclassType):
        is_ours = dataclasses.is_dataclass(kind) and not hasattr(kind, "__post_init__")
        names = tuple(field.name for field in dataclasses.fields(kind)) if is_ours else ()
    elif isinstance(info, inspect.StructType) and info.tag is None and not info.array_like:
        names = () if hasattr(kind, "__post_init__") else kind.__struct_fields__
    else:
        return None
    if not _reads_what_is_there(kind, names):
        return None
    if len(names) < _LEAST_FIELDS or names != tuple(field.name for field in info.fields):
        return None
    kinds = tuple(_kinds_of(field) for field in info.fields)
    return FlatRecord(annotation, names, kinds) if all(kinds) else None


def _reads_what_is_there(kind: Any, names: tuple[str, ...]) -> bool:
    """Tell whether no code of the class comes between an attribute and who reads it."""
    readers = (object.__getattribute__, msgspec.Struct.__getattribute__)
    return kind.__getattribute__ in readers and not any(
        isinstance(getattr(kind, name, None), property) for name in names
    )


def _kinds_of(field: inspect.Field) -> frozenset[type]:
    """Return the types of the values that a field may hold; none if it may hold others, or not all of a type."""
    types = field.type.types if isinstance(field.type, inspect.UnionType) else (field.type,)
    kinds = frozenset(_PLAIN[type(one)] for one in types if type(one) in _PLAIN and one == type(one)())
    is_plain = len(kinds) == len(types) and field.encode_name == field.name and not field.name.startswith("_")
    return kinds if is_plain and not {int, float} <= kinds else frozenset()
