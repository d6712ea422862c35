"""What the author of a storage needs: the protocol, and the values that go through it.

The storages that come with Stepwell are exported from `stepwell` itself.
"""

from __future__ import annotations

from stepwell._model import (
    LIVE,
    NEVER,
    NOW,
    TERMINAL,
    Change,
    Definition,
    Deposit,
    Entry,
    Kind,
    Moment,
    Page,
    Query,
    Row,
    Signal,
    SignalState,
    Status,
    Stored,
    Unit,
    Wake,
)
from stepwell.storage._protocol import Capability, Claims, Lease, Lifeline, Renewal, Storage, StorageError

__all__ = [
    "LIVE",
    "NEVER",
    "NOW",
    "TERMINAL",
    "Capability",
    "Change",
    "Claims",
    "Definition",
    "Deposit",
    "Entry",
    "Kind",
    "Lease",
    "Lifeline",
    "Moment",
    "Page",
    "Query",
    "Renewal",
    "Row",
    "Signal",
    "SignalState",
    "Status",
    "Storage",
    "StorageError",
    "Stored",
    "Unit",
    "Wake",
]
