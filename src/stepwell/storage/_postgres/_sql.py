"""The SQL of one schema: constant texts in which the name of the schema is put once, when the storage is made.

No value ever becomes part of a text; they go as parameters, a whole batch in one of JSON: as text, since on a
connection of the user's a codec for JSON may be set. `clock` is the time that a
statement lives in: the storage's own clock if it was given one, else when the server began the statement. It must be a
constant for the planner; `clock_timestamp()` isn't, and could not bound the index.

A table is never reached by a join alone: `= ANY(ARRAY(SELECT ...))` names the rows first. A plan that was made when the
table was empty may join from either side, and would read all of it; what isn't a join must use the index.
"""

from __future__ import annotations

from functools import cached_property
from typing import Final

from stepwell._model import Kind, Status

__all__ = ["Statements"]

_TERMINAL: Final = "('succeeded', 'failed', 'cancelled')"

_CLOCK: Final = """
    clock AS MATERIALIZED (
        SELECT coalesce($1::bigint, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint) AS now)"""

_LOCK_LIMIT: Final = "250ms"
"""How long a commit waits for others that are creating the same id: well below the server's `deadlock_timeout`, so that
a transaction of the user's which wants what the commit has created meanwhile is never the one that is ended."""

_SENT: Final = f"""
    settings AS MATERIALIZED (SELECT set_config('lock_timeout', '{_LOCK_LIMIT}', true) AS lock_timeout),
    sent AS MATERIALIZED (
        SELECT clock.now, t.*
          FROM settings, clock, json_to_recordset($2::text::json) AS t(
               id text, expects integer, change text, workflow text, version text, status text, step text,
               visit integer, attempt integer, revision integer, token integer, pausing boolean, worker text,
               moves boolean, due_after bigint, due_at bigint, times boolean, timer_after bigint, timer_at bigint,
               signals integer, parent text, tags json, metadata json, input text, output text, error text,
               entries json)
         WHERE settings.lock_timeout IS NOT NULL)"""
"""Changes as they come: `moves` and `times` say whether due and timer change; an `after` is counted from now."""

_DUE: Final = "least(sent.now::numeric + sent.due_after, 9223372036854775807)::bigint"
_TIMER: Final = "least(sent.now::numeric + sent.timer_after, 9223372036854775807)::bigint"
_NEW_DUE: Final = f"CASE WHEN sent.due_after IS NOT NULL THEN {_DUE} ELSE sent.due_at END"
_NEW_TIMER: Final = f"CASE WHEN sent.timer_after IS NOT NULL THEN {_TIMER} ELSE sent.timer_at END"

_ENTRY: Final = """
               kind text, step text, visit integer, attempt integer, worker text, token integer, route text, ref text,
               payload text"""

_JOURNAL_COLUMNS: Final = (
    "execution_id, seq, visit, attempt, token, at, kind, change, step, worker, route, ref, payload"
)

_ROW: Final = """
    e.id, e.workflow, e.version, e.status, e.step, e.visit, e.attempt, e.revision, e.token, e.due_at, e.timer_at,
    e.worker, e.pausing, e.signals, e.parent, e.tags::text AS tags, e.metadata::text AS metadata,
    e.output::text AS output, e.error::text AS error, e.created_at, e.updated_at, e.ended_at, e.input::text AS input"""

_LINES: Final = """
    (SELECT json_agg(json_build_object(
                'kind', j.kind, 'step', j.step, 'visit', j.visit, 'attempt', j.attempt, 'worker', j.worker,
                'token', j.token, 'route', j.route, 'ref', j.ref, 'payload', j.payload::text, 'change', j.change,
                'seq', j.seq, 'at', j.at) ORDER BY j.seq)::text
       FROM {s}.journal j WHERE j.execution_id = e.id) AS journal"""
