-- Gloss store, version 5: jobs that several processes work on, with what they cost, and the prompts that rows were made with.
-- The tables job and task are made anew, for more states than version 4 allowed; foreign keys are off meanwhile.

CREATE TEMP TABLE job_4 AS SELECT * FROM job;
CREATE TEMP TABLE task_4 AS SELECT * FROM task;
DROP INDEX task_by_state;
DROP TABLE task;
DROP TABLE job;
-- Runs of explain and score.
CREATE TABLE job (
	id INTEGER PRIMARY KEY,
	uid TEXT NOT NULL,            -- names it in STORE.requests, whatever becomes of `id`
	kind TEXT NOT NULL,           -- 'explain', 'score'
	source_id INTEGER NOT NULL REFERENCES source(id),
	settings TEXT NOT NULL,       -- JSON: everything that decides the outcome
	options TEXT NOT NULL,        -- JSON: the rest of what was asked for (concurrency, limits, where the key comes from), for `gloss jobs resume`
	endpoint TEXT,                -- base URL without credentials; NULL: lexical
	model TEXT,
	capabilities TEXT,            -- JSON: what the server was found to accept
	state TEXT NOT NULL CHECK (state IN ('running', 'done', 'stopped', 'cancelled')),
	error TEXT,                   -- why it stopped
	created TEXT NOT NULL, finished TEXT
) STRICT;
-- What a job has to do, a row a feature.
CREATE TABLE task (
	id INTEGER PRIMARY KEY,
	job_id INTEGER NOT NULL REFERENCES job(id),
	feature INTEGER NOT NULL,
	explanation_id INTEGER REFERENCES explanation(id), -- what is scored
	twins TEXT,                   -- JSON: features that fire on the same tokens and get the same label; NULL: none
	state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed', 'skipped', 'refused', 'filtered')), -- refused: the model would not answer; filtered: the provider's content filter stopped it
	attempts INTEGER NOT NULL DEFAULT 0,
	lease TEXT,                   -- who runs it: worker.lease
	not_before INTEGER,           -- unix seconds: tried again then
	error TEXT,                   -- or why it was skipped
	input_tokens INTEGER NOT NULL DEFAULT 0, -- of its answers, as the server counts them, whoever paid
	cached_tokens INTEGER NOT NULL DEFAULT 0, -- of the input: read from the provider's cache
	output_tokens INTEGER NOT NULL DEFAULT 0,
	cost REAL,                    -- of its answers by the job's price file; NULL: no price
	updated TEXT NOT NULL,
	UNIQUE (job_id, feature, explanation_id)
) STRICT;
CREATE INDEX task_by_state ON task(job_id, state, id);
INSERT INTO job(id, uid, kind, source_id, settings, options, endpoint, model, capabilities, state, error, created, finished)
	SELECT id, 'v4-' || id || '-' || created, kind, source_id, settings, '{}', endpoint, model, capabilities,
		CASE state WHEN 'failed' THEN 'stopped' ELSE state END, error, created, finished FROM job_4;
INSERT INTO task(id, job_id, feature, explanation_id, state, attempts, lease, not_before, error, input_tokens, output_tokens, updated)
	SELECT id, job_id, feature, explanation_id, state, attempts, lease, not_before, error, input_tokens, output_tokens, updated FROM task_4;
DROP TABLE job_4;
DROP TABLE task_4;

-- Processes at work on jobs. Those that are gone are taken out by the next that comes.
CREATE TABLE worker (
	lease TEXT PRIMARY KEY,       -- "PID START BOOT": process, when it began (ticks since boot), boot id
	machine TEXT NOT NULL,        -- machine id: whether a process lives can be asked on the same one; else the heartbeat tells
	job_id INTEGER NOT NULL,
	since INTEGER NOT NULL, heartbeat INTEGER NOT NULL -- unix seconds
) STRICT;

-- Prompt templates and schemas of answers, by hash: those that explanations and scores name.
CREATE TABLE prompt (
	sha256 TEXT PRIMARY KEY,
	text TEXT NOT NULL
) STRICT;

ALTER TABLE explanation ADD COLUMN schema_sha256 TEXT; -- of the answer's JSON Schema: prompt.sha256
ALTER TABLE explanation ADD COLUMN same_as INTEGER; -- feature that the label was made for: both fire on the same tokens; NULL: made for this one
ALTER TABLE score ADD COLUMN schema_sha256 TEXT; -- of the answer's JSON Schema: prompt.sha256
CREATE INDEX explanation_by_task ON explanation(task_id) WHERE task_id IS NOT NULL;
CREATE INDEX score_by_task ON score(task_id) WHERE task_id IS NOT NULL;
