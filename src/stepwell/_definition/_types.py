"""Types at run time: what annotations say, resolved in the globals and the closure of the function they are written on.

Only the one annotation that is wanted is evaluated: a parameter whose annotation lives inside a test function, or
behind `TYPE_CHECKING`, is in nobody's way.
"""

from __future__ import annotations

import collections.abc
import inspect
import types
import typing
from dataclasses import dataclass
from enum import Enum, EnumType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Union, get_args, get_origin

from stepwell._definition._handlers import function_of, signature
from stepwell._definition._steps import route_label

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_AWAITABLES: Final = (collections.abc.Awaitable, collections.abc.Coroutine, types.CoroutineType)
_OPEN: Final = (Any, object)  # `Any` is a class from Python 3.11 on
_UNIONS: Final = (Union, types.UnionType)


class Unresolved(Exception):
    """Raised when an annotation names what its function can't see; the argument is the annotation and why."""


@dataclass(frozen=True, slots=True)
class StepTypes:
    """What a step gives and takes at run time; `known` is false where nothing is declared, and `Any` stands in.

    `output` is what `Context.output` returns: an activity's result, a wait's signal, a child's `Outcome[…]`. Of a
    `succeed` step it is the execution's output; decisions and `fail` steps declare none.
    """

    output: Any = Any
    signal: Any = Any
    known: bool = False


@dataclass(frozen=True, slots=True)
class WorkflowTypes:
    """The types of a workflow, resolved: `Any` where none is declared."""

    input: Any
    output: Any
    steps: Mapping[str, StepTypes]


def returned(handler: object) -> Any:
    """Return the type that a handler returns, taken out of its awaitable; `Any` if nothing is declared.

    Raises `Unresolved` if the annotation can't be resolved.
    """
    found = signature(handler)
    if found is None:
        return Any
    resolved = resolve(found.return_annotation, handler)
    if get_origin(resolved) in _AWAITABLES and get_args(resolved):
        return get_args(resolved)[-1]
    return resolved


def received(handler: object, position: int) -> Any:
    """Return the type of a handler's positional parameter; `Any` if nothing is declared.

    Raises `Unresolved` if the annotation can't be resolved.
    """
    found = signature(handler)
    parameters = [] if found is None else list(found.parameters.values())
    for parameter in parameters[: position + 1]:
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            return resolve(parameter.annotation, handler)
    return resolve(parameters[position].annotation, handler) if position < len(parameters) else Any


def resolve(annotation: object, handler: object) -> Any:
    """Return what an annotation means where its handler is written; `Any` for none.

    Raises `Unresolved` if it names something that the function can't see.
    """
    if annotation is inspect.Signature.empty:
        return Any
    function = function_of(handler)
    scope: dict[str, Any] = {} if function is None else function.__globals__

    def shim() -> None: ...

    shim.__annotations__ = {"return": annotation}
    try:
        found = typing.get_type_hints(shim, scope, dict(_closure(function)), include_extras=True)["return"]
    except Exception as error:  # an annotation is code of the user's: evaluating it may raise anything
        raise Unresolved(_written(annotation), f"{type(error).__name__}: {error}") from error
    return type(None) if found is None else found


def _written(annotation: object) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__forward_arg__", repr(annotation))


def _closure(function: types.FunctionType | None) -> Iterator[tuple[str, Any]]:
    if function is None or function.__closure__ is None:
        return
    for name, cell in zip(function.__code__.co_freevars, function.__closure__, strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not assigned yet
            continue


def declared_routes(annotation: Any) -> tuple[str, ...] | None:
    """Return the routes that a return annotation allows, or None if it does not say (`str`, `Any`, none at all).

    Raises `TypeError` for an annotation that allows what is no route, such as `None` or a number.
    """
    routes: dict[str, None] = {}
    for part in _parts(annotation):
        if get_origin(part) is Literal:
            routes.update(dict.fromkeys(map(route_label, get_args(part))))
        elif isinstance(part, EnumType) and len(part) > 0:
            routes.update(dict.fromkeys(map(route_label, part)))
        elif not isinstance(part, type) or part in _OPEN or issubclass(part, str | Enum):
            return None
        else:
            message = f"its return annotation allows {part.__name__}; a route is a string or an Enum member"
            raise TypeError(message)
    return tuple(routes)


def _parts(annotation: Any) -> Iterator[Any]:
    """Yield the members of a union, seen through `Annotated` and `type` aliases."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _parts(get_args(annotation)[0])
    elif origin in _UNIONS:
        for part in get_args(annotation):
            yield from _parts(part)
    elif type(annotation).__name__ == "TypeAliasType":
        yield from _parts(annotation.__value__)
    else:
        yield annotation


def rendered(annotation: Any) -> str:
    """Return a type as text that is the same in every process and on every Python, wherever the class is defined.

    Modules are left out: the same class is `__main__.Order` in the script that defines it and `orders.Order` elsewhere.
    """
    origin = get_origin(annotation)
    arguments: tuple[Any, ...] = getattr(annotation, "__args__", ())  # flat, also for a Callable
    if origin is Annotated:
        return rendered(arguments[0])
    if origin in _UNIONS:
        return " | ".join(sorted(map(rendered, arguments)))
    if origin is Literal:
        return f"Literal[{', '.join(sorted(map(_literal, arguments)))}]"
    if origin is not None and arguments:
        return f"{_name(origin)}[{', '.join(map(rendered, arguments))}]"
    return "None" if annotation is None or annotation is type(None) else _name(annotation)


def _literal(value: object) -> str:
    return f"{_name(type(value))}.{value.name}" if isinstance(value, Enum) else ascii(value)


def _name(annotation: Any) -> str:
    if annotation is Ellipsis:
        return "..."
    name = (
        getattr(annotation, "__qualname__", None) or getattr(annotation, "__name__", None) or type(annotation).__name__
    )
    return str(name).rpartition("<locals>.")[2]
