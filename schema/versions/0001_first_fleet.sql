-- The store of the first fleet. Times are *_at = wall clock, milliseconds since 1970 UTC; durations *_ms or *_us.
-- Where rows are written often, a list of states is a chain of OR: for IN with more than two values SQLite builds a table of its
-- own at each write (measured: twice the time of a job's whole life).
-- Ids of jobs, batches and finalizes come from one rising sequence and are never used again (store_meta id_floor).
-- migrate:up
CREATE TABLE store_meta (
    key TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE user (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 128),
    email TEXT,
    role TEXT NOT NULL DEFAULT 'operator' CHECK (role IN ('viewer', 'operator', 'admin')),
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE project (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 128),
    owner_id INTEGER REFERENCES user (id),
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX project_owner ON project (owner_id);

-- sealed_by_id has no foreign key: adding it to a database with data is a migration of its own.
CREATE TABLE "case" (
    id INTEGER PRIMARY KEY,
    project_id INTEGER REFERENCES project (id),
    title TEXT NOT NULL CHECK (length(title) BETWEEN 1 AND 256),
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'sealed')),
    sealed_by_id INTEGER,
    sealed_at INTEGER,
    created_at INTEGER NOT NULL,
    CHECK ((state = 'sealed') = (sealed_at IS NOT NULL))
) STRICT;
CREATE INDEX case_project ON "case" (project_id);

CREATE TABLE task (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 64),
    input TEXT NOT NULL CHECK (input IN ('lines', 'json', 'none')),
    finalize TEXT NOT NULL DEFAULT '',
    rate_n INTEGER NOT NULL DEFAULT 0 CHECK (rate_n >= 0),
    rate_window_ms INTEGER NOT NULL DEFAULT 60000,
    max_attempts INTEGER NOT NULL DEFAULT 3 CHECK (max_attempts BETWEEN 1 AND 1000),
    overrides TEXT NOT NULL DEFAULT '{}' CHECK (json_valid (overrides)),
    first_seen_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL, -- announced by a worker; 0 = never
    CHECK (rate_n = 0 OR rate_window_ms > 0)
) STRICT;

-- How many jobs of a task are in a state; kept up once a turn.
CREATE TABLE task_count (
    task_id INTEGER NOT NULL REFERENCES task (id) ON DELETE CASCADE,
    state TEXT NOT NULL,
    n INTEGER NOT NULL CHECK (n >= 0),
    PRIMARY KEY (task_id, state)
) STRICT, WITHOUT ROWID;

CREATE TABLE schedule (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 64),
    task_id INTEGER NOT NULL REFERENCES task (id),
    expression TEXT NOT NULL,
    zone TEXT NOT NULL DEFAULT 'UTC',
    catch_up TEXT NOT NULL DEFAULT 'last' CHECK (catch_up IN ('none', 'last', 'all')),
    params TEXT NOT NULL DEFAULT '{}' CHECK (json_valid (params)),
    owner TEXT NOT NULL DEFAULT 'config' CHECK (owner IN ('config', 'user')),
    paused INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)),
    last_nominal_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX schedule_task ON schedule (task_id);

