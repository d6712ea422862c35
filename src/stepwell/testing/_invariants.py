"""The promises, as one assertion for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from stepwell import Breach, verify

if TYPE_CHECKING:
    from stepwell import Workflow
    from stepwell.storage import Storage

__all__ = ["InvariantsBroken", "check_invariants"]

_SHOWN: Final = 20


class InvariantsBroken(AssertionError):
    """Raised when what a storage holds breaks a promise; `breaches` has all that was found."""

    def __init__(self, breaches: Sequence[Breach]) -> None:
        lines = [str(breach) for breach in breaches[:_SHOWN]]
        if len(breaches) > _SHOWN:
            lines.append(f"… and {len(breaches) - _SHOWN} more")
        super().__init__("\n".join(lines))
        self.breaches = tuple(breaches)


async def check_invariants(storage: Storage, *, workflows: Sequence[Workflow[Any, Any]] = (), page: int = 1_000) -> int:
    """Check every execution in *storage* against the promises; return how many there are.

    Raises InvariantsBroken, which is an AssertionError. Workers may be at work meanwhile. Reads *page* executions at a
    time; `stepwell.verify` does one page, and gives the breaches as values.
    """
    checked, breaches, after = 0, list[Breach](), None
    while True:
        verified = await verify(storage, workflows=workflows, after=after, limit=page)
        checked += verified.checked
        breaches += verified.breaches
        after = verified.next
        if after is None:
            break
    if breaches:
        raise InvariantsBroken(breaches)
    return checked
