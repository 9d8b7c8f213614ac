-- Take out what an index run says of source ?1; labels, scores, lists and notes stay (index_unlabel.sql).
DELETE FROM example WHERE source_id = ?1;
DELETE FROM source_context WHERE source_id = ?1;
DELETE FROM firing WHERE source_id = ?1;
DELETE FROM vector WHERE source_id = ?1;
DELETE FROM feature_detail WHERE source_id = ?1;
DELETE FROM feature WHERE source_id = ?1;