CREATE TABLE processing_job (
    id INTEGER PRIMARY KEY,
    task_id INTEGER NOT NULL REFERENCES task (id),
    state TEXT NOT NULL
        CHECK (state = 'receiving' OR state = 'pending' OR state = 'processing' OR state = 'finalizing' OR
               state = 'completed' OR state = 'failed' OR state = 'cancelled'),
    priority INTEGER NOT NULL DEFAULT 0 CHECK (priority BETWEEN -100 AND 100),
    epoch INTEGER NOT NULL DEFAULT 1 CHECK (epoch >= 1),
    format INTEGER NOT NULL CHECK (format BETWEEN 0 AND 2),
    chunk_items INTEGER NOT NULL DEFAULT 100 CHECK (chunk_items BETWEEN 1 AND 1500),
    batch_items INTEGER NOT NULL DEFAULT 1500 CHECK (batch_items BETWEEN 100 AND 1500),
    first_line INTEGER NOT NULL DEFAULT 1,
    params TEXT NOT NULL DEFAULT '{}',
    header TEXT NOT NULL DEFAULT '',
    input_raw INTEGER NOT NULL DEFAULT 0,
    chunks_n INTEGER NOT NULL DEFAULT 0 CHECK (chunks_n >= 0),
    items_total INTEGER NOT NULL DEFAULT 0 CHECK (items_total >= 0),
    items_done INTEGER NOT NULL DEFAULT 0 CHECK (items_done >= 0),
    items_failed INTEGER NOT NULL DEFAULT 0 CHECK (items_failed >= 0),
    batches_done INTEGER NOT NULL DEFAULT 0 CHECK (batches_done >= 0),
    batches_dead INTEGER NOT NULL DEFAULT 0 CHECK (batches_dead >= 0),
    attempts_n INTEGER NOT NULL DEFAULT 0 CHECK (attempts_n >= 0), -- executions that ended
    failures_n INTEGER NOT NULL DEFAULT 0 CHECK (failures_n >= 0), -- of them reported failures
    lost_n INTEGER NOT NULL DEFAULT 0 CHECK (lost_n >= 0),         -- of them lost executions
    error_code TEXT NOT NULL DEFAULT '',
    error_text TEXT NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    user_id INTEGER REFERENCES user (id),
    project_id INTEGER REFERENCES project (id),
    case_id INTEGER REFERENCES "case" (id),
    input BLOB,  -- the only chunk of a small job, zstd; long columns stand last, what is before them is read without them
    report TEXT,
    CHECK (items_done + items_failed <= items_total),
    CHECK ((finished_at IS NOT NULL) = (state = 'completed' OR state = 'failed' OR state = 'cancelled'))
) STRICT;
-- Partial indexes: a job without user, project or case pays nothing for them; live jobs are few, finished ones many.
CREATE INDEX job_user ON processing_job (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX job_project ON processing_job (project_id) WHERE project_id IS NOT NULL;
CREATE INDEX job_case ON processing_job (case_id) WHERE case_id IS NOT NULL;
CREATE INDEX job_task ON processing_job (task_id);
CREATE INDEX job_receiving ON processing_job (id) WHERE state = 'receiving';
CREATE INDEX job_live ON processing_job (id) WHERE state = 'pending' OR state = 'processing' OR state = 'finalizing';
-- Two retentions, two orders: failed jobs are kept longer and must not stand in the way of the others.
CREATE INDEX job_finished ON processing_job (finished_at) WHERE state IN ('completed', 'cancelled');
CREATE INDEX job_failed ON processing_job (finished_at) WHERE state = 'failed';
-- The rare ends can be listed without passing the millions that went well.
CREATE INDEX job_unwell ON processing_job (state) WHERE state IN ('failed', 'cancelled');

CREATE TABLE chunk (
    id INTEGER PRIMARY KEY,
    job_id INTEGER NOT NULL REFERENCES processing_job (id),
    seq INTEGER NOT NULL CHECK (seq >= 0),
    first_item INTEGER NOT NULL CHECK (first_item >= 0),
    items_n INTEGER NOT NULL CHECK (items_n BETWEEN 1 AND 1500),
    raw_bytes INTEGER NOT NULL CHECK (raw_bytes BETWEEN 0 AND 8388608),
    data BLOB NOT NULL,
    UNIQUE (job_id, seq)
) STRICT;

CREATE TABLE batch (
    id INTEGER PRIMARY KEY,
    job_id INTEGER NOT NULL REFERENCES processing_job (id),
    no INTEGER NOT NULL CHECK (no >= 0),
    epoch INTEGER NOT NULL DEFAULT 1,
    state TEXT NOT NULL
        CHECK (state = 'ready' OR state = 'leased' OR state = 'retrying' OR
               state = 'done' OR state = 'dead' OR state = 'cancelled'),
    chunk_from INTEGER NOT NULL CHECK (chunk_from >= 0),
    chunks_n INTEGER NOT NULL CHECK (chunks_n >= 0),
    first_item INTEGER NOT NULL CHECK (first_item >= 0),
    items_n INTEGER NOT NULL CHECK (items_n BETWEEN 0 AND 1500),
    raw_bytes INTEGER NOT NULL CHECK (raw_bytes BETWEEN 0 AND 8388608),
    attempt INTEGER NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    starts INTEGER NOT NULL DEFAULT 0 CHECK (starts >= 0),
    failures INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0),
    not_before_at INTEGER NOT NULL DEFAULT 0,
    items_failed INTEGER NOT NULL DEFAULT 0 CHECK (items_failed BETWEEN 0 AND items_n),
    error_text TEXT NOT NULL DEFAULT '',
    result_raw INTEGER NOT NULL DEFAULT 0 CHECK (result_raw >= 0),
    result BLOB CHECK (length(result) <= 512), -- a small result stands here instead of in batch_result
    UNIQUE (job_id, no),
    CHECK (starts <= attempt AND failures <= attempt)
) STRICT;

CREATE TABLE batch_result (
    batch_id INTEGER PRIMARY KEY REFERENCES batch (id),
    attempt INTEGER NOT NULL CHECK (attempt >= 1),
    raw_bytes INTEGER NOT NULL CHECK (raw_bytes >= 0), -- data is zstd of that many bytes; 0 = plain
    data BLOB NOT NULL
) STRICT;

-- The one callback of a job and epoch; the same life as a batch, no result row (the report stands in the job).
CREATE TABLE finalize (
    id INTEGER PRIMARY KEY,
    job_id INTEGER NOT NULL REFERENCES processing_job (id),
    epoch INTEGER NOT NULL,
    state TEXT NOT NULL
        CHECK (state = 'ready' OR state = 'leased' OR state = 'retrying' OR
               state = 'done' OR state = 'dead' OR state = 'cancelled'),
    attempt INTEGER NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    starts INTEGER NOT NULL DEFAULT 0 CHECK (starts >= 0),
    failures INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0),
    not_before_at INTEGER NOT NULL DEFAULT 0,
    error_text TEXT NOT NULL DEFAULT '',
    UNIQUE (job_id, epoch),
    CHECK (starts <= attempt AND failures <= attempt)
) STRICT;