_SIGNALS: Final = """
    CASE WHEN e.signals > 0 THEN (
        SELECT json_agg(json_build_object('id', g.id, 'step', g.step, 'payload', g.payload::text, 'state', g.state,
                                          'at', g.at) ORDER BY g.position)::text
          FROM {s}.signals g WHERE g.execution_id = e.id) END AS accepted"""


class _InSchema:
    """Texts that name the schema of this (quoted) name."""

    def __init__(self, schema: str) -> None:
        self.schema = schema

    def _in_schema(self, sql: str) -> str:
        return sql.replace("{s}", self.schema)


class _Commits(_InSchema):
    """What commits."""

    @cached_property
    def commit(self) -> str:
        """Commit Changes, each of which is a unit by itself; return those that were not.

        $1 clock, $2 Changes. Rows are locked in the order of their ids, and what somebody else has locked is passed
        over: `is_locked` says so. What is created may have to wait for another transaction that creates the same id;
        a moment later that is an error, and nothing was written.

        What was sent is handed on from part to part, never joined again.
        """
        return self._in_schema(f"""
    WITH {_CLOCK}, {_SENT},
    locked AS MATERIALIZED (
        SELECT s.*
          FROM (SELECT * FROM sent WHERE expects > 0 ORDER BY id) AS s
         CROSS JOIN LATERAL (
               SELECT FROM {{s}}.executions e WHERE e.id = s.id FOR NO KEY UPDATE SKIP LOCKED) AS l),
    changed AS (
        UPDATE {{s}}.executions e
           SET status = sent.status, step = sent.step, visit = sent.visit, attempt = sent.attempt,
               revision = sent.revision, token = sent.token, worker = sent.worker, pausing = sent.pausing,
               due_at = CASE WHEN sent.moves THEN {_NEW_DUE} ELSE e.due_at END,
               timer_at = CASE WHEN sent.times THEN {_NEW_TIMER} ELSE e.timer_at END,
               output = sent.output::json, error = sent.error::json, updated_at = sent.now,
               ended_at = CASE WHEN sent.status IN {_TERMINAL} THEN sent.now END
          FROM locked AS sent
         WHERE e.id = ANY(ARRAY(SELECT id FROM locked)) AND e.id = sent.id AND e.revision = sent.expects
           AND (sent.signals IS NULL OR sent.signals = e.signals)
        RETURNING e.id, sent.expects, sent.now, sent.change, sent.entries),
    created AS (
        INSERT INTO {{s}}.executions (
               id, workflow, version, status, step, visit, attempt, revision, token, signals, pausing, due_at, timer_at,
               created_at, updated_at, ended_at, worker, parent, tags, metadata, output, error, input)
        SELECT id, workflow, version, status, step, visit, attempt, revision, token, 0, pausing, {_NEW_DUE},
               {_NEW_TIMER}, now, now, CASE WHEN status IN {_TERMINAL} THEN now END, worker, parent, tags::jsonb,
               metadata::jsonb, output::json, error::json, input::json
          FROM sent
         WHERE expects = 0 AND coalesce(signals, 0) = 0
         ORDER BY id
            ON CONFLICT (id) DO NOTHING
        RETURNING id),
    done AS MATERIALIZED (
        SELECT id, expects, now, change, entries FROM changed
         UNION ALL
        SELECT id, expects, now, change, entries FROM sent
         WHERE CASE WHEN expects = 0 THEN id IN (SELECT id FROM created) END),
    written AS (
        INSERT INTO {{s}}.journal ({_JOURNAL_COLUMNS})
        SELECT done.id, done.expects + line.place, coalesce(line.visit, 0), coalesce(line.attempt, 0),
               coalesce(line.token, 0), done.now, line.kind, done.change, line.step, line.worker, line.route, line.ref,
               line.payload::json
          FROM done
         CROSS JOIN LATERAL ROWS FROM (json_to_recordset(done.entries) AS ({_ENTRY}))
               WITH ORDINALITY AS line(
                    kind, step, visit, attempt, worker, token, route, ref, payload, place))
    SELECT sent.id,
           sent.expects > 0 AND sent.id NOT IN (SELECT id FROM locked)
           AND (SELECT true FROM {{s}}.executions e WHERE e.id = sent.id) IS NOT NULL AS is_locked
      FROM sent
     WHERE sent.id NOT IN (SELECT id FROM done)
""")

    @cached_property
    def standings(self) -> str:
        """Lock executions in the order of their ids, and read them. $1 ids; leaves out what somebody has locked."""
        return self._in_schema("""
    SELECT s.id, l.*
      FROM (SELECT DISTINCT id FROM unnest($1::text[]) AS t(id) ORDER BY id) AS s
     CROSS JOIN LATERAL (
           SELECT e.revision, e.signals, e.status, e.step, e.visit, e.attempt, e.token, e.due_at, e.timer_at, e.worker,
                  e.pausing, e.output::text AS output, e.error::text AS error, e.updated_at, e.ended_at
             FROM {s}.executions e WHERE e.id = s.id FOR NO KEY UPDATE SKIP LOCKED) AS l
""")

    @cached_property
    def wait(self) -> str:
        """Wait until nobody else has locked these executions, and lock them. $1 ids."""
        return self._in_schema("SELECT FROM {s}.executions WHERE id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE")

    @cached_property
    def clock_and_locked(self) -> str:
        """Tell the time, which of these executions somebody else has locked, and which signals there are.

        $1 clock, $2 ids that could not be locked, $3 executions and $4 ids of signals.
        """
        return self._in_schema(f"""
    WITH {_CLOCK}
    SELECT clock.now,
           ARRAY(SELECT e.id FROM {{s}}.executions e WHERE e.id = ANY($2::text[])) AS locked,
           ARRAY(SELECT ARRAY[g.execution_id, g.id]
                   FROM {{s}}.signals g WHERE g.execution_id = ANY($3::text[]) AND g.id = ANY($4::text[])) AS taken
      FROM clock
""")

    @cached_property
    def write(self) -> str:
        """Write what was decided under lock: $1 new rows, $2 changed rows, $3 lines, $4 signals, $5 marks.

        Returns how many new rows were written: one may have been created by somebody else meanwhile.
        """
        return self._in_schema(f"""
    WITH rows AS MATERIALIZED (
        SELECT *
          FROM json_to_recordset($2::text::json) AS t(
               id text, status text, step text, visit integer, attempt integer, revision integer, token integer,
               signals integer, pausing boolean, due_at bigint, timer_at bigint, updated_at bigint, ended_at bigint,
               worker text, output text, error text)),
    marks AS MATERIALIZED (
        SELECT * FROM json_to_recordset($5::text::json) AS t(execution_id text, id text, state text)),
    created AS (
        INSERT INTO {{s}}.executions (
               id, workflow, version, status, step, visit, attempt, revision, token, signals, pausing, due_at, timer_at,
               created_at, updated_at, ended_at, worker, parent, tags, metadata, output, error, input)
        SELECT id, workflow, version, status, step, visit, attempt, revision, token, signals, pausing, due_at, timer_at,
               updated_at, updated_at, ended_at, worker, parent, tags, metadata, output::json, error::json, input::json
          FROM json_to_recordset($1::text::json) AS t(
               id text, workflow text, version text, status text, step text, visit integer, attempt integer,
               revision integer, token integer, signals integer, pausing boolean, due_at bigint, timer_at bigint,
               updated_at bigint, ended_at bigint, worker text, parent text, tags jsonb, metadata jsonb, output text,
               error text, input text)
         ORDER BY id
            ON CONFLICT (id) DO NOTHING
        RETURNING id),
    changed AS (
        UPDATE {{s}}.executions e
           SET status = t.status, step = t.step, visit = t.visit, attempt = t.attempt, revision = t.revision,
               token = t.token, signals = t.signals, worker = t.worker, pausing = t.pausing, due_at = t.due_at,
               timer_at = t.timer_at, output = t.output::json, error = t.error::json, updated_at = t.updated_at,
               ended_at = t.ended_at
          FROM rows t
         WHERE e.id = ANY(ARRAY(SELECT id FROM rows)) AND e.id = t.id
        RETURNING e.id),
    written AS (
        INSERT INTO {{s}}.journal ({_JOURNAL_COLUMNS})
        SELECT t.execution_id, t.seq, t.visit, t.attempt, t.token, t.at, t.kind, t.change, t.step, t.worker, t.route,
               t.ref, t.payload::json
          FROM json_to_recordset($3::text::json) AS t(
               execution_id text, seq integer, at bigint, change text, {_ENTRY})),
    laid AS (
        INSERT INTO {{s}}.signals (execution_id, id, position, at, step, state, payload)
        SELECT execution_id, id, "position", at, step, state, payload::json
          FROM json_to_recordset($4::text::json) AS t(
               execution_id text, id text, "position" integer, at bigint, step text, state text, payload text)),
    marked AS (
        UPDATE {{s}}.signals g SET state = t.state
          FROM marks t
         WHERE g.execution_id = ANY(ARRAY(SELECT execution_id FROM marks)) AND g.id = ANY(ARRAY(SELECT id FROM marks))
           AND g.execution_id = t.execution_id AND g.id = t.id)
    SELECT (SELECT count(*) FROM created) AS created, (SELECT count(*) FROM changed) AS changed
""")


