-- Leave of the firings those of the random contexts, as if each source had been indexed without --corpus.
DELETE FROM firing WHERE sampled = 0;
UPDATE source SET corpus = 0;
CREATE TEMP TABLE used AS SELECT source_id, context_id FROM example UNION SELECT source_id, context_id FROM firing;
DELETE FROM source_context WHERE (source_id, context_id) NOT IN (SELECT source_id, context_id FROM temp.used);
DROP TABLE temp.used;
