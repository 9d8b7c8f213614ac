-- Gloss store, version 3: the store as plain rows, for pandas, Datasette and any other reader of SQLite. Each view can be read
-- from its first row on without sorting or counting anything, and for one feature (source_id, feature) without a scan.
-- NULL arrays (nothing was computed) have no rows. Views named np_ have the columns of Neuronpedia's exports.

DROP VIEW label;
DROP VIEW label_score;
DROP VIEW IF EXISTS feature_histogram; -- version 2 had some of these while it was made
DROP VIEW IF EXISTS feature_interval;
DROP VIEW IF EXISTS example_window;

-- Features with what a person looks for first: statistics, the label that counts and its score.
CREATE VIEW feature_list(
	source_id, source,            -- its name
	feature, n_fires, n_contexts, density, max_act, mean_act, median_act, std_act, skewness, kurtosis, -- as in feature
	top_token, top_token_text, top_token_share, token_entropy, decoder_norm,
	dead,                         -- 1: never fires
	dense,                        -- 1: on over a tenth of the tokens
	single_token,                 -- 1: fires 10 times or more, 0.9 of them on its top token
	label, label_method,          -- of current_label; NULL: no label
	score, score_low, score_high, scorer -- its latest score; NULL: not scored
) AS
	SELECT f.source_id, s.name, f.feature, f.n_fires, f.n_contexts, f.density, f.max_act, f.mean_act, f.median_act, f.std_act,
		f.skewness, f.kurtosis, f.top_token, v.text, f.top_token_share, f.token_entropy, f.decoder_norm,
		f.n_fires = 0, f.density > 0.1, f.n_fires >= 10 AND ifnull(f.top_token_share >= 0.9, 0),
		e.text, e.method, c.score, x.low, x.high, x.scorer
	FROM source s CROSS JOIN feature f ON f.source_id = s.id
	LEFT JOIN vocab v ON v.tokenizer_id = s.tokenizer_id AND v.token = f.top_token
	LEFT JOIN current_label c ON c.source_id = f.source_id AND c.feature = f.feature
	LEFT JOIN explanation e ON e.id = c.explanation_id
	LEFT JOIN score x ON x.id = c.score_id;

-- The label of each feature that counts: the latest that is not withdrawn. Columns as in explanation.
CREATE VIEW label AS
	SELECT e.* FROM current_label c JOIN explanation e ON e.id = c.explanation_id AND e.source_id = c.source_id AND e.feature = c.feature;
-- The latest score of each label by each scorer. Columns as in score, and the feature's.
CREATE VIEW label_score AS
	SELECT s.*, e.source_id, e.feature FROM score s JOIN explanation e ON e.id = s.explanation_id
	WHERE s.id = (SELECT max(id) FROM score x WHERE x.explanation_id = s.explanation_id AND x.scorer = s.scorer);

-- Histogram of a feature's activations on firing tokens, a row a bin. (The views up to example_token do without JSON functions
-- other than json_each(), since SQLite before 3.41 takes those for unsafe in a schema that is not trusted.)
CREATE VIEW feature_histogram(
	source_id, feature,
	low, high,                    -- values from low on, below high
	count                         -- firing tokens with such a value
) AS
	SELECT d.source_id, d.feature, l.edge, h.edge, c.value
	FROM feature_detail d
	JOIN json_each(d.histogram) p ON p.key = 'per_octave' JOIN json_each(d.histogram) f ON f.key = 'first'
	JOIN json_each(d.histogram, '$.counts') c
	JOIN grid l ON l.i = (f.value + c.key) * 64 / p.value JOIN grid h ON h.i = l.i + 64 / p.value;

