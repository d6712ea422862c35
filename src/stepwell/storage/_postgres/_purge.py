"""Deletes what ended long ago: families whole, the longest ended first, in one statement that waits for nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stepwell.storage._postgres._times import microseconds

if TYPE_CHECKING:
    from stepwell.storage._postgres._database import Connection

__all__ = ["purge", "statement"]

_PURGE: Final = """
    WITH RECURSIVE clock AS MATERIALIZED (
        SELECT coalesce($1::bigint, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint) - $2::bigint
               AS until),
    roots AS MATERIALIZED (
        SELECT ended.*
          FROM clock
         CROSS JOIN LATERAL (
               SELECT e.id, e.revision, e.ended_at
                 FROM {s}.executions e
                WHERE e.ended_at <= clock.until AND e.parent IS NULL
                  AND NOT EXISTS (
                      WITH RECURSIVE below AS (
                          SELECT c.id, c.ended_at FROM {s}.executions c WHERE c.parent = e.id
                           UNION ALL
                          SELECT c.id, c.ended_at
                            FROM below b
                           CROSS JOIN LATERAL (
                                 SELECT c.id, c.ended_at FROM {s}.executions c WHERE c.parent = b.id OFFSET 0) AS c)
                      SELECT FROM below b WHERE b.ended_at IS NULL OR b.ended_at > clock.until)
                ORDER BY e.ended_at
                LIMIT $3
                  FOR UPDATE SKIP LOCKED) AS ended),
    family AS (
        SELECT e.id, e.revision, r.id AS root, r.ended_at
          FROM roots r JOIN {s}.executions e ON e.id = r.id AND e.revision = r.revision
         UNION ALL
        SELECT c.id, c.revision, f.root, f.ended_at
          FROM family f
         CROSS JOIN LATERAL (
               SELECT c.id, c.revision FROM {s}.executions c WHERE c.parent = f.id OFFSET 0) AS c),
    locked AS MATERIALIZED (
        SELECT f.id, f.root, f.ended_at, l.id IS NOT NULL AS is_ours
          FROM clock CROSS JOIN family f
          LEFT JOIN LATERAL (
               SELECT e.id
                 FROM {s}.executions e
                WHERE e.id = f.id AND e.revision = f.revision AND e.ended_at <= clock.until
                  FOR UPDATE SKIP LOCKED) AS l ON true),
    doomed AS MATERIALIZED (
        SELECT id
          FROM (SELECT w.id, count(*) OVER place AS total, dense_rank() OVER place AS number
                  FROM (SELECT l.*, bool_and(l.is_ours) OVER (PARTITION BY l.root) AS is_whole FROM locked l) AS w
                 WHERE w.is_whole
                WINDOW place AS (ORDER BY w.ended_at, w.root)) AS counted
         WHERE total <= $3 OR number = 1),
    lines AS (DELETE FROM {s}.journal WHERE execution_id = ANY (ARRAY(SELECT id FROM doomed))),
    messages AS (DELETE FROM {s}.signals WHERE execution_id = ANY (ARRAY(SELECT id FROM doomed))),
    deleted AS (DELETE FROM {s}.executions WHERE id = ANY (ARRAY(SELECT id FROM doomed)) RETURNING id)
    SELECT count(*) FROM deleted
"""
"""$1 clock, $2 age in microseconds, $3 limit.

A row that is locked may be newer than what the statement sees of it and of its children, so its revision must be the
one that is seen: else it was resumed meanwhile, perhaps has a new child, and stays. `total` counts all families up to
a row's own, that one whole: its members are peers.

Each step goes by an index, however many rows the planner expects: what is deleted is named as an array, and OFFSET
keeps children from being joined in any other way than one parent after the other.
"""


def statement(schema: str) -> str:
    """Return the statement for the schema of this (quoted) name."""
    return _PURGE.replace("{s}", schema)


async def purge(connection: Connection, schema: str, age: float, limit: int, now: int | None) -> int:
    """Delete up to *limit* executions that ended *age* seconds ago or earlier; return how many."""
    count: int = await connection.fetchval(statement(schema), now, microseconds(age), limit)
    return count
