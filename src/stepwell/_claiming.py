"""How one worker claims: what it asks for and when, what it learns on the way, and how long it waits to ask again.

In the same round trip as a claim goes the question which leases are lost. Leases that nobody runs, since the answer to
their claim was lost, are given back before the next one. While the storage is away, claims come ever more seldom.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio

from stepwell._claims import Claim, hand_back
from stepwell._errors import ExecutionUnreadable
from stepwell._wakeups import Bell
from stepwell.storage._protocol import StorageError
from stepwell.storage._unreadable import Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell._definition import Workflow
    from stepwell._leases import Leases
    from stepwell._model import Row
    from stepwell._registry import Registry
    from stepwell._services import Services
    from stepwell.storage._protocol import Lease

__all__ = ["Claiming"]

_CLAIM_LIMIT: Final = 5.0
"""seconds"""
_BACKOFF: Final = 0.1
_MAX_BACKOFF: Final = 10.0
"""seconds between two claims from a storage that is away, however long the poll interval"""
_HINTS_EVERY: Final = 0.05
"""seconds between two looks that hints from elsewhere bring about while all slots are taken"""
_HELD_EVERY: Final = 0.05
"""seconds between two claims that ask which leases are lost, unless there was a hint from elsewhere"""


class ClaimHost(Protocol):
    """The worker that claims: its id, whether it has room, and who is told what is wrong."""

    id: str

    @property
    def is_full(self) -> bool:
        """Whether every slot is taken."""
        ...

    @property
    def is_stopping(self) -> bool:
        """Whether nothing is to be claimed any more."""
        ...

    def trouble(self, message: str) -> None:
        """Hear what is wrong."""
        ...


class Claiming:
    """Claims for one worker, one claim after the other."""

    def __init__(
        self, host: ClaimHost, services: Services, registry: Registry, leases: Leases, *, lease: float
    ) -> None:
        """Claim under *leases* of so many seconds."""
        self.bell = Bell()
        """which says when to claim again"""
        self.failures = 0
        """claims in a row that failed"""
        self._host = host
        self._services = services
        self._registry = registry
        self._leases = leases
        self._lease = lease
        self._asked_at = 0.0
        self._asked_held_at = -math.inf
        self._is_hinted = False
        """whether something happened elsewhere since it was last asked which leases are lost"""
        self._lost: dict[Lease, None] = {}
        """leases from claims whose answer was lost"""

    def found_unknown(self, lease: Lease) -> None:
        """Hear of a lease that is the worker's and that it never heard of."""
        self._lost[lease] = None
        self.bell.ring()

    async def claim(self, free: int) -> list[Claim] | None:
        """Claim up to *free* executions; None where the storage can't be asked, which the trouble is told of."""
        try:
            if self._registry.has_news or self._lost:
                with anyio.fail_after(_CLAIM_LIMIT):
                    for refused in await self._registry.publish(self._services.storage):
                        self._host.trouble(str(refused))
                    await self._hand_back_lost()
            claimed = await self.request(free)
        except (StorageError, TimeoutError) as error:
            self.failures += 1
            self._host.trouble(f"nothing can be claimed: {str(error) or 'the storage does not answer'}")
            return None
        self.failures = 0
        return claimed

    async def request(self, limit: int) -> list[Claim]:
        """Claim, and learn in the same round trip which leases are ours no more. Raises StorageError."""
        programs = dict(self._registry.programs)
        self._asked_at = sent_at = anyio.current_time()
        self._is_hinted |= self.bell.heard_from_elsewhere()
        held: list[Lease] = []
        if not limit or self._is_hinted or sent_at - self._asked_held_at >= _HELD_EVERY:
            held, self._asked_held_at, self._is_hinted = self._leases.all(), sent_at, False
        self._leases.claims_sent += 1
        try:
            with anyio.fail_after(_CLAIM_LIMIT, shield=True):  # cancelled, it would leave leases that nobody runs
                claims = await self._services.storage.claim(
                    self._host.id,
                    list(programs),
                    limit=limit,
                    lease=self._lease,
                    held=held,
                )
        except TimeoutError:
            raise StorageError(f"the storage didn't answer a claim within {_CLAIM_LIMIT:g} s") from None
        finally:
            self._leases.claims_answered += 1
        self._leases.lose(claims.lost)
        return [Claim(stored, programs[stored.row.workflow, stored.row.version], sent_at) for stored in claims.claimed]

    async def drain(self, poll_interval: float, is_busy: Callable[[], bool]) -> None:
        """Claim nothing more; learn of leases that are lost, upon hints and polls, for as long as it *is_busy*."""
        now = anyio.current_time()
        look_at = now + poll_interval
        while is_busy():
            await self.bell.wait(look_at - now)
            now = anyio.current_time()
            if self.bell.heard_from_elsewhere():
                look_at = min(look_at, max(self._asked_at + _HINTS_EVERY, now))
            if now >= look_at and is_busy():
                await self.claim(0)
                now = anyio.current_time()
                look_at = now + poll_interval

    async def _hand_back_lost(self) -> None:
        """Give back leases from a claim whose answer was lost: nobody runs them, so no attempt has begun."""
        while self._lost:
            lease = next(iter(self._lost))
            try:
                await hand_back(self._services, self._host.id, lease, self._workflow_of)
            except (Unreadable, ExecutionUnreadable) as error:  # it lapses; whoever claims it then lets it fail
                self._host.trouble(str(error))
            del self._lost[lease]

    def _workflow_of(self, row: Row) -> Workflow[Any, Any]:
        return self._registry.find(row.workflow, row.version).workflow

    async def pause(self, poll_interval: float, *, may_be_more: bool) -> None:
        """Wait until there is something to claim for: a wake-up, a slot if more is due, or the time to poll.

        A worker whose slots are all taken lets local hints pass, and asks after hints from elsewhere (a lease of its
        own may have been taken away) now and then.
        """
        if self.failures:
            poll_interval = min(poll_interval, _BACKOFF * 2 ** min(self.failures, 10), _MAX_BACKOFF)
        jittered = poll_interval * (0.75 + 0.25 * self._services.entropy.fraction())  # never later than was promised
        end = anyio.current_time() + jittered
        if not may_be_more and not self.failures:
            await self.bell.wait(jittered)
        while (self.failures or self._host.is_full) and not self._host.is_stopping:
            left = end - anyio.current_time()
            if left <= 0:
                return
            await self.bell.wait(left)
            if self.failures:
                continue  # hints don't shorten the back-off
            if self.bell.heard_from_elsewhere():
                self._is_hinted = True
                end = min(end, self._asked_at + _HINTS_EVERY)
