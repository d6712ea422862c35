"""Stepwell: durable workflows as static, versioned graphs of steps, on asyncio and Trio."""

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
    IllegalTransition,
    NotAWait,
    NotResumable,
    Problem,
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
    VisitsExceeded,
    WaitPassed,
    WorkerCrashed,
)
from stepwell._execution import Execution, JournalEntry, Page, Query, StepState
from stepwell._failure import Failure
from stepwell._graph import Graph, GraphEdge, GraphNode
from stepwell._handle import Handle
from stepwell._limits import Limits
from stepwell._model import Status
from stepwell._notices import EVENT_KINDS, Event, Lagged, Summary
from stepwell._retry import Retry
from stepwell._worker import Worker
from stepwell.storage import Storage, StorageError
from stepwell.storage.memory import MemoryStorage
from stepwell.storage.sqlite import SQLiteStorage

__all__ = sorted(name for name in dir() if not name.startswith("_") and name not in {"storage", "annotations"})
