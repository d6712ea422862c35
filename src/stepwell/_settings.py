"""What an engine was told, checked all at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from stepwell._checks import InvalidArgument, check_name
from stepwell._execution import to_microseconds
from stepwell._failure import describe
from stepwell._limits import Limits
from stepwell._model import NOW, Moment
from stepwell._retry import Seconds, seconds
from stepwell._worker import Timing

if TYPE_CHECKING:
    from stepwell.storage._protocol import Storage

__all__ = ["Settings", "checked_storage", "due_moment", "positive", "step_name"]

_RENEWALS: Final = 4
_MARGIN: Final = 10


@dataclass(frozen=True, slots=True)
class Settings:
    """An engine's settings, in seconds where they are times."""

    timing: Timing
    default_timeout: float | None
    max_crashes: int
    limits: Limits
    name: str

    @classmethod
    def of(  # noqa: PLR0917 -- the engine's own arguments, in their order
        cls,
        lease: Seconds,
        renew_every: Seconds | None,
        default_timeout: Seconds | None,
        max_crashes: int,
        limits: Limits,
        name: str | None,
    ) -> Settings:
        """Check what the engine was told. Raises ValueError, or InvalidArgument, which is one."""
        length = seconds(lease, "lease")
        every = length / _RENEWALS if renew_every is None else seconds(renew_every, "renew_every")
        margin = length / _MARGIN
        if length <= 0:
            raise InvalidArgument("lease must be above 0 seconds")
        if not 0 < every < length - margin:
            raise InvalidArgument(
                f"renew_every must be above 0 and below the lease less a tenth of it ({length - margin:g} s), "
                f"not {every:g} s: a lease that is renewed later is lost before"
            )
        timeout = None if default_timeout is None else seconds(default_timeout, "default_timeout")
        if timeout == 0:
            raise InvalidArgument("default_timeout must be above 0 seconds, or None for no limit")
        if type(max_crashes) is not int or max_crashes < 0:
            raise InvalidArgument(f"max_crashes must be a whole number from 0, not {describe(max_crashes)}")
        if not isinstance(limits, Limits):  # pyright: ignore[reportUnnecessaryIsInstance] -- callers without a type checker
            raise InvalidArgument(f"limits must be Limits(...), not {describe(limits)}")
        checked = "engine" if name is None else check_name(name, "the engine's name")
        return cls(Timing(length, every, margin), timeout, max_crashes, limits, checked)


def due_moment(delay: Seconds | None, at: datetime | None) -> Moment:
    """Return when an execution that is started now is due. Raises InvalidArgument where both are given."""
    if delay is not None and at is not None:
        raise InvalidArgument("give delay=… or at=…, not both")
    if delay is not None:
        length = seconds(delay, "delay")
        return Moment(after=length) if length else NOW
    return NOW if at is None else Moment(at=to_microseconds(at, "at"))


def positive(value: int, what: str) -> int:
    """Return a whole number above 0. Raises InvalidArgument for anything else."""
    if type(value) is not int or value < 1:
        raise InvalidArgument(f"{what} must be a whole number above 0, not {describe(value)}")
    return value


def step_name(step: object) -> str:
    """Return the name of a step that is given by its handle or by its name. Raises InvalidArgument."""
    name = getattr(step, "name", step)
    if type(name) is not str:
        raise InvalidArgument(f"a wait is named by its handle or its name, not {describe(step)}")
    return name


def checked_storage(storage: Storage | None) -> Storage | None:
    """Return the storage. Raises InvalidArgument for what is none: a path, or a class that was not called."""
    if storage is None or (callable(getattr(storage, "claim", None)) and not isinstance(storage, type)):
        return storage
    raise InvalidArgument(
        f"the storage must be an open one, as of `async with SQLiteStorage(path) as storage`, not {describe(storage)}"
    )
