-- Gloss store, version 2: one uniform sample of firings a feature instead of samples by bin, fine histograms, smaller rows.
-- Rows of a store of version 1 are carried over by migrate_002_before.sql and migrate_002_after.sql.

ALTER TABLE source ADD COLUMN kind TEXT NOT NULL DEFAULT 'sae'; -- what the features are: 'sae'; 'neurons': of the model itself; 'codes': computed elsewhere
ALTER TABLE source ADD COLUMN before INTEGER NOT NULL DEFAULT 47; -- tokens of an example's window before the qualifying one
ALTER TABLE source ADD COLUMN after INTEGER NOT NULL DEFAULT 16; -- and after it; a window ends where its context does
ALTER TABLE source ADD COLUMN n_top INTEGER NOT NULL DEFAULT 24; -- strongest contexts kept a feature
ALTER TABLE source ADD COLUMN n_samples INTEGER NOT NULL DEFAULT 0; -- firings sampled a feature; 0: a source of version 1, where each bin was sampled for itself
ALTER TABLE source ADD COLUMN n_random INTEGER NOT NULL DEFAULT 512; -- contexts chosen at random, of which all firings are kept
ALTER TABLE source ADD COLUMN sample_rule TEXT NOT NULL DEFAULT 'smallest hash of context, position and feature in each bin'; -- how samples were drawn
ALTER TABLE source ADD COLUMN dumps TEXT; -- JSON list: SHA-256 of each dump that went in; NULL: dump_sha256 alone

-- source.corpus: 1: `firing` holds every context; 0: the random ones
-- firing.sampled: 1: one of the random contexts (smallest hashes)
-- firing.codes: layout in docs/store.md
-- feature.top_token: the token it most often fires on, over stored examples: samples by weight, strongest ones not among them as 1

ALTER TABLE feature ADD COLUMN median_act REAL; -- of firing tokens; NULL: dead, or of version 1
ALTER TABLE feature ADD COLUMN behaviour INTEGER; -- hash of the tokens of the random contexts on which it fires: features of one dump that have it in common fire on the same ones; NULL: on none, or not computed by the gloss that indexed it

-- feature_detail.histogram: JSON {"per_octave":64,"first":n,"counts":[...]}: bin i holds the firing tokens with values from
-- 2^((first + i) / per_octave) on, below the next edge. The grid begins at 2^-10 and ends at 2^22, its first and last bins are open.
ALTER TABLE feature_detail ADD COLUMN intervals TEXT; -- JSON {"definition","grid":[n + 1],"counts":[n],"kept":[n]}: what example.bin counts: edges as numbers of the table grid, firing tokens in each interval, samples kept of them
ALTER TABLE feature_detail ADD COLUMN quantiles TEXT; -- JSON {"exact","percent":[...],"value":[...]} over firing tokens; exact 0: from the histogram; NULL: dead, or of version 1
ALTER TABLE feature_detail ADD COLUMN logit_histogram TEXT; -- JSON {"low","high","counts":[...]} of its logits over the vocabulary; NULL without an unembedding
ALTER TABLE feature_detail ADD COLUMN cofiring TEXT; -- JSON [[feature, common, cosine], ...]: the 10 features that fire most on the same tokens of the random contexts: common tokens, and cosine = common / sqrt(tokens of the one * tokens of the other); of equal ones the lower feature; NULL: not computed

DROP TABLE example;
CREATE TABLE example (            -- a firing token: one of the strongest contexts, or of the sample
	source_id INTEGER NOT NULL,
	feature INTEGER NOT NULL,
	bin INTEGER NOT NULL,         -- index into this feature's intervals, by `activation`; -1: one of the strongest contexts
	rank INTEGER NOT NULL,        -- strongest: 0 is the strongest; sample: order of the hash of context, position and feature in its bin
	context_id INTEGER NOT NULL REFERENCES context(id),
	position INTEGER NOT NULL,    -- of the qualifying token: the one whose value put this here
	activation_bits INTEGER NOT NULL, -- on it: a float's 32 bits, which take half the room of a REAL
	codes BLOB NOT NULL,          -- the window's other firings: layout in docs/store.md
	activation REAL GENERATED ALWAYS AS (CASE -- the value on it, exact: (1 + mantissa / 2^23) * 2^(exponent - 127) in steps that do not overflow
		WHEN activation_bits BETWEEN 754974720 AND 1258291199
			THEN ((activation_bits & 8388607) + 8388608.0) / (1 << (150 - (activation_bits >> 23)))
		WHEN activation_bits BETWEEN 1258291200 AND 1761607679
			THEN ((activation_bits & 8388607) + 8388608.0) * (1 << ((activation_bits >> 23) - 150))
		WHEN activation_bits >= 1761607680
			THEN ((activation_bits & 8388607) + 8388608.0) * 1152921504606846976.0 * (1 << ((activation_bits >> 23) - 210))
		WHEN activation_bits >= 251658240
			THEN ((activation_bits & 8388607) + 8388608.0) / 1152921504606846976.0 / (1 << (90 - (activation_bits >> 23)))
		WHEN activation_bits >= 8388608
			THEN ((activation_bits & 8388607) + 8388608.0) / 1152921504606846976.0 / 1152921504606846976.0
				/ (1 << (30 - (activation_bits >> 23)))
		ELSE activation_bits / 1152921504606846976.0 / 1152921504606846976.0 / 536870912.0 END) VIRTUAL,
	kind TEXT GENERATED ALWAYS AS (CASE WHEN bin < 0 THEN 'top' ELSE 'bin' END) VIRTUAL, -- 'top': one of the strongest; 'bin': of the sample
	PRIMARY KEY (source_id, feature, bin, rank),
	FOREIGN KEY (source_id, feature) REFERENCES feature(source_id, feature)
) STRICT, WITHOUT ROWID;
CREATE INDEX example_by_context ON example(context_id, source_id) WHERE bin < 0; -- which features are strong in a context

