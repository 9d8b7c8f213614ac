-- Gloss request log, version 2: who is asking what right now, and what was paid for what.

ALTER TABLE reply ADD COLUMN job TEXT; -- job.uid of the store, that asked first; NULL: of version 1
ALTER TABLE reply ADD COLUMN stage TEXT; -- 'explain', 'score'; 'probe': what the server accepts
ALTER TABLE reply ADD COLUMN input_tokens INTEGER; -- as the server counts them
ALTER TABLE reply ADD COLUMN cached_tokens INTEGER; -- of the input: from the provider's cache
ALTER TABLE reply ADD COLUMN output_tokens INTEGER;
ALTER TABLE reply ADD COLUMN cost REAL; -- by the price file of the run; NULL: there was none
CREATE INDEX reply_by_job ON reply(job, stage);

-- Requests under way: whoever wants the same waits for the reply. Their largest possible cost counts as spent.
CREATE TABLE claim (
	key TEXT PRIMARY KEY,
	holder TEXT NOT NULL,         -- "PID START BOOT"
	machine TEXT NOT NULL,        -- of the holder
	until INTEGER NOT NULL,       -- unix seconds: on another machine, it is over then
	job TEXT NOT NULL, stage TEXT NOT NULL,
	tokens INTEGER NOT NULL,      -- at most: bytes of the body and the limit of the reply
	cost REAL NOT NULL            -- at most
) STRICT, WITHOUT ROWID;
CREATE INDEX claim_by_job ON claim(job);

-- What each stage of a job has sent and paid.
CREATE TABLE spent (
	job TEXT NOT NULL, stage TEXT NOT NULL,
	requests INTEGER NOT NULL DEFAULT 0, -- sent, whatever came of it
	replies INTEGER NOT NULL DEFAULT 0,
	input_tokens INTEGER NOT NULL DEFAULT 0, cached_tokens INTEGER NOT NULL DEFAULT 0, output_tokens INTEGER NOT NULL DEFAULT 0,
	cost REAL NOT NULL DEFAULT 0,
	lost_requests INTEGER NOT NULL DEFAULT 0, -- sent, and no reply came back (killed, timed out, broken off): perhaps paid
	lost_tokens INTEGER NOT NULL DEFAULT 0, lost_cost REAL NOT NULL DEFAULT 0, -- at most
	PRIMARY KEY (job, stage)
) STRICT, WITHOUT ROWID;

-- Batches handed to a provider, and the requests in them.
CREATE TABLE batch (
	id TEXT PRIMARY KEY,          -- as the provider calls it
	endpoint TEXT NOT NULL,
	job TEXT NOT NULL, stage TEXT NOT NULL,
	created TEXT NOT NULL,
	finished TEXT                 -- its results are in; NULL: not yet
) STRICT;
CREATE TABLE batch_item (
	batch_id TEXT NOT NULL REFERENCES batch(id),
	key TEXT NOT NULL,
	PRIMARY KEY (batch_id, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX batch_item_by_key ON batch_item(key);
