"""Stepwell: durable workflows as static, versioned graphs of steps, on asyncio and Trio."""

import typing as _typing

from stepwell._checks import InvalidArgument
from stepwell._codec import LimitExceeded, PayloadError, UnsupportedType
from stepwell._context import Context, Outcome
from stepwell._definition import (
    DEFAULT,
    Activity,
    Decision,
    Edges,
    Fail,
    Step,
    StepKind,
    Subworkflow,
    Succeed,
    Wait,
    Workflow,
    activity,
    decision,
    fail,
    subworkflow,
    succeed,
    wait,
)
from stepwell._drawing import draw
from stepwell._engine import Engine
from stepwell._errors import (
    AlreadySignalled,
    DefinitionChanged,
    DefinitionError,
    EngineClosed,
    ExecutionCancelled,
    ExecutionConflict,
    ExecutionEnded,
    ExecutionFailed,
    ExecutionNotFound,
    ExecutionUnreadable,
    IllegalTransition,
    NotAWait,
    NotResumable,
    Problem,
    ScopeLeftOpen,
    SignalConflict,
    SignalError,
    SignalRejected,
    SpuriousCancellation,
    StepCrashed,
    StepNotRun,
    StepTimedOut,
    StepwellError,
    TooManySignals,
    UnknownRoute,
    UnknownStep,
    UnknownWorkflow,
    UnstoppableHandler,
    VisitsExceeded,
    WaitPassed,
    WorkerCrashed,
)
from stepwell._execution import Execution, JournalEntry, Page, Query, StepState
from stepwell._failure import Failure
from stepwell._graph import Graph, GraphEdge, GraphNode
from stepwell._handle import Handle
from stepwell._invariants import Breach
from stepwell._limits import Limits
from stepwell._model import Status
from stepwell._notices import EVENT_KINDS, Event, Lagged, Summary
from stepwell._retry import Retry, parse_duration
from stepwell._verification import Verified, verify
from stepwell._worker import Worker
from stepwell.storage import Storage, StorageError
from stepwell.storage.memory import MemoryStorage
from stepwell.storage.sqlite import SQLiteStorage

if _typing.TYPE_CHECKING:
    from stepwell.storage.postgres import PostgresStorage

__all__ = [
    "DEFAULT",
    "EVENT_KINDS",
    "Activity",
    "AlreadySignalled",
    "Breach",
    "Context",
    "Decision",
    "DefinitionChanged",
    "DefinitionError",
    "Edges",
    "Engine",
    "EngineClosed",
    "Event",
    "Execution",
    "ExecutionCancelled",
    "ExecutionConflict",
    "ExecutionEnded",
    "ExecutionFailed",
    "ExecutionNotFound",
    "ExecutionUnreadable",
    "Fail",
    "Failure",
    "Graph",
    "GraphEdge",
    "GraphNode",
    "Handle",
    "IllegalTransition",
    "InvalidArgument",
    "JournalEntry",
    "Lagged",
    "LimitExceeded",
    "Limits",
    "MemoryStorage",
    "NotAWait",
    "NotResumable",
    "Outcome",
    "Page",
    "PayloadError",
    "PostgresStorage",
    "Problem",
    "Query",
    "Retry",
    "SQLiteStorage",
    "ScopeLeftOpen",
    "SignalConflict",
    "SignalError",
    "SignalRejected",
    "SpuriousCancellation",
    "Status",
    "Step",
    "StepCrashed",
    "StepKind",
    "StepNotRun",
    "StepState",
    "StepTimedOut",
    "StepwellError",
    "Storage",
    "StorageError",
    "Subworkflow",
    "Succeed",
    "Summary",
    "TooManySignals",
    "UnknownRoute",
    "UnknownStep",
    "UnknownWorkflow",
    "UnstoppableHandler",
    "UnsupportedType",
    "Verified",
    "VisitsExceeded",
    "Wait",
    "WaitPassed",
    "Worker",
    "WorkerCrashed",
    "Workflow",
    "activity",
    "decision",
    "draw",
    "fail",
    "parse_duration",
    "subworkflow",
    "succeed",
    "verify",
    "wait",
]


def __getattr__(name: str) -> object:
    """Import what needs an extra only when it is asked for."""
    if name != "PostgresStorage":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from stepwell.storage.postgres import PostgresStorage  # noqa: PLC0415 (only here does it need its driver)
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise ImportError("PostgresStorage needs asyncpg: pip install 'stepwell[postgres]'") from error
    return PostgresStorage