-- The intervals of activation that samples are shown by.
CREATE VIEW feature_interval(
	source_id, feature,
	bin,                          -- as in example
	low, high,
	count,                        -- firing tokens with a value in it
	kept,                         -- samples of them
	definition                    -- how the edges were found
) AS
	SELECT d.source_id, d.feature, c.key, l.edge, h.edge, c.value, k.value, n.value
	FROM feature_detail d JOIN json_each(d.intervals) n ON n.key = 'definition'
	JOIN json_each(d.intervals, '$.counts') c JOIN json_each(d.intervals, '$.kept') k ON k.key = c.key
	JOIN json_each(d.intervals, '$.grid') a ON a.key = c.key JOIN json_each(d.intervals, '$.grid') b ON b.key = c.key + 1
	JOIN grid l ON l.i = a.value JOIN grid h ON h.i = b.value;

-- Quantiles of a feature's activations on firing tokens.
CREATE VIEW feature_quantile(
	source_id, feature,
	percent, value,
	exact                         -- 0: worked out from the histogram
) AS
	SELECT d.source_id, d.feature, p.value, v.value, x.value
	FROM feature_detail d JOIN json_each(d.quantiles) x ON x.key = 'exact'
	JOIN json_each(d.quantiles, '$.percent') p JOIN json_each(d.quantiles, '$.value') v ON v.key = p.key;

-- The tokens whose logits a feature raises and lowers most.
CREATE VIEW feature_logit(
	source_id, feature,
	side,                         -- 'top' or 'bottom'
	rank,                         -- 0 is the strongest
	token, text, logit
) AS
	SELECT d.source_id, d.feature, x.value, p.key, t.value, v.text, l.value
	FROM feature_detail d JOIN source s ON s.id = d.source_id
	JOIN json_each('["top","bottom"]') x
	JOIN json_each(CASE x.value WHEN 'top' THEN d.top_logits ELSE d.bottom_logits END) p
	JOIN json_each(p.value) t ON t.key = 0 JOIN json_each(p.value) l ON l.key = 1
	LEFT JOIN vocab v ON v.tokenizer_id = s.tokenizer_id AND v.token = t.value;

-- Histogram of a feature's logits over the vocabulary, in bins of one width.
CREATE VIEW feature_logit_histogram(
	source_id, feature,
	low, high,                    -- logits from low to high
	count                         -- tokens of the vocabulary
) AS
	SELECT d.source_id, d.feature, l.value + (h.value - l.value) * c.key / d.n, l.value + (h.value - l.value) * (c.key + 1.0) / d.n,
		c.value
	FROM (SELECT source_id, feature, logit_histogram AS json,
			(SELECT count(*) FROM json_each(logit_histogram, '$.counts')) AS n FROM feature_detail) d
	JOIN json_each(d.json) l ON l.key = 'low' JOIN json_each(d.json) h ON h.key = 'high' JOIN json_each(d.json, '$.counts') c;

-- Features whose decoder rows point the same way.
CREATE VIEW feature_neighbour(
	source_id, feature,
	rank,                         -- 0 is the nearest
	neighbour,                    -- a feature of the same source
	cosine, label                 -- the neighbour's
) AS
	SELECT d.source_id, d.feature, p.key, n.value, c.value, e.text
	FROM feature_detail d JOIN json_each(d.neighbours) p
	JOIN json_each(p.value) n ON n.key = 0 JOIN json_each(p.value) c ON c.key = 1
	LEFT JOIN current_label l ON l.source_id = d.source_id AND l.feature = n.value
	LEFT JOIN explanation e ON e.id = l.explanation_id;

-- Features that fire on the same tokens, over the random contexts.
CREATE VIEW feature_cofiring(
	source_id, feature,
	rank,                         -- 0 is the strongest
	other,                        -- a feature of the same source
	common,                       -- tokens on which both fire
	cosine,                       -- common / sqrt(tokens of the one * tokens of the other)
	label                         -- the other's
) AS
	SELECT d.source_id, d.feature, p.key, o.value, n.value, c.value, e.text
	FROM feature_detail d JOIN json_each(d.cofiring) p
	JOIN json_each(p.value) o ON o.key = 0 JOIN json_each(p.value) n ON n.key = 1 JOIN json_each(p.value) c ON c.key = 2
	LEFT JOIN current_label l ON l.source_id = d.source_id AND l.feature = o.value
	LEFT JOIN explanation e ON e.id = l.explanation_id;

