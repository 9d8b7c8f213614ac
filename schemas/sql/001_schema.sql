-- Gloss store, version 1. One SQLite file: what was indexed, when each feature fires, what people and models say of it.
-- TEXT is always valid UTF-8 (repaired where the corpus is not); exact bytes are BLOBs. Small arrays are JSON.
-- Words: a *source* is one indexed SAE; a *feature* is one of its latents; a *context* is a run of tokens the model saw at
-- once; a feature *fires* on a token when its code there is over 0.
-- WITHOUT ROWID is for narrow rows only: in such a table a row over 1,000 bytes takes a page of its own.

-- What is said of the whole file; nothing yet.
CREATE TABLE meta (
	key TEXT PRIMARY KEY,
	value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Token ids and their bytes are shared by the sources of one tokenizer.
CREATE TABLE tokenizer (
	id INTEGER PRIMARY KEY,
	sha256 TEXT NOT NULL UNIQUE,  -- of tokenizer.json
	n_vocab INTEGER NOT NULL
) STRICT;

-- What a token id stands for.
CREATE TABLE vocab (
	tokenizer_id INTEGER NOT NULL REFERENCES tokenizer(id),
	token INTEGER NOT NULL,
	bytes BLOB NOT NULL,          -- exact
	text TEXT NOT NULL,           -- repaired
	PRIMARY KEY (tokenizer_id, token)
) STRICT, WITHOUT ROWID;

-- One indexed SAE: its hashes, what it was indexed over, options, argv, version.
CREATE TABLE source (
	id INTEGER PRIMARY KEY,
	name TEXT NOT NULL UNIQUE,
	tokenizer_id INTEGER REFERENCES tokenizer(id),
	architecture TEXT NOT NULL,
	d_in INTEGER NOT NULL,
	n_features INTEGER NOT NULL,
	k INTEGER,
	model TEXT, hook_point TEXT, layer INTEGER,
	weights_sha256 TEXT NOT NULL,
	dump_sha256 TEXT NOT NULL,
	n_tokens INTEGER NOT NULL,    -- rows that count: every statistic is over these
	n_left_out INTEGER NOT NULL,  -- rows of the dump that do not (outliers, NaN, excluded)
	norm_limit REAL,              -- rows with norm over this were left out; NULL: none were
	n_contexts INTEGER NOT NULL,
	n_firings INTEGER NOT NULL,
	corpus INTEGER NOT NULL,      -- 1: `firing` holds every context; 0: the 512 random ones
	config TEXT NOT NULL,         -- JSON: options of the index run
	argv TEXT NOT NULL,           -- JSON list
	version TEXT NOT NULL,        -- of gloss
	created TEXT NOT NULL         -- ISO 8601, UTC
) STRICT;

-- Documents that contexts come from; a group of them is never split over label, select and report.
CREATE TABLE document (
	id INTEGER PRIMARY KEY,
	key INTEGER NOT NULL UNIQUE,  -- the dump's document id, or a hash of the context where it gives none
	group_key INTEGER NOT NULL,   -- equal for documents that share text: never split over parts
	part TEXT NOT NULL CHECK (part IN ('label', 'select', 'report')) -- by hash of group_key: what explain and score may look at
) STRICT;

-- Text, shared by sources.
CREATE TABLE context (
	id INTEGER PRIMARY KEY,       -- 63-bit hash of tokenizer, tokens and document key
	document_id INTEGER NOT NULL REFERENCES document(id),
	tokenizer_id INTEGER REFERENCES tokenizer(id),
	n_tokens INTEGER NOT NULL,
	tokens BLOB NOT NULL,         -- u32 little-endian each
	text TEXT NOT NULL,           -- the tokens' bytes joined, then repaired
	offsets BLOB NOT NULL         -- u32 little-endian, n_tokens + 1: token i is text bytes [offsets[i], offsets[i+1]); a character split over tokens belongs to the one it begins in
) STRICT;

CREATE TABLE feature (            -- what queries scan: small columns only
	source_id INTEGER NOT NULL REFERENCES source(id),
	feature INTEGER NOT NULL,
	n_fires INTEGER NOT NULL,     -- tokens on which it fires, exact
	n_contexts INTEGER NOT NULL,  -- contexts in which it fires, exact
	density REAL NOT NULL,        -- n_fires / source.n_tokens
	max_act REAL NOT NULL,        -- 0 when dead
	mean_act REAL NOT NULL,       -- over firing tokens; 0 when dead
	std_act REAL NOT NULL,        -- divided by n; 0 for fewer than 2
	skewness REAL, kurtosis REAL, -- over firing tokens, kurtosis of a normal is 3; NULL: fewer than 2, or all equal
	sum1 REAL NOT NULL, sum2 REAL NOT NULL, sum3 REAL NOT NULL, sum4 REAL NOT NULL, -- power sums over firing tokens
	top_token INTEGER,            -- the token it most often fires on, over stored examples: bin samples by weight, other top ones as 1
	top_token_share REAL,         -- its share there
	token_entropy REAL,           -- bits, over the same
	decoder_norm REAL NOT NULL,
	PRIMARY KEY (source_id, feature)
) STRICT, WITHOUT ROWID;

CREATE TABLE feature_detail (     -- what one feature's page shows
	source_id INTEGER NOT NULL,
	feature INTEGER NOT NULL,
	histogram TEXT NOT NULL,      -- JSON {"edges":[n + 1],"counts":[n]}: the stretch of half octaves that has values; firing tokens only, counts exact
	top_logits TEXT,              -- JSON [[token, logit], ...]; NULL without an unembedding
	bottom_logits TEXT,
	neighbours TEXT,              -- JSON [[feature, cosine], ...] of decoder rows
	PRIMARY KEY (source_id, feature),
	FOREIGN KEY (source_id, feature) REFERENCES feature(source_id, feature)
) STRICT;

CREATE TABLE example (
	source_id INTEGER NOT NULL,
	feature INTEGER NOT NULL,
	kind TEXT NOT NULL CHECK (kind IN ('top', 'bin')),
	bin INTEGER NOT NULL,         -- index into this feature's histogram counts, by the qualifying token's value; -1 for top
	rank INTEGER NOT NULL,        -- top: 0 is the strongest; bin: order of the sample hash
	context_id INTEGER NOT NULL REFERENCES context(id),
	position INTEGER NOT NULL,    -- of the qualifying token: the one whose value put this here
	activation REAL NOT NULL,     -- on it
	weight REAL NOT NULL,         -- firing tokens this sample stands for (bin count / samples kept); top: 1
	first INTEGER NOT NULL,       -- window: tokens first .. first + length - 1 of the context
	length INTEGER NOT NULL,
	codes BLOB NOT NULL,          -- the window's firings: (u16 offset in the window, f32 value) little-endian each
	PRIMARY KEY (source_id, feature, kind, bin, rank),
	FOREIGN KEY (source_id, feature) REFERENCES feature(source_id, feature)
) STRICT, WITHOUT ROWID;
CREATE INDEX example_by_context ON example(context_id, source_id); -- which features have a context as an example

CREATE TABLE firing (             -- all codes of a context, token-major
	source_id INTEGER NOT NULL REFERENCES source(id),
	context_id INTEGER NOT NULL REFERENCES context(id),
	sampled INTEGER NOT NULL,     -- 1: one of the 512 random contexts (smallest hashes)
	counted BLOB NOT NULL,        -- bit i (of byte i / 8, low first): token i counts (was not left out)
	codes BLOB NOT NULL,          -- layout in store/codes.c
	PRIMARY KEY (source_id, context_id)
) STRICT;

-- Decoder rows.
CREATE TABLE vector (
	source_id INTEGER NOT NULL,
	feature INTEGER NOT NULL,
	decoder BLOB NOT NULL,        -- d_in times f16 little-endian
	PRIMARY KEY (source_id, feature)
) STRICT;

-- Labels, with their history: none is overwritten.
CREATE TABLE explanation (
	id INTEGER PRIMARY KEY,
	source_id INTEGER NOT NULL,
	feature INTEGER NOT NULL,
	text TEXT NOT NULL,           -- the label
	short_text TEXT,
	rule TEXT,                    -- JSON, for labels a program can apply (the lexical explainer)
	confidence REAL,
	method TEXT NOT NULL,         -- 'lexical', 'llm', 'person'; 'none': there was no label, and scores of the feature itself hang here
	model TEXT,                   -- of the endpoint
	prompt_sha256 TEXT,           -- of the template
	task_id INTEGER REFERENCES task(id),
	created TEXT NOT NULL,
	FOREIGN KEY (source_id, feature) REFERENCES feature(source_id, feature)
) STRICT;
CREATE INDEX explanation_by_feature ON explanation(source_id, feature, id);

-- How well a label tells when the feature fires.
CREATE TABLE score (
	id INTEGER PRIMARY KEY,
	explanation_id INTEGER NOT NULL REFERENCES explanation(id),
	scorer TEXT NOT NULL,         -- 'detection'
	judge TEXT NOT NULL,          -- 'lexical' or the model's name
	value REAL,                   -- detection: balanced accuracy; NULL: could not be scored (see details)
	low REAL, high REAL,          -- 95 % interval
	baseline REAL,                -- the same with another feature's label
	n_positive INTEGER NOT NULL, n_negative INTEGER NOT NULL, n_failed INTEGER NOT NULL, -- windows judged; windows without an answer
	details TEXT NOT NULL,        -- JSON: confusion, true positive rate by activation decile, ...
	prompt_sha256 TEXT,
	task_id INTEGER REFERENCES task(id),
	created TEXT NOT NULL
) STRICT;
CREATE INDEX score_by_explanation ON score(explanation_id, scorer, id);

-- Runs of explain and score.
CREATE TABLE job (
	id INTEGER PRIMARY KEY,
	kind TEXT NOT NULL,           -- 'explain', 'score'
	source_id INTEGER NOT NULL REFERENCES source(id),
	settings TEXT NOT NULL,       -- JSON: everything that decides the outcome
	endpoint TEXT,                -- base URL without credentials; NULL: lexical
	model TEXT,
	capabilities TEXT,            -- JSON: what the server was found to accept
	state TEXT NOT NULL CHECK (state IN ('running', 'done', 'stopped', 'failed')),
	error TEXT,
	created TEXT NOT NULL, finished TEXT
) STRICT;

-- What a job has to do, a row a feature.
CREATE TABLE task (
	id INTEGER PRIMARY KEY,
	job_id INTEGER NOT NULL REFERENCES job(id),
	feature INTEGER NOT NULL,
	explanation_id INTEGER REFERENCES explanation(id), -- what is scored
	state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed', 'skipped')),
	attempts INTEGER NOT NULL DEFAULT 0,
	lease TEXT,                   -- who runs it: pid, boot id, since
	not_before INTEGER,           -- unix seconds
	error TEXT,                   -- or why it was skipped
	input_tokens INTEGER NOT NULL DEFAULT 0, output_tokens INTEGER NOT NULL DEFAULT 0,
	updated TEXT NOT NULL,
	UNIQUE (job_id, feature, explanation_id)
) STRICT;
CREATE INDEX task_by_state ON task(job_id, state, id);

CREATE TABLE request (            -- which logged requests a task used; the bodies are in STORE.requests
	task_id INTEGER NOT NULL REFERENCES task(id),
	seq INTEGER NOT NULL,
	key TEXT NOT NULL,            -- SHA-256 of endpoint, model, sample number and canonical body
	example_ids TEXT NOT NULL,    -- JSON: which windows were asked about
	PRIMARY KEY (task_id, seq)
) STRICT, WITHOUT ROWID;

-- A person's lists of features.
CREATE TABLE list (
	id INTEGER PRIMARY KEY,
	name TEXT NOT NULL UNIQUE,
	created TEXT NOT NULL
) STRICT;
-- What the lists hold.
CREATE TABLE list_item (
	list_id INTEGER NOT NULL REFERENCES list(id),
	source_id INTEGER NOT NULL,
	feature INTEGER NOT NULL,
	PRIMARY KEY (list_id, source_id, feature)
) STRICT, WITHOUT ROWID;
-- A person's notes on features.
CREATE TABLE note (
	id INTEGER PRIMARY KEY,
	source_id INTEGER NOT NULL,
	feature INTEGER NOT NULL,
	text TEXT NOT NULL,
	created TEXT NOT NULL
) STRICT;

-- Full text (FTS5) over contexts.
CREATE VIRTUAL TABLE context_fts USING fts5(text, content='context', content_rowid='id', tokenize='unicode61');
-- Full text (FTS5) over labels.
CREATE VIRTUAL TABLE explanation_fts USING fts5(text, content='explanation', content_rowid='id', tokenize='unicode61');
CREATE TRIGGER explanation_fts_insert AFTER INSERT ON explanation BEGIN
	INSERT INTO explanation_fts(rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER explanation_fts_delete AFTER DELETE ON explanation BEGIN
	INSERT INTO explanation_fts(explanation_fts, rowid, text) VALUES ('delete', old.id, old.text);
END;
CREATE TRIGGER context_fts_insert AFTER INSERT ON context BEGIN
	INSERT INTO context_fts(rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER context_fts_delete AFTER DELETE ON context BEGIN
	INSERT INTO context_fts(context_fts, rowid, text) VALUES ('delete', old.id, old.text);
END;

-- The latest label of each feature, and the latest score of each label.
CREATE VIEW label AS
	SELECT e.* FROM explanation e
	WHERE e.id = (SELECT max(id) FROM explanation x WHERE x.source_id = e.source_id AND x.feature = e.feature);
CREATE VIEW label_score AS
	SELECT s.*, e.source_id, e.feature FROM score s JOIN explanation e ON e.id = s.explanation_id
	WHERE s.id = (SELECT max(id) FROM score x WHERE x.explanation_id = s.explanation_id AND x.scorer = s.scorer);
