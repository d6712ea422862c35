"""Deletes what ended long ago: families whole, the longest ended first, in one short transaction."""

from __future__ import annotations

import sqlite3
from typing import Final

from stepwell.storage._sqlite._times import microseconds

__all__ = ["purge"]

_EARLIEST: Final = -(2**63)

DOOMED: Final = """
    WITH RECURSIVE
    roots AS MATERIALIZED (
        SELECT id, ended_at
          FROM executions AS root INDEXED BY executions_ended
         WHERE ended_at <= :until AND parent IS NULL AND ended_at IS NOT NULL
           AND NOT EXISTS (
               WITH RECURSIVE below (id, ended_at) AS (
                   SELECT child.id, child.ended_at
                     FROM executions AS child INDEXED BY executions_of_parent
                    WHERE child.parent = root.id
                    UNION ALL
                   SELECT child.id, child.ended_at
                     FROM below CROSS JOIN executions AS child INDEXED BY executions_of_parent
                    WHERE child.parent = below.id)
               SELECT 1 FROM below WHERE below.ended_at IS NULL OR below.ended_at > :until)
         ORDER BY ended_at
         LIMIT :limit),
    family (id, root, ended_at) AS (
        SELECT id, id, ended_at FROM roots
         UNION ALL
        SELECT child.id, family.root, family.ended_at
          FROM family CROSS JOIN executions AS child INDEXED BY executions_of_parent
         WHERE child.parent = family.id)
    SELECT json_group_array(id), count(*)
      FROM (SELECT id, count(*) OVER place AS total, dense_rank() OVER place AS number
              FROM family
            WINDOW place AS (ORDER BY ended_at, root))
     WHERE total <= :limit OR number = 1
"""
"""The ids of what goes. `total` counts all families up to a row's own, that one whole: its members are peers."""

DELETE: Final = (
    "DELETE FROM journal WHERE execution_id IN (SELECT value FROM json_each(?))",
    "DELETE FROM signals WHERE execution_id IN (SELECT value FROM json_each(?))",
    "DELETE FROM inputs WHERE execution_id IN (SELECT value FROM json_each(?))",
    "DELETE FROM executions INDEXED BY executions_id WHERE id IN (SELECT value FROM json_each(?))",
)


def purge(connection: sqlite3.Connection, age: float, limit: int, now: int) -> int:
    """Delete up to *limit* executions that ended *age* seconds before *now* or earlier; return how many."""
    until = max(now - microseconds(age), _EARLIEST)
    ids, count = connection.execute(DOOMED, {"until": until, "limit": limit}).fetchone()
    if count:
        for statement in DELETE:
            connection.execute(statement, (ids,))
    return int(count)
