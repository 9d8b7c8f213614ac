-- What the store reads in order, made once the pass is through.
CREATE INDEX context_by_id ON context(id, group_key);
CREATE INDEX firing_by_context ON firing(context_id);
