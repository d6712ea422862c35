"""Reading a value without recursion: is it within bounds, what is wrong with it, what came back changed.

`survey` is the fast look at every value; the others run for values of classes, and to explain a refusal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import islice
from typing import Any, Final, cast

import msgspec

from stepwell._codec._errors import Path, path_text
from stepwell._codec._types import ATOMS, LIST, Refusal, Shape
from stepwell._failure import describe, type_name

_WORD: Final = 1 << 63
_DIGITS: Final = 4_300  # Python's own limit for turning digits into an int
_HUGE: Final = 10**_DIGITS
_MISSING: Final = object()

_CHILDREN_WEIGHED: Final = 1_000
_LEVELS_WEIGHED: Final = 8
_SAMPLE: Final = 20_000
_FEW: Final = 100

Shapes = Callable[[type[object]], Shape]
_Pair = tuple[Any, Any, Path]

_type_of = cast("Callable[[object], type[object]]", type)  # to type checkers, the type of an Any is unknown


class Verdict(IntEnum):
    """What a survey found: plain JSON, plain JSON and classes, too many bytes, or something else to refuse."""

    PLAIN = 0
    TYPED = 1
    LARGE = 2
    REFUSED = 3


def survey(value: object, shapes: Shapes, *, depth: int, size: int) -> Verdict:
    """Look at a value level by level, in time bounded by *size*, a lower bound of whose text it adds up."""
    plain = True
    level: list[Any] = [value]
    while level:
        below: list[Any] = []
        for item in level:
            kind = _type_of(item)
            if kind is str:
                size -= len(item)
            elif kind is int:
                if not -_WORD < item < _WORD:
                    size -= item.bit_length() >> 2
            elif kind is float:
                if item - item != 0.0:
                    return Verdict.REFUSED
            elif kind is dict or kind is list:
                size -= len(item)
                if size < 0 or not depth:
                    return Verdict.LARGE if size < 0 else Verdict.REFUSED
                if kind is list:
                    below += item
                    continue
                for key in item:
                    if type(key) is str:
                        size -= len(key)
                    else:
                        plain = False
                        below.append(key)
                below += item.values()
            elif item is not None and kind is not bool:
                plain = False
                parts = shapes(kind).parts(item)
                size -= len(item) if kind is bytes or kind is bytearray else len(parts)
                if size < 0 or (parts and not depth):
                    return Verdict.LARGE if size < 0 else Verdict.REFUSED
                below += parts
        if size < 0:
            return Verdict.LARGE
        level = below
        depth -= 1
    return Verdict.PLAIN if plain else Verdict.TYPED


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a value can't be stored, and the place within it; *limit* and *actual* if it is a matter of size."""

    path: Path
    reason: str
    limit: int | None = None
    actual: int = 0


@dataclass(frozen=True, slots=True)
class _Opened:
    """A container on the way down to the item that is looked at."""

    path: Path
    value: object
    children: Iterator[tuple[object, object]]


def fault_in(value: object, shapes: Shapes, *, depth: int, size: int) -> Fault | None:
    """Return the first fault that a value has by itself, whatever its annotation, in time bounded by *size*."""
    limit, opened = size, list[_Opened]()
    path: Path = None
    places: dict[int, Path] = {}
    while True:
        try:
            size -= _checked_weight(value)
            children = _children(value, shapes)
        except Refusal as refusal:
            return Fault(path, str(refusal))
        if children is not None:
            if id(value) in places:
                same = path_text(places[id(value)])
                return Fault(path, f"the {type_name(value)} contains itself: it is also what is at {same}")
            if len(opened) >= depth:
                return Fault(path, f"nested too deep: the limit is {depth} levels", depth, len(opened) + 1)
            places[id(value)] = path
            opened.append(_Opened(path, value, children))
        if size < 0:
            return Fault(path, "", limit, limit - size)
        step = None
        while opened and (step := next(opened[-1].children, None)) is None:
            del places[id(opened.pop().value)]
        if step is None:
            return None
        path, value = (opened[-1].path, step[0]), step[1]


def difference(value: object, copy: object, shapes: Shapes) -> Fault | None:
    """Return where *copy*, which came back from the text, is not equal to *value* with equal types; None if it is."""
    pending: list[_Pair] = [(value, copy, None)]
    while pending:
        one, other, path = pending.pop()
        kind = _type_of(one)
        if kind is not _type_of(other):
            if kind is int and type(other) is float and one == other:
                continue
            return Fault(path, _changed(one, other) + "; annotate its exact type, or use what JSON has")
        if kind in ATOMS:
            if one != other:
                return Fault(path, _changed(one, other))
        elif kind is dict:
            fault = _pair_entries(one, other, path, pending)
            if fault is not None:
                return fault
        elif kind is set or kind is frozenset:
            matches = {item: item for item in other}
            pending += [(item, matches.get(item, _MISSING), (path, item)) for item in one]
        else:
            shape = LIST if kind is list else shapes(kind)
            if shape.same is None:
                parts, others = shape.parts(one), shape.parts(other)
                if len(parts) != len(others):
                    return Fault(path, f"{len(parts)} items come back as {len(others)}")
                for index, (part, match) in enumerate(zip(parts, others, strict=True)):
                    if type(part) is not type(match) or type(part) not in ATOMS or part != match:
                        pending.append((part, match, (path, shape.names[index] if shape.names else index)))
            elif not shape.same(one, other):
                return Fault(path, _changed(one, other))
    return None


