"""Claims, renewals and definitions: one short transaction each, on whatever connection holds the write lock."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from stepwell._model import Definition, Kind, Status
from stepwell.storage._protocol import Capability, Claims, Lease, Renewal
from stepwell.storage._sqlite._rows import json, stored_all
from stepwell.storage._sqlite._times import later

__all__ = ["claim", "define", "renew"]

DUE: Final = """
    SELECT json_extract(pair.value, '$[0]'),
           (SELECT json_group_array(json_array(due_at, id))
              FROM (SELECT due_at, id
                      FROM executions INDEXED BY executions_due
                     WHERE workflow = json_extract(pair.value, '$[0]')
                       AND version = json_extract(pair.value, '$[1]')
                       AND due_at <= ?
                     ORDER BY due_at
                     LIMIT ?))
      FROM json_each(?) AS pair
"""
"""The longest due of each (workflow, version), as many as could be claimed: a bounded range of the index for each."""

_CLAIMED: Final = f"""
    INSERT OR FAIL INTO journal (
        execution_id, seq, kind, step, visit, attempt, worker, token, route, ref, payload, change, at)
    SELECT id, revision + 1, '{Kind.CLAIMED.value}', step, visit, attempt + (status <> '{Status.SUSPENDED.value}'),
           ?, token + 1, NULL, status, NULL, '', ?
      FROM executions INDEXED BY executions_id
     WHERE id IN (SELECT value FROM json_each(?))
"""  # noqa: S608 (made of constants)
_CLAIM: Final = f"""
    UPDATE OR FAIL executions INDEXED BY executions_id
       SET attempt = attempt + (status <> '{Status.SUSPENDED.value}'), status = '{Status.RUNNING.value}',
           revision = revision + 1, token = token + 1, worker = ?, due_at = ?, updated_at = ?
     WHERE id IN (SELECT value FROM json_each(?))
"""  # noqa: S608 (made of constants)

_HELD: Final = f"""
    SELECT json_group_array(json_array(id, token))
      FROM executions INDEXED BY executions_held
     WHERE worker = ? AND status = '{Status.RUNNING.value}'
"""  # noqa: S608 (made of constants)
"""In one row: the thread gives the interpreter away before each, and a busy loop is slow to hand it back."""
_RENEW: Final = """
    UPDATE OR FAIL executions INDEXED BY executions_id SET due_at = ?
     WHERE id IN (SELECT value FROM json_each(?))
"""

_DEFINED: Final = "SELECT digest, graph FROM workflows WHERE workflow = ? AND version = ?"
_IN_USE: Final = """
    SELECT EXISTS (
        SELECT 1 FROM executions INDEXED BY executions_live WHERE workflow = ? AND version = ? AND ended_at IS NULL)
"""
_DEFINE: Final = """
    INSERT INTO workflows (workflow, version, digest, graph) VALUES (?, ?, ?, ?)
        ON CONFLICT (workflow, version) DO UPDATE SET digest = excluded.digest, graph = excluded.graph
"""

_LEASES: Final = msgspec.json.Decoder(list[tuple[str, int]])
_PLACES: Final = msgspec.json.Decoder(list[tuple[int, str]])


def claim(
    connection: sqlite3.Connection,
    worker: str,
    capabilities: Iterable[Capability],
    *,
    limit: int,
    lease: float,
    held: Sequence[Lease],
    now: int,
) -> Claims:
    """Lease up to *limit* due executions to *worker*; tell which of *held* are lost."""
    ids = _due(connection, capabilities, limit, now) if limit else []
    if ids:
        found = json(ids)
        connection.execute(_CLAIMED, (worker, now, found))
        connection.execute(_CLAIM, (worker, later(now, lease), now, found))
    claimed = stored_all(connection, ids, now) if ids else ()
    still_held = _held(connection, worker) if held else frozenset[Lease]()
    return Claims(claimed, tuple(one for one in held if one not in still_held))


def _due(connection: sqlite3.Connection, capabilities: Iterable[Capability], limit: int, now: int) -> list[str]:
    """Return the ids of what to claim, longest due first: the first of each workflow has a place before all others."""
    pairs = list(dict.fromkeys(capabilities))
    workflows: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for workflow, places in connection.execute(DUE, (now, limit, json(pairs))).fetchall():
        workflows[workflow] += _PLACES.decode(places)
    queues = [sorted(places) for places in workflows.values() if places]
    firsts = sorted(places[0] for places in queues)
    others = sorted(place for places in queues for place in places[1:limit])
    chosen = sorted((firsts + others)[:limit])
    return [id for _, id in chosen]


def renew(connection: sqlite3.Connection, worker: str, leases: Sequence[Lease], *, lease: float, now: int) -> Renewal:
    """Move the end of those *leases* that are the worker's; tell which aren't, and which weren't named."""
    held = _held(connection, worker)
    named = frozenset(leases)
    valid = [one.id for one in held & named]
    if valid:
        connection.execute(_RENEW, (later(now, lease), json(valid)))
    return Renewal(
        lost=tuple(one for one in leases if one not in held),
        unknown=tuple(sorted(held - named, key=_by_id)),
    )


def _held(connection: sqlite3.Connection, worker: str) -> frozenset[Lease]:
    (found,) = connection.execute(_HELD, (worker,)).fetchone()
    return frozenset(Lease(id, token) for id, token in _LEASES.decode(found))


def _by_id(lease: Lease) -> str:
    return lease.id


def define(connection: sqlite3.Connection, definitions: Iterable[Definition]) -> tuple[Definition, ...]:
    """Make *definitions* known; return those stored ones that contradict and are in use."""
    contradicting: list[Definition] = []
    for definition in definitions:
        pair = (definition.workflow, definition.version)
        stored = connection.execute(_DEFINED, pair).fetchone()
        if stored is not None and stored[0] != definition.digest and connection.execute(_IN_USE, pair).fetchone()[0]:
            contradicting.append(Definition(*pair, *stored))
        elif stored != (definition.digest, definition.graph):
            connection.execute(_DEFINE, (*pair, definition.digest, definition.graph))
    return tuple(contradicting)
