-- What `gloss features --where` and --sort may name: the rows of source ?1, tokenizer ?2. Not a step of the schema: queries go
-- behind it. Columns that need other tables cost nothing where they are not named.
WITH base AS (
	SELECT f.feature, f.n_fires, f.n_contexts, f.density, f.max_act, f.mean_act, f.median_act, f.std_act, f.skewness, f.kurtosis,
		f.top_token, f.top_token_share, f.token_entropy, f.decoder_norm, f.n_fires = 0 AS dead,
		(SELECT max(x.id) FROM explanation x WHERE x.source_id = f.source_id AND x.feature = f.feature) AS label_id
	FROM feature f WHERE f.source_id = ?1
), features AS (
	SELECT b.feature, b.n_fires, b.n_contexts, b.density, b.max_act, b.mean_act, b.median_act, b.std_act, b.skewness, b.kurtosis,
		b.top_token,
		(SELECT v.text FROM vocab v WHERE v.tokenizer_id = ?2 AND v.token = b.top_token) AS top_token_text,
		b.top_token_share, b.token_entropy, b.decoder_norm, b.dead,
		e.text AS label, e.method AS label_method, e.model AS label_model, e.confidence AS label_confidence,
		s.value AS score, s.low AS score_low, s.high AS score_high, s.baseline AS score_baseline, s.scorer, s.judge
	FROM base b
	LEFT JOIN explanation e ON e.id = b.label_id
	LEFT JOIN score s ON s.id = (SELECT max(y.id) FROM score y WHERE y.explanation_id = b.label_id)
)