-- Examples with their windows and weights. (No view has blobs: Datasette 0.65 fails on those.)
CREATE VIEW example_window(
	source_id, feature,
	kind, bin, rank,              -- as in example
	context_id, position, activation,
	weight,                       -- firing tokens that a sample stands for; 1 for the strongest
	first, length                 -- the window: tokens first .. first + length - 1 of the context
) AS
	SELECT e.source_id, e.feature, e.kind, e.bin, e.rank, e.context_id, e.position, e.activation,
		CASE WHEN e.bin < 0 THEN 1.0 ELSE (SELECT 1.0 * c.value / k.value FROM feature_detail d
			JOIN json_each(d.intervals, '$.counts') c JOIN json_each(d.intervals, '$.kept') k ON k.key = c.key
			WHERE d.source_id = e.source_id AND d.feature = e.feature AND c.key = e.bin) END,
		max(0, e.position - s.before),
		min(e.position + s.after, c.n_tokens - 1) - max(0, e.position - s.before) + 1
	FROM example e JOIN source s ON s.id = e.source_id JOIN context c ON c.id = e.context_id;

-- Examples as text, with the qualifying token between [[ and ]]. (Numbers
-- in blobs are read from their hexadecimal digits, the lowest first; json_each() is there to work those out once.)
CREATE VIEW example_text(
	source_id, feature,
	kind, bin, rank,              -- as in example
	low, high,                    -- edges of the interval; NULL for the strongest
	weight, activation, context_id, position, -- as in example_window
	token,                        -- text of the qualifying one
	text                          -- of the window
) AS
	SELECT t.source_id, t.feature, t.kind, t.bin, t.rank,
		(SELECT g.edge FROM feature_detail d JOIN json_each(d.intervals, '$.grid') a JOIN grid g ON g.i = a.value
			WHERE d.source_id = t.source_id AND d.feature = t.feature AND a.key = t.bin),
		(SELECT g.edge FROM feature_detail d JOIN json_each(d.intervals, '$.grid') a JOIN grid g ON g.i = a.value
			WHERE d.source_id = t.source_id AND d.feature = t.feature AND a.key = t.bin + 1 AND t.bin >= 0),
		t.weight, t.activation, t.context_id, t.position,
		CAST(substr(t.bytes, t.at + 1, t.behind - t.at) AS TEXT),
		CAST(substr(t.bytes, t.start + 1, t.at - t.start) AS TEXT)
			|| '[[' || CAST(substr(t.bytes, t.at + 1, t.behind - t.at) AS TEXT) || ']]'
			|| CAST(substr(t.bytes, t.behind + 1, t.end - t.behind) AS TEXT)
	FROM (SELECT w.*, CAST(c.text AS BLOB) AS bytes,
			(SELECT sum(instr('123456789ABCDEF', substr(h.value, d.value, 1)) << 4 * d.key) FROM json_each('[2,1,4,3,6,5,8,7]') d) AS start,
			(SELECT sum(instr('123456789ABCDEF', substr(h.value, 8 + d.value, 1)) << 4 * d.key) FROM json_each('[2,1,4,3,6,5,8,7]') d) AS at,
			(SELECT sum(instr('123456789ABCDEF', substr(h.value, 16 + d.value, 1)) << 4 * d.key) FROM json_each('[2,1,4,3,6,5,8,7]') d) AS behind,
			(SELECT sum(instr('123456789ABCDEF', substr(h.value, 24 + d.value, 1)) << 4 * d.key) FROM json_each('[2,1,4,3,6,5,8,7]') d) AS end
		FROM example_window w JOIN context c ON c.id = w.context_id
		JOIN json_each('["' || hex(substr(c.offsets, 4 * w.first + 1, 4)) || hex(substr(c.offsets, 4 * w.position + 1, 8))
			|| hex(substr(c.offsets, 4 * (w.first + w.length) + 1, 4)) || '"]') h) t;

