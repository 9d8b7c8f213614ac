-- What `gloss sources` tells of each source. Not a step of the schema.
SELECT s.name, s.kind, s.architecture, s.model, s.hook_point, s.layer, s.d_in, s.n_features, s.k,
	s.n_tokens, s.n_left_out, s.norm_limit, s.n_contexts, s.n_firings, s.corpus,
	(SELECT count(*) FROM firing x WHERE x.source_id = s.id) AS n_stored, -- contexts whose firings are stored
	f.dead, f.dense, l.labelled, l.scored,
	s.kind = 'neurons' OR EXISTS (SELECT 1 FROM vector v WHERE v.source_id = s.id) AS vectors, -- those of neurons are axes: not stored
	s.weights_sha256, s.dump_sha256, t.sha256 AS tokenizer_sha256, s.dumps,
	s.n_top, s.n_samples, s.n_random, s.before, s.after, s.sample_rule,
	s.config, s.argv, s.version, s.created
FROM source s
LEFT JOIN tokenizer t ON t.id = s.tokenizer_id
LEFT JOIN (SELECT source_id, count(*) FILTER (WHERE n_fires = 0) AS dead, count(*) FILTER (WHERE density > 0.1) AS dense
	FROM feature GROUP BY source_id) f ON f.source_id = s.id
LEFT JOIN (SELECT source_id, count(*) AS labelled, count(score_id) AS scored
	FROM current_label GROUP BY source_id) l ON l.source_id = s.id
ORDER BY s.id
