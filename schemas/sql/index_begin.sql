-- Scratch of the transaction that takes an index run over.
CREATE TEMP TABLE IF NOT EXISTS wanted (id INTEGER PRIMARY KEY); -- contexts that some row will refer to
CREATE TEMP TABLE IF NOT EXISTS sampled (id INTEGER PRIMARY KEY); -- the random contexts
CREATE TEMP TABLE IF NOT EXISTS joined (group_key INTEGER PRIMARY KEY, store_key INTEGER NOT NULL); -- of the run, of the store
DELETE FROM temp.wanted;
DELETE FROM temp.sampled;
DELETE FROM temp.joined;