-- Examples with the value on each token of the window. (The recursion goes along the tokens and, firing by firing, along the blob of
-- codes: `next` is the window's next token that fires, at byte `at`.)
CREATE VIEW example_values(
	source_id, feature,
	kind, bin, rank,              -- as in example
	context_id, position, activation, weight, first, length, -- as in example_window
	"values"                      -- JSON [length]: the feature's value on each token, 0 where it is silent
) AS
	SELECT w.source_id, w.feature, w.kind, w.bin, w.rank, w.context_id, w.position, w.activation, w.weight, w.first, w.length,
		(WITH RECURSIVE step(i, at, next) AS (
			SELECT -1, 2 - w.n - 2, -1
			UNION ALL
			SELECT i + 1, CASE WHEN i = next THEN at + w.n + 2 ELSE at END,
				CASE WHEN i <> next THEN next WHEN length(w.codes) < at + w.n + 2 THEN -2
				ELSE (SELECT sum(instr('123456789ABCDEF', substr(hex(substr(w.codes, at + w.n + 2, w.n)), d.value, 1)) << 4 * d.key)
					FROM json_each(iif(w.n = 1, '[2,1]', '[2,1,4,3]')) d) END
			FROM step WHERE i + 1 < w.length)
		SELECT '[' || group_concat(CASE WHEN i = w.position - w.first THEN w.activation WHEN bits IS NULL THEN 0.0
			ELSE ((bits & 1023) + 1024 * (bits > 1023)) * 1.0 -- a half float times a power of two, in steps that do not overflow
				* (1 << max(0, min(k, 62))) * (1 << max(0, k - 62))
				/ (1 << max(0, min(-k, 62))) / (1 << max(0, min(-k - 62, 62))) / (1 << max(0, -k - 124)) END) || ']'
			FROM (SELECT i, bits, max(1, bits >> 10) - 25 + (w.e + 128) % 256 - 128 AS k
				FROM (SELECT i, CASE WHEN i = next THEN (
						SELECT sum(instr('123456789ABCDEF', substr(hex(substr(w.codes, at + w.n, 2)), d.value, 1)) << 4 * d.key)
						FROM json_each('[2,1,4,3]') d) END AS bits
					FROM step WHERE i >= 0)))
	FROM (SELECT x.*, p.codes, 1 + (s.before + s.after > 255) AS n, -- bytes of an offset
			(SELECT sum(instr('123456789ABCDEF', substr(hex(substr(p.codes, 1, 1)), d.value, 1)) << 4 * d.key)
				FROM json_each('[2,1]') d) AS e
		FROM example_window x JOIN source s ON s.id = x.source_id
		JOIN example p ON p.source_id = x.source_id AND p.feature = x.feature AND p.bin = x.bin AND p.rank = x.rank) w;

-- The tokens of the windows of examples.
CREATE VIEW example_token(
	source_id, feature,
	kind, bin, rank,              -- as in example
	context_id, position,         -- of this token
	qualifying,                   -- 1: the one whose value put the example here
	token, text,
	value                         -- of the feature on it, 0 where it is silent
) AS
	SELECT t.source_id, t.feature, t.kind, t.bin, t.rank, t.context_id, t.first + t.i, t.first + t.i = t.position,
		(SELECT sum(instr('123456789ABCDEF', substr(t.h, d.value, 1)) << 4 * d.key) FROM json_each('[2,1,4,3,6,5,8,7]') d),
		CAST(substr(t.bytes, t.start + 1, t.end - t.start) AS TEXT), t.value
	FROM (SELECT v.*, n.key AS i, n.value, CAST(c.text AS BLOB) AS bytes, h.value AS h,
			(SELECT sum(instr('123456789ABCDEF', substr(h.value, 8 + d.value, 1)) << 4 * d.key) FROM json_each('[2,1,4,3,6,5,8,7]') d) AS start,
			(SELECT sum(instr('123456789ABCDEF', substr(h.value, 16 + d.value, 1)) << 4 * d.key) FROM json_each('[2,1,4,3,6,5,8,7]') d) AS end
		FROM example_values v JOIN context c ON c.id = v.context_id JOIN json_each(v."values") n
		JOIN json_each('["' || hex(substr(c.tokens, 4 * (v.first + n.key) + 1, 4))
			|| hex(substr(c.offsets, 4 * (v.first + n.key) + 1, 8)) || '"]') h) t;

-- ---- As Neuronpedia calls it: what its importer and its API's readers expect; other fields of theirs are not known here.

-- A feature, as a row of its table Neuron.
CREATE VIEW np_neuron(
	"modelId", "layer",           -- layer: the source's name
	"index",                      -- of the feature, as text
	"sourceSetName", "hookName",
	"maxActApprox", "frac_nonzero", -- share of tokens, exact
	"pos_str", "pos_values", "neg_str", "neg_values", -- JSON: tokens whose logits it raises and lowers most
	"freq_hist_data_bar_heights", "freq_hist_data_bar_values", -- JSON: firing tokens by activation, and the middle of each bin
	"logits_hist_data_bar_heights", "logits_hist_data_bar_values",
	"topkCosSimIndices", "topkCosSimValues", -- JSON: neighbours by decoder cosine
	"correlated_features_indices", "correlated_features_l1", -- JSON: cosine of firings, where stored
	"createdAt",
	source_id, feature            -- ours, to select by
) AS
	SELECT ifnull(s.model, ''), s.name, CAST(f.feature AS TEXT), s.name, s.hook_point, f.max_act, f.density,
		(SELECT json_group_array(v.text) FROM feature_logit v WHERE v.source_id = f.source_id AND v.feature = f.feature AND v.side = 'top'),
		(SELECT json_group_array(v.logit) FROM feature_logit v WHERE v.source_id = f.source_id AND v.feature = f.feature AND v.side = 'top'),
		(SELECT json_group_array(v.text) FROM feature_logit v WHERE v.source_id = f.source_id AND v.feature = f.feature AND v.side = 'bottom'),
		(SELECT json_group_array(v.logit) FROM feature_logit v WHERE v.source_id = f.source_id AND v.feature = f.feature AND v.side = 'bottom'),
		(SELECT json_group_array(v.count) FROM feature_histogram v WHERE v.source_id = f.source_id AND v.feature = f.feature),
		(SELECT json_group_array((v.low + v.high) / 2) FROM feature_histogram v WHERE v.source_id = f.source_id AND v.feature = f.feature),
		(SELECT json_group_array(v.count) FROM feature_logit_histogram v WHERE v.source_id = f.source_id AND v.feature = f.feature),
		(SELECT json_group_array((v.low + v.high) / 2) FROM feature_logit_histogram v WHERE v.source_id = f.source_id AND v.feature = f.feature),
		(SELECT json_group_array(v.neighbour) FROM feature_neighbour v WHERE v.source_id = f.source_id AND v.feature = f.feature),
		(SELECT json_group_array(v.cosine) FROM feature_neighbour v WHERE v.source_id = f.source_id AND v.feature = f.feature),
		(SELECT json_group_array(v.other) FROM feature_cofiring v WHERE v.source_id = f.source_id AND v.feature = f.feature),
		(SELECT json_group_array(v.cosine) FROM feature_cofiring v WHERE v.source_id = f.source_id AND v.feature = f.feature),
		s.created, f.source_id, f.feature
	FROM source s CROSS JOIN feature f ON f.source_id = s.id;

-- An example, as a row of its table Activation.
CREATE VIEW np_activation(
	"id", "modelId", "layer", "index", -- as in np_neuron
	"tokens", "values",           -- JSON: texts of the window's tokens, the feature's value on each
	"maxValue", "maxValueTokenIndex", "minValue",
	"binMin", "binMax", "binContains", -- interval, and its share of all tokens; of the strongest -1, the feature's maximum, -1
	"qualifyingTokenIndex",
	"dataSource",                 -- SHA-256 of the dump
	"createdAt",
	source_id, feature            -- ours, to select by
) AS
	SELECT v.source_id || '/' || v.feature || '/' || v.bin || '/' || v.rank, ifnull(s.model, ''), s.name, CAST(v.feature AS TEXT),
		(SELECT json_group_array(CAST(substr(t.bytes, t.start + 1, t.end - t.start) AS TEXT))
			FROM (SELECT CAST(c.text AS BLOB) AS bytes,
					(SELECT sum(instr('123456789ABCDEF', substr(h.value, d.value, 1)) << 4 * d.key) FROM json_each('[2,1,4,3,6,5,8,7]') d) AS start,
					(SELECT sum(instr('123456789ABCDEF', substr(h.value, 8 + d.value, 1)) << 4 * d.key) FROM json_each('[2,1,4,3,6,5,8,7]') d) AS end
				FROM context c JOIN json_each(x.value) n
				JOIN json_each('["' || hex(substr(c.offsets, 4 * (v.first + n.key) + 1, 8)) || '"]') h
				WHERE c.id = v.context_id) t),
		x.value,
		(SELECT max(n.value) FROM json_each(x.value) n),
		(SELECT n.key FROM json_each(x.value) n ORDER BY n.value DESC, n.key LIMIT 1),
		(SELECT min(n.value) FROM json_each(x.value) n),
		iif(v.bin < 0, -1.0, (SELECT i.low FROM feature_interval i
			WHERE i.source_id = v.source_id AND i.feature = v.feature AND i.bin = v.bin)),
		iif(v.bin < 0, (SELECT f.max_act FROM feature f WHERE f.source_id = v.source_id AND f.feature = v.feature),
			(SELECT i.high FROM feature_interval i WHERE i.source_id = v.source_id AND i.feature = v.feature AND i.bin = v.bin)),
		iif(v.bin < 0, -1.0, (SELECT 1.0 * i.count / s.n_tokens FROM feature_interval i
			WHERE i.source_id = v.source_id AND i.feature = v.feature AND i.bin = v.bin)),
		v.position - v.first, s.dump_sha256, s.created, v.source_id, v.feature
	FROM example_values v JOIN source s ON s.id = v.source_id JOIN json_each('[' || v."values" || ']') x;

-- A label that was not withdrawn, as a row of its table Explanation.
CREATE VIEW np_explanation(
	"id", "modelId", "layer", "index", -- as in np_neuron
	"description", "notes",       -- notes: the rule that a program can apply
	"typeName", "explanationModelName", -- method and model
	"scores",                     -- JSON: as of its table ExplanationScore
	"createdAt",
	source_id, feature            -- ours, to select by
) AS
	SELECT CAST(e.id AS TEXT), ifnull(s.model, ''), s.name, CAST(e.feature AS TEXT), e.text, e.rule, e.method, e.model,
		(SELECT json_group_array(json_object('value', x.value, 'explanationScoreTypeName', x.scorer,
				'explanationScoreModelName', x.judge, 'jsonDetails', x.details, 'createdAt', x.created))
			FROM score x WHERE x.explanation_id = e.id),
		e.created, e.source_id, e.feature
	FROM explanation e JOIN source s ON s.id = e.source_id WHERE e.withdrawn IS NULL;

-- Full text again, with the name of its table in the quotes by which Datasette knows it.

DROP TABLE context_fts;
DROP TABLE explanation_fts;
-- Full text (FTS5) over contexts, in words.
CREATE VIRTUAL TABLE context_fts USING fts5(text, content="context", content_rowid="id", tokenize="unicode61");
-- Full text (FTS5) over labels, in words.
CREATE VIRTUAL TABLE explanation_fts USING fts5(text, content="explanation", content_rowid="id", tokenize="unicode61");
INSERT INTO context_fts(context_fts) VALUES ('rebuild');
INSERT INTO explanation_fts(explanation_fts) VALUES ('rebuild');
