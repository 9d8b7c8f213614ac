-- STORE.part, the side database of an index run: what the pass has to remember of contexts until the store takes it over.
-- Rows come in the order of the dump; equal content may come twice.
CREATE TABLE context (
	id INTEGER NOT NULL,
	document INTEGER NOT NULL,    -- key
	group_key INTEGER NOT NULL,
	tokens BLOB NOT NULL
) STRICT;
CREATE TABLE firing (
	context_id INTEGER NOT NULL,
	counted BLOB NOT NULL,
	codes BLOB NOT NULL
) STRICT;
CREATE TABLE vector (
	feature INTEGER PRIMARY KEY,
	decoder BLOB NOT NULL
) STRICT;
