-- What `gloss features --where` and --sort may name: the rows of source ?1, tokenizer ?2. Not a step of the schema: queries go
-- behind it. Tables that no named column needs are not read: SQLite leaves out such joins where no other join hangs on them,
-- therefore label and score are found apart.
WITH features AS (
	SELECT f.feature, f.n_fires, f.n_contexts, f.density, f.max_act, f.mean_act, f.median_act, f.std_act, f.skewness, f.kurtosis,
		f.top_token, v.text AS top_token_text, f.top_token_share, f.token_entropy, f.decoder_norm,
		f.n_fires = 0 AS dead,
		f.density > 0.1 AS dense,
		f.n_fires >= 10 AND ifnull(f.top_token_share >= 0.9, 0) AS single_token,
		e.text AS label, e.method AS label_method, e.model AS label_model, e.confidence AS label_confidence,
		c.score, s.low AS score_low, s.high AS score_high, s.baseline AS score_baseline, s.scorer, s.judge,
		(SELECT o.name FROM source o WHERE o.id = ?1) AS source, (SELECT o.kind FROM source o WHERE o.id = ?1) AS kind
	FROM feature f
	LEFT JOIN vocab v ON v.tokenizer_id = ?2 AND v.token = f.top_token
	LEFT JOIN current_label c ON c.source_id = f.source_id AND c.feature = f.feature
	LEFT JOIN explanation e ON e.id =
		(SELECT l.explanation_id FROM current_label l WHERE l.source_id = f.source_id AND l.feature = f.feature)
	LEFT JOIN score s ON s.id =
		(SELECT l.score_id FROM current_label l WHERE l.source_id = f.source_id AND l.feature = f.feature)
	WHERE f.source_id = ?1
)