class Statements(_Commits):
    """All statements, for the schema of this (quoted) name."""

    @cached_property
    def claim(self) -> str:
        """Lease due executions: $1 clock, $2 workflows and $3 versions, $4 limit, $5 worker, $6 lease in microseconds.

        Looks at what came to be due from $7 on, and before $8 (`_horizon`).
        One bounded range of the index for each pair, in order, whatever else is due; the first of each workflow comes
        before all others. `found` is the status before; `journal` ends before the claim's own entry.
        """
        return self._in_schema(f"""
    WITH {_CLOCK},
    candidates AS MATERIALIZED (
        SELECT due.*
          FROM clock CROSS JOIN (SELECT DISTINCT p.w, p.v FROM unnest($2::text[], $3::text[]) AS p(w, v)) AS p
         CROSS JOIN LATERAL (
               SELECT e.id, e.workflow, e.status, e.due_at
                 FROM {{s}}.executions e
                WHERE e.workflow = p.w AND e.version = p.v AND e.due_at <= clock.now
                  AND e.due_at >= $7 AND e.due_at < $8
                ORDER BY e.due_at
                LIMIT $4
                  FOR NO KEY UPDATE SKIP LOCKED) AS due),
    chosen AS MATERIALIZED (
        SELECT id, status, due_at
          FROM (SELECT c.*, row_number() OVER (PARTITION BY c.workflow ORDER BY c.due_at, c.id) AS place
                  FROM candidates c) AS ranked
         ORDER BY place > 1, due_at, id
         LIMIT $4),
    claimed AS (
        UPDATE {{s}}.executions AS e
           SET attempt = e.attempt + (chosen.status <> '{Status.SUSPENDED.value}')::integer,
               status = '{Status.RUNNING.value}', revision = e.revision + 1, token = e.token + 1, worker = $5,
               due_at = least(clock.now::numeric + $6::bigint, 9223372036854775807)::bigint, updated_at = clock.now
          FROM chosen, clock
         WHERE e.id = ANY(ARRAY(SELECT id FROM chosen)) AND e.id = chosen.id
        RETURNING chosen.status AS found, chosen.due_at AS was_due_at, e.*),
    written AS (
        INSERT INTO {{s}}.journal ({_JOURNAL_COLUMNS})
        SELECT id, revision, visit, attempt, token, updated_at, '{Kind.CLAIMED.value}', '', step, worker, NULL, found,
               NULL
          FROM claimed)
    SELECT e.found, e.was_due_at, clock.now AS now, {_ROW}, {_LINES}, {_SIGNALS}
      FROM claimed e, clock
     ORDER BY e.was_due_at, e.id
""")

    @cached_property
    def held(self) -> str:
        """Return the leases of a worker. $1 worker."""
        return self._in_schema(
            f"SELECT id, token FROM {{s}}.executions WHERE worker = $1 AND status = '{Status.RUNNING.value}'"
        )

    @cached_property
    def renew(self) -> str:
        """Move the end of leases: $1 clock, $2 worker, $3 ids, $4 tokens, $5 lease in microseconds; return which moved.

        Passes over what somebody else has locked. Nothing but the id may lead to a row: by the worker, all that it
        holds would be read for each of them.
        """
        return self._in_schema(f"""
    WITH {_CLOCK},
    locked AS MATERIALIZED (
        SELECT l.id
          FROM (SELECT t.id, t.token FROM unnest($3::text[], $4::integer[]) AS t(id, token) ORDER BY t.id) AS s
         CROSS JOIN LATERAL (
               SELECT e.id FROM {{s}}.executions e
                WHERE e.id = s.id AND e.token = s.token AND coalesce(e.worker, '') = $2
                  AND e.status = '{Status.RUNNING.value}'
                  FOR NO KEY UPDATE SKIP LOCKED) AS l)
    UPDATE {{s}}.executions e
       SET due_at = least(clock.now::numeric + $5::bigint, 9223372036854775807)::bigint
      FROM clock
     WHERE e.id = ANY(ARRAY(SELECT id FROM locked))
    RETURNING e.id
""")

    @cached_property
    def load(self) -> str:
        """Return an execution with its journal and its signals, and the time. $1 clock, $2 id."""
        return self._in_schema(f"""
    WITH {_CLOCK}
    SELECT clock.now AS now, {_ROW}, {_LINES}, {_SIGNALS} FROM clock, {{s}}.executions e WHERE e.id = $2
""")

    @cached_property
    def let_go(self) -> str:
        """Fail as long as somebody else holds the row of an execution. $1 id."""
        return self._in_schema("SELECT FROM {s}.executions WHERE id = $1 FOR NO KEY UPDATE NOWAIT")

    @cached_property
    def journal(self) -> str:
        """Return entries of a journal. $1 id, $2 after which and $3 up to which seq."""
        return self._in_schema("""
    SELECT kind, step, visit, attempt, worker, token, route, ref, payload::text AS payload, change, seq, at
      FROM {s}.journal WHERE execution_id = $1 AND seq > $2 AND seq <= $3 ORDER BY seq
""")

    @cached_property
    def find(self) -> str:
        """The beginning of each search; see `_find`."""
        return self._in_schema(f"SELECT {_ROW} FROM {{s}}.executions e WHERE true")

    @cached_property
    def define(self) -> str:
        """Make definitions known, unless one that contradicts is in use. $1 workflow, $2 version, $3 digest, $4 graph.

        Returns the stored one where it contradicts.
        """
        return self._in_schema("""
    WITH known AS MATERIALIZED (
        SELECT w.digest, w.graph::text AS graph,
               w.digest <> $3 AND EXISTS (
                   SELECT FROM {s}.executions e
                    WHERE e.workflow = $1 AND e.version = $2 AND e.ended_at IS NULL) AS is_in_use
          FROM {s}.workflows w WHERE w.workflow = $1 AND w.version = $2),
    written AS (
        INSERT INTO {s}.workflows AS w (workflow, version, digest, graph)
        SELECT $1, $2, $3, $4::text::json WHERE NOT EXISTS (SELECT FROM known WHERE is_in_use)
            ON CONFLICT (workflow, version) DO UPDATE SET digest = excluded.digest, graph = excluded.graph
         WHERE w.digest <> excluded.digest OR w.graph::text <> excluded.graph::text)
    SELECT digest, graph FROM known WHERE is_in_use
""")
