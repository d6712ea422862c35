"""What an engine was told, checked all at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, get_args

from stepwell._checks import InvalidArgument, check_name
from stepwell._execution import to_microseconds
from stepwell._failure import describe
from stepwell._leases import Timing
from stepwell._limits import Limits
from stepwell._model import NOW, Moment
from stepwell._retry import Seconds, seconds
from stepwell._unstoppable import OnUnstoppable

if TYPE_CHECKING:
    from stepwell.storage._protocol import Storage

__all__ = ["Settings", "checked_storage", "due_moment", "positive", "step_name", "unstoppable_policy"]

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
        """Check what the engine was told. Raises InvalidArgument, which tells of all that is wrong at once."""
        problems: list[str] = []
        length = _above_zero(lease, "lease", problems) or 60.0
        every = length / _RENEWALS
        if renew_every is not None:
            every = _above_zero(renew_every, "renew_every", problems) or every
        margin = length / _MARGIN
        if not (problems or every < length - margin):
            problems.append(
                f"renew_every must be below the lease less a tenth of it ({length - margin:g} s), "
                f"not {every:g} s: a lease that is renewed later is lost before"
            )
        timeout = None if default_timeout is None else _above_zero(default_timeout, "default_timeout", problems)
        if type(max_crashes) is not int or max_crashes < 0:
            problems.append(f"max_crashes must be a whole number from 0, not {describe(max_crashes)}")
        if not _is_limits(limits):
            problems.append(f"limits must be Limits(...), not {describe(limits)}")
        checked = "engine" if name is None else name
        try:
            check_name(checked, "the engine's name")
        except InvalidArgument as error:
            problems.append(str(error))
        if problems:
            raise InvalidArgument("; ".join(problems))
        return cls(Timing(length, every, margin), timeout, max_crashes, limits, checked)


def _is_limits(value: object) -> bool:
    return isinstance(value, Limits)


def _above_zero(value: Seconds, what: str, problems: list[str]) -> float | None:
    try:
        return seconds(value, what, positive=True)
    except (TypeError, ValueError) as error:
        problems.append(f"{error}, or None for no limit" if what == "default_timeout" else str(error))
        return None


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


def unstoppable_policy(policy: OnUnstoppable) -> OnUnstoppable:
    """Return the policy. Raises InvalidArgument for one that there isn't."""
    if policy not in get_args(OnUnstoppable):
        known = " or ".join(map(repr, get_args(OnUnstoppable)))
        raise InvalidArgument(f"on_unstoppable must be {known}, not {describe(policy)}")
    return policy


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
