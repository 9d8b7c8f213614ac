-- Brings back what migrate_002_before.sql kept of a store of version 1.
INSERT INTO example SELECT * FROM temp.example_1 ORDER BY 1, 2, 3, 4;
INSERT INTO source_context SELECT * FROM temp.source_context_1;
UPDATE feature_detail AS d SET histogram = o.histogram, intervals = o.intervals
	FROM temp.detail_1 o WHERE o.source_id = d.source_id AND o.feature = d.feature;
UPDATE source AS s SET before = w.before, after = w.after, n_top = w.n_top
	FROM temp.window_1 w WHERE w.source_id = s.id;
DROP TABLE temp.example_1;
DROP TABLE temp.detail_1;
DROP TABLE temp.window_1;
DROP TABLE temp.source_context_1;
