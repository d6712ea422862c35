"""What every run of one engine shares, and what a run asks of its worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from stepwell._transition import Terms

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell._commits import Commits
    from stepwell._entropy import Entropy
    from stepwell._leases import Held
    from stepwell._limits import Limits
    from stepwell._loop import Loop
    from stepwell._model import Row
    from stepwell._suspects import Suspects
    from stepwell._threads import Threads
    from stepwell.storage._protocol import Storage

__all__ = ["Host", "Services"]


@dataclass(frozen=True, slots=True)
class Services:
    """What every run of one engine shares."""

    storage: Storage
    commits: Commits
    starts: Commits
    """a lane of its own for starts under ids of the callers': one may have to wait for another transaction"""
    loop: Loop
    entropy: Entropy
    limits: Limits
    max_crashes: int
    committed: Callable[[Any], None]
    """told of a unit whose commit was found out about later"""
    change_id: Callable[[], str]

    def terms(self, *, keep_lease: bool) -> Terms:
        """Return what a decision is told: the engine's own settings, whoever decides."""
        return Terms(self.change_id(), keep_lease, self.max_crashes, self.entropy.fraction())

    def after(self, id: str, tell: Callable[[], None]) -> None:
        """Call *tell* once what is being committed of that execution has been told."""
        (self.starts if self.starts.is_sending(id) else self.commits).after(id, tell)


class Host(Protocol):
    """What a run asks of the worker that it belongs to."""

    threads: Threads
    suspects: Suspects

    def goes_on(self) -> bool:
        """Tell whether the next step may begin under this lease."""
        ...

    def trouble(self, message: str, held: Held, row: Row | None = None) -> None:
        """Report what is wrong with the worker, its storage or a handler, rather than with a step."""
        ...

    def left_in_thread(self, row: Row) -> None:
        """Report that a handler was left behind in its thread, which can't be stopped."""
        ...

    def lease_lost(self, held: Held, row: Row) -> None:
        """Report that this worker lost the lease."""
        ...