def heaviest(value: object, shapes: Shapes) -> tuple[Path, int]:
    """Return the place that makes a value large, and about how many bytes the value takes at least.

    Goes down to where no single item holds half of it any more; of a few items, the largest is always named. Looks
    at a sample: what is too large is not worth reading in full.
    """
    path: Path = None
    total = held = _weight(value, shapes, _SAMPLE)
    for _ in range(_LEVELS_WEIGHED):
        children = list(islice(_children(value, shapes) or (), _CHILDREN_WEIGHED))
        weights = [_weight(child, shapes, _SAMPLE // len(children)) for _, child in children]
        best = max(weights, default=0)
        few = path is None and len(children) <= _FEW
        if not best or (best * 2 < held and not few):
            break
        label, value = children[weights.index(best)]
        path, held = (path, label), best
    return path, total


def fill_defaults(value: object, shapes: Shapes) -> None:
    """Set in each object what it has only by its class, as msgspec leaves the defaults of dataclasses.

    So that the encoder, which reads what is set, writes them: an input that leaves a default out is the same input.
    """
    pending: list[Any] = [value]
    while pending:
        item = pending.pop()
        kind = _type_of(item)
        if kind in ATOMS:
            continue
        if kind is dict:
            pending += item.values()
            continue
        shape = LIST if kind is list else shapes(kind)
        parts = shape.parts(item)
        pending += parts
        for name, part in zip(shape.names or (), parts, strict=False):
            if name not in getattr(item, "__dict__", (name,)):
                object.__setattr__(item, name, part)


def _changed(one: object, other: object) -> str:
    if other is _MISSING:
        return f"{_with_type(one)} does not come back"
    if type(one) is type(other):
        return f"{describe(one)} comes back as {describe(other)}"
    return f"{_with_type(one)} comes back as {_with_type(other)}"


def _with_type(value: object) -> str:
    shown = describe(value)
    return shown if shown.startswith("<") else f"{shown} ({type_name(value)})"


def _pair_entries(one: Any, other: Any, path: Path, pending: list[_Pair]) -> Fault | None:
    """Add the entries of two dicts to what is compared; return a fault if a key is not in both, with its type."""
    keys = {key: key for key in other}
    for key, item in one.items():
        match = keys.get(key, _MISSING)
        if type(match) is not type(key) and not (type(key) is int and type(match) is float):
            if type(key) is str:
                return Fault(path, f"key {describe(key)} does not come back with this annotation")
            return Fault(path, f"key {describe(key)} ({type_name(key)}) is not a string")
        if type(key) is not str:
            pending.append((key, match, path))
        pending.append((item, other[match], (path, key)))
    if len(one) != len(other):
        return Fault(path, f"{len(one)} entries come back as {len(other)}")
    return None


def _children(value: Any, shapes: Shapes) -> Iterator[tuple[object, object]] | None:
    """Return what a value holds, each with its name, or None if it can't hold anything."""
    kind = _type_of(value)
    if kind in ATOMS:
        return None
    if kind is dict:
        entries: dict[object, object] = value
        return iter(entries.items())
    shape = LIST if kind is list else shapes(kind)
    parts = shape.parts(value)
    if shape.same is not None:
        return None
    return iter(zip(shape.names, parts, strict=True)) if shape.names else iter(enumerate(parts))


def _checked_weight(value: Any) -> int:
    """Return a lower bound of the bytes that the value itself takes; raise `Refusal` if JSON has no such value."""
    kind = _type_of(value)
    if kind is float and not math.isfinite(value):
        raise Refusal(f"{'NaN' if math.isnan(value) else value} is not JSON; use null or a string")
    if kind is str:
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise Refusal(f"the text has a lone surrogate at {error.start}: {describe(value)}") from None
    elif kind is int and not -_HUGE < value < _HUGE:
        digits = int(value.bit_length() * math.log10(2)) + 1
        raise Refusal(f"an int of {digits} digits; the limit is {_DIGITS} digits: store it as text")
    elif kind is dict:
        for key in value:
            _check_key(key)
    return _own_weight(value)


def _check_key(key: object) -> None:
    try:
        _checked_weight(key)
        msgspec.json.encode({key: None})
    except Refusal as refusal:
        raise Refusal(f"key {describe(key)}: {refusal}") from None
    except Exception:  # the encoder has no list of what it takes for a key; ask it
        raise Refusal(f"key {describe(key)} ({type_name(key)}) is not a string") from None


def _own_weight(value: Any) -> int:
    kind = _type_of(value)
    if kind is str or kind is bytes or kind is bytearray or kind is list or kind is tuple:
        return len(value) + 1
    if kind is dict:
        return len(value) + sum(len(key) for key in value if type(key) is str)
    return max(value.bit_length() >> 2, 1) if kind is int else 1


def _weight(value: object, shapes: Shapes, sample: int) -> int:
    """Return a lower bound of the bytes that a value takes, from itself and the first *sample* items within it."""
    weight = 0
    pending: list[Iterator[tuple[object, object]]] = [iter(((None, value),))]
    for _ in range(sample + 1):
        step = None
        while pending and (step := next(pending[-1], None)) is None:
            pending.pop()
        if step is None:
            break
        weight += _own_weight(step[1])
        children = _children(step[1], shapes)
        if children is not None:
            pending.append(children)
    return weight
