-- The tables of Stepwell in Postgres. `stepwell` stands for the schema that the storage was told to use.
--
-- Times are bigint, microseconds since the epoch: to_timestamp(due_at / 1e6) shows one. Payloads (input, output, error,
-- payload, graph) are json, which keeps every character, where jsonb would refuse \u0000 and change numbers; only tags
-- and metadata, which the engine has checked and which are searched, are jsonb. All text compares byte by byte.
--
--   executions   one row each: where it stands, and when a worker should look at it
--   journal      everything that happened, append-only; the truth that the row repeats
--   signals      messages for waits, and what became of them
--   workflows    the graphs that executions may use, one per name and version
--   migrations   which of these files were applied
--
-- Nothing is deleted but by a purge: an execution with its journal and its signals, and its children with it.
--
-- Every statement that changes an execution finds it by its id, takes its row lock with SKIP LOCKED in the order of the
-- ids, and so never waits for another while it holds one: there is nothing to deadlock. journal and signals begin their
-- keys with the execution's id, so all tables could be partitioned (or distributed) by a hash of it.

-- Row of an execution. `revision` is the seq of its last journal entry and guards every update; `token` is raised by
-- each claim and names the lease. `due_at` is the one time that counts: now if queued, the retry or the timeout if
-- waiting, the end of the lease while running, NULL if there is nothing to do.
-- Going on to the next step under a lease changes no indexed column, and the fillfactor leaves room on the page: such
-- an update is heap-only (HOT) and writes no index. A larger input is kept out of line, so that it isn't written again.
CREATE TABLE stepwell.executions (
    id         text COLLATE "C" NOT NULL,
    workflow   text COLLATE "C" NOT NULL,
    version    text COLLATE "C" NOT NULL,
    status     text COLLATE "C" NOT NULL,
    step       text COLLATE "C",
    visit      integer          NOT NULL,
    attempt    integer          NOT NULL,
    revision   integer          NOT NULL,
    token      integer          NOT NULL,
    signals    integer          NOT NULL,
    pausing    boolean          NOT NULL,
    due_at     bigint,
    timer_at   bigint,
    created_at bigint           NOT NULL,
    updated_at bigint           NOT NULL,
    ended_at   bigint,
    worker     text COLLATE "C",
    parent     text COLLATE "C",
    tags       jsonb            NOT NULL,
    metadata   jsonb            NOT NULL,
    output     json,
    error      json,
    input      json             NOT NULL,
    CONSTRAINT executions_id PRIMARY KEY (id)
) WITH (
    fillfactor = 70,
    toast_tuple_target = 512,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_insert_scale_factor = 0.1,
    autovacuum_analyze_scale_factor = 0.05,
    autovacuum_vacuum_cost_delay = 0
);

-- Claims: one bounded range per (workflow, version), already in order, whatever else is due beside it.
CREATE INDEX executions_due ON stepwell.executions (workflow, version, due_at) WHERE due_at IS NOT NULL;

-- Renewals: the leases that a worker holds, a handful.
CREATE INDEX executions_held ON stepwell.executions (worker) WHERE worker IS NOT NULL;

-- May a definition be replaced? Not while an execution that hasn't ended uses it.
CREATE INDEX executions_live ON stepwell.executions (workflow, version) WHERE ended_at IS NULL;

-- Purges: what ended, longest ended first. Children go with their parents, so only those without one are looked for.
CREATE INDEX executions_ended ON stepwell.executions (ended_at) WHERE ended_at IS NOT NULL AND parent IS NULL;

-- Pages, newest first: of all, of one workflow, of what ended badly, of one parent's children. The few of one moment are
-- put in order as they are read: an index that holds the id as well may be searched for it from end to end, by a plan that
-- was made when the table was empty.
CREATE INDEX executions_created ON stepwell.executions (created_at);
CREATE INDEX executions_of_workflow ON stepwell.executions (workflow, created_at);
CREATE INDEX executions_unhappy ON stepwell.executions (status, created_at)
    WHERE status IN ('failed', 'cancelled', 'paused');
CREATE INDEX executions_of_parent ON stepwell.executions (parent, created_at) WHERE parent IS NOT NULL;

-- The journal: seq runs from 1 without gaps in each execution. Written once, never changed.
CREATE TABLE stepwell.journal (
    execution_id text COLLATE "C" NOT NULL,
    seq          integer          NOT NULL,
    visit        integer          NOT NULL,
    attempt      integer          NOT NULL,
    token        integer          NOT NULL,
    at           bigint           NOT NULL,
    kind         text COLLATE "C" NOT NULL,
    change       text COLLATE "C" NOT NULL,
    step         text COLLATE "C",
    worker       text COLLATE "C",
    route        text COLLATE "C",
    ref          text COLLATE "C",
    payload      json,
    CONSTRAINT journal_seq PRIMARY KEY (execution_id, seq)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.1);

-- Signals that were accepted: `position` counts them from 1 in each execution, `state` is pending, used or discarded.
CREATE TABLE stepwell.signals (
    execution_id text COLLATE "C" NOT NULL,
    id           text COLLATE "C" NOT NULL,
    position     integer          NOT NULL,
    at           bigint           NOT NULL,
    step         text COLLATE "C" NOT NULL,
    state        text COLLATE "C" NOT NULL,
    payload      json             NOT NULL,
    CONSTRAINT signals_id PRIMARY KEY (execution_id, id)
);

-- Definitions. The digest covers what an execution depends on; the graph is for people and may change its labels.
CREATE TABLE stepwell.workflows (
    workflow text COLLATE "C" NOT NULL,
    version  text COLLATE "C" NOT NULL,
    digest   text COLLATE "C" NOT NULL,
    graph    json             NOT NULL,
    CONSTRAINT workflows_key PRIMARY KEY (workflow, version)
);

-- Which files were applied. The highest number is the version of the schema.
CREATE TABLE stepwell.migrations (
    number integer          NOT NULL,
    name   text COLLATE "C" NOT NULL,
    CONSTRAINT migrations_number PRIMARY KEY (number)
);
