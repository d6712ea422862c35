-- The tables of Stepwell in SQLite.
--
-- Times are integers, microseconds since the epoch. Payloads (input, output, error, payload, graph) are JSON text that
-- the storage never looks into; tags and metadata are JSON that the engine has checked, and are searched.
-- There are no foreign keys: a row, its input and its journal are written together, and deleted together by a purge.
--
--   executions   one row each: where it stands, and when a worker should look at it
--   inputs       what each execution was started with, once
--   journal      everything that happened, append-only; the truth that the row repeats
--   signals      messages for waits, and what became of them
--   workflows    the graphs that executions may use, one per name and version
--   migrations   which of these files were applied

-- Row of an execution. `revision` is the seq of its last journal entry and guards every update; `token` is raised by
-- each claim and names the lease. `due_at` is the one time that counts: now if queued, the retry or the timeout if
-- waiting, the end of the lease while running, NULL if there is nothing to do.
-- It is rewritten at every step, so it is kept small: the input, which may be large, has a table of its own.
CREATE TABLE executions (
    id         TEXT    NOT NULL,
    workflow   TEXT    NOT NULL,
    version    TEXT    NOT NULL,
    status     TEXT    NOT NULL,
    step       TEXT,
    visit      INTEGER NOT NULL,
    attempt    INTEGER NOT NULL,
    revision   INTEGER NOT NULL,
    token      INTEGER NOT NULL,
    due_at     INTEGER,
    timer_at   INTEGER,
    worker     TEXT,
    pausing    INTEGER NOT NULL,
    signals    INTEGER NOT NULL,
    parent     TEXT,
    tags       TEXT    NOT NULL,
    metadata   TEXT    NOT NULL,
    output     TEXT,
    error      TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    ended_at   INTEGER
) STRICT;

-- The way to a row. Not the primary key itself, so that updates can name it (INDEXED BY) and never scan.
CREATE UNIQUE INDEX executions_id ON executions (id);

-- Claims: one bounded range per (workflow, version), already in order, whatever else is due beside it.
CREATE INDEX executions_due ON executions (workflow, version, due_at) WHERE due_at IS NOT NULL;

-- Renewals: the leases that a worker holds, a handful.
CREATE INDEX executions_held ON executions (worker) WHERE worker IS NOT NULL;

-- May a definition be replaced? Not while an execution that hasn't ended uses it.
CREATE INDEX executions_live ON executions (workflow, version) WHERE ended_at IS NULL;

-- Purges: what ended, longest ended first. Children go with their parents, so only those without one are looked for.
CREATE INDEX executions_ended ON executions (ended_at) WHERE ended_at IS NOT NULL AND parent IS NULL;

-- Pages, newest first: of all, of one workflow, of one status, of one parent's children.
CREATE INDEX executions_created ON executions (created_at, id);
CREATE INDEX executions_of_workflow ON executions (workflow, created_at, id);
CREATE INDEX executions_of_status ON executions (status, created_at, id);
CREATE INDEX executions_of_parent ON executions (parent, created_at, id) WHERE parent IS NOT NULL;

-- What an execution was started with. Written once.
CREATE TABLE inputs (
    execution_id TEXT NOT NULL PRIMARY KEY,
    input        TEXT NOT NULL
) STRICT;

-- The journal: seq runs from 1 without gaps in each execution. Written once, never changed.
-- Entries lie in the order of their commits, so that a commit for a hundred executions appends to a few pages, where
-- WITHOUT ROWID would rewrite a hundred (measured: a third fewer steps per second).
CREATE TABLE journal (
    execution_id TEXT    NOT NULL,
    seq          INTEGER NOT NULL,
    kind         TEXT    NOT NULL,
    step         TEXT,
    visit        INTEGER NOT NULL,
    attempt      INTEGER NOT NULL,
    worker       TEXT,
    token        INTEGER NOT NULL,
    route        TEXT,
    ref          TEXT,
    payload      TEXT,
    change       TEXT    NOT NULL,
    at           INTEGER NOT NULL,
    PRIMARY KEY (execution_id, seq)
) STRICT;

-- Signals that were accepted: `position` counts them from 1 in each execution, `state` is pending, used or discarded.
CREATE TABLE signals (
    execution_id TEXT    NOT NULL,
    id           TEXT    NOT NULL,
    position     INTEGER NOT NULL,
    step         TEXT    NOT NULL,
    payload      TEXT    NOT NULL,
    state        TEXT    NOT NULL,
    at           INTEGER NOT NULL,
    PRIMARY KEY (execution_id, id)
) STRICT;

-- Definitions. The digest covers what an execution depends on; the graph is for people and may change its labels.
CREATE TABLE workflows (
    workflow TEXT NOT NULL,
    version  TEXT NOT NULL,
    digest   TEXT NOT NULL,
    graph    TEXT NOT NULL,
    PRIMARY KEY (workflow, version)
) STRICT, WITHOUT ROWID;

-- Which files were applied. The highest number is the version of the schema.
CREATE TABLE migrations (
    number INTEGER NOT NULL PRIMARY KEY,
    name   TEXT    NOT NULL
) STRICT;