CREATE TABLE source_context (     -- the contexts that a source refers to
	source_id INTEGER NOT NULL REFERENCES source(id),
	context_id INTEGER NOT NULL REFERENCES context(id),
	PRIMARY KEY (source_id, context_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX source_context_by_context ON source_context(context_id);

CREATE TABLE grid (               -- the edges of all histograms and intervals
	i INTEGER PRIMARY KEY,        -- -640 .. 1408
	edge REAL NOT NULL            -- 2^(i / 64), rounded to a float: so comparing a value with it is exact
) STRICT;
WITH RECURSIVE step(j, mantissa) AS (VALUES -- 2^(j / 64) times 2^23
	(0, 8388608), (1, 8479954), (2, 8572295), (3, 8665641), (4, 8760003), (5, 8855394), (6, 8951823), (7, 9049301),
	(8, 9147842), (9, 9247455), (10, 9348154), (11, 9449948), (12, 9552851), (13, 9656875), (14, 9762032), (15, 9868333),
	(16, 9975792), (17, 10084422), (18, 10194234), (19, 10305242), (20, 10417458), (21, 10530897), (22, 10645571), (23, 10761494),
	(24, 10878679), (25, 10997140), (26, 11116891), (27, 11237946), (28, 11360319), (29, 11484025), (30, 11609078), (31, 11735492),
	(32, 11863283), (33, 11992466), (34, 12123055), (35, 12255067), (36, 12388516), (37, 12523418), (38, 12659789), (39, 12797645),
	(40, 12937002), (41, 13077877), (42, 13220286), (43, 13364245), (44, 13509772), (45, 13656884), (46, 13805598), (47, 13955931),
	(48, 14107901), (49, 14261526), (50, 14416824), (51, 14573813), (52, 14732511), (53, 14892937), (54, 15055111), (55, 15219050),
	(56, 15384775), (57, 15552304), (58, 15721658), (59, 15892855), (60, 16065917), (61, 16240863), (62, 16417715), (63, 16596492)),
octave(o) AS (VALUES (-10) UNION ALL SELECT o + 1 FROM octave WHERE o < 22)
INSERT INTO grid
	SELECT 64 * o + j, mantissa / 8388608.0 * iif(o < 0, 1.0 / (1 << abs(o)), 1 << abs(o)) FROM octave, step WHERE 64 * o + j <= 1408;

ALTER TABLE explanation ADD COLUMN withdrawn TEXT; -- when a person took it back, or from the start where its task chose another; NULL: it holds
-- The label of each feature that counts: the latest not withdrawn, with its latest score. Kept up by the triggers below.
CREATE TABLE current_label (
	source_id INTEGER NOT NULL,
	feature INTEGER NOT NULL,
	explanation_id INTEGER NOT NULL,
	score_id INTEGER,             -- NULL: not scored
	score REAL,                   -- its value
	PRIMARY KEY (source_id, feature)
) STRICT, WITHOUT ROWID;
CREATE VIEW newest_label AS       -- what current_label is to hold
	SELECT e.source_id, e.feature, e.id AS explanation_id, s.id AS score_id, s.value AS score
	FROM explanation e LEFT JOIN score s ON s.id = (SELECT max(x.id) FROM score x WHERE x.explanation_id = e.id)
	WHERE e.id = (SELECT max(y.id) FROM explanation y
		WHERE y.source_id = e.source_id AND y.feature = e.feature AND y.withdrawn IS NULL);
INSERT INTO current_label SELECT * FROM newest_label;
CREATE TRIGGER current_label_insert AFTER INSERT ON explanation WHEN new.withdrawn IS NULL BEGIN
	INSERT INTO current_label VALUES (new.source_id, new.feature, new.id, NULL, NULL)
		ON CONFLICT DO UPDATE SET explanation_id = new.id, score_id = NULL, score = NULL WHERE new.id > explanation_id;
END;
CREATE TRIGGER current_label_withdraw AFTER UPDATE OF withdrawn ON explanation BEGIN
	DELETE FROM current_label WHERE source_id = new.source_id AND feature = new.feature;
	INSERT INTO current_label SELECT * FROM newest_label WHERE source_id = new.source_id AND feature = new.feature;
END;
CREATE TRIGGER current_label_delete AFTER DELETE ON explanation BEGIN
	DELETE FROM current_label WHERE source_id = old.source_id AND feature = old.feature;
	INSERT INTO current_label SELECT * FROM newest_label WHERE source_id = old.source_id AND feature = old.feature;
END;
CREATE TRIGGER current_label_score AFTER INSERT ON score BEGIN
	UPDATE current_label SET score_id = new.id, score = new.value
		WHERE (source_id, feature) = (SELECT source_id, feature FROM explanation WHERE id = new.explanation_id)
		AND explanation_id = new.explanation_id AND new.id > ifnull(score_id, 0);
END;
CREATE TRIGGER current_label_unscore AFTER DELETE ON score BEGIN
	UPDATE current_label SET (score_id, score) =
			(SELECT id, value FROM score WHERE explanation_id = old.explanation_id ORDER BY id DESC LIMIT 1)
		WHERE (source_id, feature) = (SELECT source_id, feature FROM explanation WHERE id = old.explanation_id)
		AND score_id = old.id;
END;