-- History: one row when an execution ends. Exactly one of batch_id and finalize_id is set.
CREATE TABLE attempt (
    id INTEGER PRIMARY KEY,
    batch_id INTEGER REFERENCES batch (id),
    finalize_id INTEGER REFERENCES finalize (id),
    attempt INTEGER NOT NULL CHECK (attempt >= 1),
    outcome TEXT NOT NULL
        CHECK (outcome = 'done' OR outcome = 'failed' OR outcome = 'lost' OR outcome = 'cancelled'),
    failure_class TEXT NOT NULL DEFAULT '',
    worker TEXT NOT NULL DEFAULT '',
    duration_us INTEGER NOT NULL DEFAULT 0,
    ended_at INTEGER NOT NULL,
    text TEXT NOT NULL DEFAULT '',
    stderr_tail TEXT NOT NULL DEFAULT '',
    CHECK ((batch_id IS NULL) <> (finalize_id IS NULL))
) STRICT;
CREATE UNIQUE INDEX attempt_batch ON attempt (batch_id, attempt) WHERE batch_id IS NOT NULL;
CREATE UNIQUE INDEX attempt_finalize ON attempt (finalize_id, attempt) WHERE finalize_id IS NOT NULL;

CREATE TABLE worker (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 64),
    incarnation BLOB NOT NULL CHECK (length(incarnation) = 16),
    host TEXT NOT NULL DEFAULT '',
    version TEXT NOT NULL DEFAULT '',
    slots INTEGER NOT NULL CHECK (slots >= 0),
    first_seen_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL
) STRICT;

CREATE TABLE host_sample (
    id INTEGER PRIMARY KEY,
    job_id INTEGER REFERENCES processing_job (id), -- the health check that stored it
    role TEXT NOT NULL CHECK (role IN ('api', 'broker', 'worker', 'scheduler', 'store')),
    name TEXT NOT NULL,
    at INTEGER NOT NULL,
    healthy INTEGER NOT NULL CHECK (healthy IN (0, 1)),
    reason TEXT NOT NULL DEFAULT '',
    cpu_permille INTEGER NOT NULL DEFAULT 0,
    memory_total INTEGER NOT NULL DEFAULT 0,
    memory_available INTEGER NOT NULL DEFAULT 0,
    load_centi INTEGER NOT NULL DEFAULT 0,
    disk_read_rate INTEGER NOT NULL DEFAULT 0,
    disk_write_rate INTEGER NOT NULL DEFAULT 0,
    disk_free INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX host_sample_job ON host_sample (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX host_sample_at ON host_sample (at);

-- The ledger: a tick exists at most once, and its job with it: whichever of the two rows comes first, the commit needs both.
CREATE TABLE tick (
    id INTEGER PRIMARY KEY,
    schedule_id INTEGER NOT NULL REFERENCES schedule (id),
    nominal_at INTEGER NOT NULL,
    job_id INTEGER REFERENCES processing_job (id) ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED,
    scheduler TEXT NOT NULL,
    late_ms INTEGER NOT NULL,
    fired_at INTEGER NOT NULL,
    UNIQUE (schedule_id, nominal_at)
) STRICT;
CREATE INDEX tick_job ON tick (job_id) WHERE job_id IS NOT NULL;

CREATE TABLE outbox (
    id INTEGER PRIMARY KEY,
    job_id INTEGER REFERENCES processing_job (id) ON DELETE SET NULL,
    channel TEXT NOT NULL CHECK (channel IN ('webhook', 'mail', 'slack')),
    target TEXT NOT NULL,
    payload TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'dead')),
    tries_n INTEGER NOT NULL DEFAULT 0 CHECK (tries_n >= 0),
    not_before_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX outbox_job ON outbox (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX outbox_waiting ON outbox (not_before_at) WHERE state = 'waiting';

CREATE TABLE idempotency_key (
    key TEXT PRIMARY KEY CHECK (length(key) BETWEEN 1 AND 255),
    body_hash BLOB NOT NULL,
    job_id INTEGER REFERENCES processing_job (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_key_job ON idempotency_key (job_id);
CREATE INDEX idempotency_key_created ON idempotency_key (created_at);

CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    user_id INTEGER REFERENCES user (id),
    action TEXT NOT NULL,
    target TEXT NOT NULL DEFAULT '',
    detail TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX audit_user ON audit (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX audit_at ON audit (at);

-- migrate:down
DROP TABLE audit;
DROP TABLE idempotency_key;
DROP TABLE outbox;
DROP TABLE tick;
DROP TABLE host_sample;
DROP TABLE worker;
DROP TABLE attempt;
DROP TABLE finalize;
DROP TABLE batch_result;
DROP TABLE batch;
DROP TABLE chunk;
DROP TABLE processing_job;
DROP TABLE schedule;
DROP TABLE task_count;
DROP TABLE task;
DROP TABLE "case";
DROP TABLE project;
DROP TABLE user;
DROP TABLE store_meta;
