-- What a store of version 1 holds that step 002 would throw away, turned into the form of version 2. Functions: store/migrate.c.
CREATE TEMP TABLE window_1 AS -- exact also where no window was whole: then the context ends before it would be cut
	SELECT source_id, max(position - first) AS before, max(first + length - 1 - position) AS after,
		coalesce(max(rank + 1) FILTER (WHERE kind = 'top'), 0) AS n_top
	FROM example GROUP BY source_id;
CREATE TEMP TABLE example_1 AS
	SELECT e.source_id, e.feature, e.bin, e.rank, e.context_id, e.position, float_bits(e.activation) AS activation_bits,
		codes_from_1(e.codes, e.position - e.first, w.before + w.after + 1) AS codes
	FROM example e JOIN window_1 w ON w.source_id = e.source_id;
CREATE TEMP TABLE detail_1 AS
	SELECT d.source_id, d.feature, histogram_from_1(d.histogram) AS histogram,
		json_object('definition', 'half octaves', 'grid', json(grid_from_1(d.histogram)),
			'counts', json_extract(d.histogram, '$.counts'),
			'kept', (SELECT json_group_array(kept) FROM (SELECT (SELECT count(*) FROM example e
				WHERE e.source_id = d.source_id AND e.feature = d.feature AND e.kind = 'bin' AND e.bin = c.key) AS kept
				FROM json_each(d.histogram, '$.counts') c ORDER BY c.key))) AS intervals
	FROM feature_detail d;
CREATE TEMP TABLE source_context_1 AS
	SELECT source_id, context_id FROM example UNION SELECT source_id, context_id FROM firing;
