"""What there is to know about a handler without calling it: is it async, does it fit, where do its names live."""

from __future__ import annotations

import functools
import inspect
import sys
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, TypeGuard, cast

from stepwell._errors import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

# From Python 3.14 annotations are evaluated when they are read, and one that can't be must not hide the others.
_AS_WRITTEN: Final[dict[str, Any]] = {}
if sys.version_info >= (3, 14):  # pragma: no cover
    import annotationlib

    _AS_WRITTEN["annotation_format"] = annotationlib.Format.FORWARDREF

_DEEPEST: Final = 100
_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def layers(handler: object) -> Iterator[object]:
    """Yield the handler and what it wraps, outermost first: partials, methods, decorated and callable objects."""
    for _ in range(_DEEPEST):
        yield handler
        inner: object = None
        if _is_partial(handler):
            inner = handler.func
        elif inspect.ismethod(handler):
            inner = handler.__func__
        elif (wrapped := getattr(handler, "__wrapped__", None)) is not None:
            inner = wrapped
        elif not isinstance(handler, FunctionType | type) and callable(handler):
            inner = getattr(type(handler), "__call__", None)  # noqa: B004 - the method is wanted, not whether it exists
        if inner is None or inner is handler:
            return
        handler = inner


def _is_partial(handler: object) -> TypeGuard[functools.partial[Any]]:
    return isinstance(handler, functools.partial)


def function_of(handler: object) -> FunctionType | None:
    """Return the innermost Python function of a handler, in whose globals its annotations are written."""
    found: FunctionType | None = None
    for layer in layers(handler):
        if isinstance(layer, FunctionType):
            found = layer
    return found


def is_async(handler: object) -> bool:
    """Tell whether calling the handler gives a coroutine, seen through partials, wrappers and callable objects."""
    return any(inspect.iscoroutinefunction(layer) for layer in layers(handler))


def name_of(handler: object) -> str:
    """Return the name that a step gets from its handler."""
    named = (layer for layer in layers(handler) if hasattr(layer, "__name__") or not _is_partial(layer))
    layer = next(named, handler)
    name = getattr(layer, "__name__", None)
    return name if isinstance(name, str) else type(layer).__name__


def signature(handler: object) -> inspect.Signature | None:
    """Return the handler's signature with its annotations as written, or None for a builtin that has none."""
    try:
        return inspect.signature(cast("Any", handler), **_AS_WRITTEN)
    except (TypeError, ValueError):
        return None


def misfit(handler: object, *given: str) -> str | None:
    """Return what keeps the handler from being called with so many arguments, or None."""
    if inspect.isclass(handler):
        return f"the class {handler.__qualname__} is no handler; decorate a function, or an instance that is callable"
    if inspect.iscoroutine(handler):
        return f"{handler.__qualname__}() was called already; pass the function, not the coroutine"
    if not callable(handler):
        return f"{quoted(handler)} is not callable; decorate a function"
    if any(inspect.isgeneratorfunction(layer) or inspect.isasyncgenfunction(layer) for layer in layers(handler)):
        return "is a generator; a handler returns one value, it does not yield"
    found = signature(handler)
    return None if found is None else _arity(found, given)


def _arity(found: inspect.Signature, given: tuple[str, ...]) -> str | None:
    """Return what is wrong if the signature can't be called with these positional arguments and nothing else."""
    parameters = list(found.parameters.values())
    positional = [parameter for parameter in parameters if parameter.kind in _POSITIONAL]
    takes_more = any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters)
    called = f"is called with {' and '.join(given)} only"
    if len(positional) < len(given) and not takes_more:
        return f"{called}, but takes ({', '.join(found.parameters)}); let it take {', '.join(given)}"
    keyword_only = [parameter for parameter in parameters if parameter.kind is inspect.Parameter.KEYWORD_ONLY]
    extra = [p.name for p in positional[len(given) :] + keyword_only if p.default is inspect.Parameter.empty]
    if extra:
        return (
            f"{called}, and nothing provides {', '.join(map(repr, extra))}; give it a default, or use functools.partial"
        )
    return None
