"""The type variables that contexts, steps, workflows and the engine share; their variance is explicit."""

from __future__ import annotations

import sys
from enum import Enum
from typing import Any

if sys.version_info >= (3, 13):  # pragma: no cover
    from typing import TypeVar
else:  # pragma: no cover
    from typing_extensions import TypeVar

__all__ = [
    "ChildInputT",
    "DefaultT",
    "InputT",
    "InputT_co",
    "InputT_contra",
    "OutT",
    "OutT_co",
    "ResultT",
    "ResultT_co",
    "ReturnT_co",
    "RouteT",
    "SignalT",
    "SourceT_contra",
]

InputT = TypeVar("InputT", default=Any)
InputT_co = TypeVar("InputT_co", covariant=True, default=Any)
InputT_contra = TypeVar("InputT_contra", contravariant=True, default=Any)
# What a set of edges asks of the input because of the step that it leaves.
SourceT_contra = TypeVar("SourceT_contra", contravariant=True, default=Any)
ChildInputT = TypeVar("ChildInputT", default=Any)
OutT = TypeVar("OutT", default=Any)
OutT_co = TypeVar("OutT_co", covariant=True, default=Any)
# What the execution gives if it ends in this step; `Never` for a step that ends nothing.
ResultT = TypeVar("ResultT", default=Any)
ResultT_co = TypeVar("ResultT_co", covariant=True, default=Any)
# What calling the handle gives: the value of a `def`, the coroutine of an `async def`.
ReturnT_co = TypeVar("ReturnT_co", covariant=True, default=Any)
RouteT = TypeVar("RouteT", bound=str | Enum, default=str)
SignalT = TypeVar("SignalT", default=Any)
DefaultT = TypeVar("DefaultT", default=Any)
