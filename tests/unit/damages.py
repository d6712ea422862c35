"""Sound executions, as a driver committed them, and what damages one thing in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from stepwell._definition import Workflow
from stepwell._model import Entry, Stored
from stepwell._transition import Cancelled, Ended, Opened, Paused, Raised, Returned
from tests.support.driver import FAILURE, Driver
from tests.support.flows import chain, failing, gates

__all__ = [
    "LATER",
    "Damage",
    "begun",
    "both",
    "cancelled",
    "discarded",
    "failed",
    "lost",
    "paused",
    "queued",
    "refused",
    "running",
    "signalled",
    "signalled_twice",
    "succeeded",
    "timed",
    "waiting",
    "with_entry",
    "with_more",
    "with_row",
    "with_signal",
    "without_entry",
]

Damage = Callable[[Stored], Stored]


# -- what is sound -----------------------------------------------------------------------------------------------------


def begun(workflow: Workflow[Any, Any]) -> Driver:
    driver = Driver()
    driver.wait(1)
    driver.start(workflow)
    return driver


def queued() -> Stored:
    return begun(chain()).load("x")


def running() -> Stored:
    driver = begun(chain())
    driver.claim("x")
    driver.report("x", Returned("1"))
    return driver.load("x")


def lost() -> Stored:
    driver = begun(chain())
    driver.claim("x")
    driver.lose("x")
    driver.claim("x")
    return driver.load("x")


def waiting() -> Stored:
    driver = begun(chain(retry=3))
    driver.claim("x")
    driver.report("x", Raised(FAILURE), keep_lease=False)
    return driver.load("x")


def paused() -> Stored:
    driver = begun(chain())
    driver.ask("x", Paused())
    return driver.load("x")


def succeeded() -> Stored:
    driver = begun(chain())
    driver.claim("x")
    driver.report("x", Returned("1"))
    driver.report("x", Returned("2"), Ended('"done"'))
    return driver.load("x")


def failed() -> Stored:
    driver = begun(chain())
    driver.claim("x")
    driver.report("x", Raised(FAILURE))
    return driver.load("x")


def cancelled() -> Stored:
    driver = begun(chain())
    driver.claim("x")
    driver.ask("x", Cancelled())
    return driver.load("x")


def refused() -> Stored:
    driver = begun(failing())
    driver.claim("x")
    driver.report("x", Ended('"no"'))
    return driver.load("x")


def timed() -> Stored:
    """At a wait with a timeout, a minute before it."""
    driver = begun(gates(timeout=60.0))
    driver.claim("x")
    driver.report("x", Opened())
    return driver.load("x")


def signalled() -> Stored:
    """At a second wait, after a signal to the first; one more is kept for the second, which is due."""
    driver = begun(gates())
    driver.claim("x")
    driver.report("x", Opened())
    driver.signal("x", "second", "on")
    driver.signal("x", "first", "on")
    return driver.load("x")


def signalled_twice() -> Stored:
    driver = begun(gates())
    driver.claim("x")
    driver.report("x", Opened())
    driver.signal("x", "first", "on")
    driver.signal("x", "second", "on")
    return driver.load("x")


def discarded() -> Stored:
    driver = begun(gates())
    driver.signal("x", "second", "on")
    driver.ask("x", Cancelled())
    return driver.load("x")


# -- damages -----------------------------------------------------------------------------------------------------------

LATER = 9_000_000_000


def with_row(**fields: Any) -> Damage:
    return lambda stored: replace(stored, row=replace(stored.row, **fields))


def with_entry(place: int, /, **fields: Any) -> Damage:
    """Change one entry; the next line of the case says where else it must show, if it must."""

    def damage(stored: Stored) -> Stored:
        journal = [replace(entry, **fields) if entry.seq == place else entry for entry in stored.journal]
        return replace(stored, journal=tuple(journal))

    return damage


def with_more(*entries: Entry, at_once: bool = False, **fields: Any) -> Damage:
    """Append entries to a row that knows of them: each a Change of its own, or all to the last Change."""

    def damage(stored: Stored) -> Stored:
        end, last = len(stored.journal), stored.journal[-1]
        more = [
            replace(entry, seq=end + place, at=last.at, change=last.change if at_once else f"more {place}")
            for place, entry in enumerate(entries, 1)
        ]
        row = replace(stored.row, revision=end + len(more), **fields)
        return replace(stored, row=row, journal=(*stored.journal, *more))

    return damage


def without_entry(seq: int) -> Damage:
    return lambda stored: replace(stored, journal=tuple(entry for entry in stored.journal if entry.seq != seq))


def with_signal(id: str, /, **fields: Any) -> Damage:
    def damage(stored: Stored) -> Stored:
        signals = [replace(signal, **fields) if signal.id == id else signal for signal in stored.signals]
        return replace(stored, signals=tuple(signals))

    return damage


def both(*damages: Damage) -> Damage:
    def damage(stored: Stored) -> Stored:
        for one in damages:
            stored = one(stored)
        return stored

    return damage
