-- Gloss store, version 6: windows that a person judged, blind, for judges to be measured by.

-- What a person says of a window: whether the label fits it. A row a window; one asked again is replaced.
CREATE TABLE golden (
	explanation_id INTEGER NOT NULL REFERENCES explanation(id), -- the label that was shown
	scorer TEXT NOT NULL,         -- whose question: 'detection' (of confidence too), 'fuzz'
	key INTEGER NOT NULL,         -- of the window and its marks, as in the items of score.details
	kind TEXT NOT NULL,           -- what it is, which was not shown: 'firing', 'silent', 'mismarked', 'decoder', ...
	windows TEXT NOT NULL,        -- JSON [[context, first token, length]]
	answer INTEGER NOT NULL CHECK (answer IN (0, 1)), -- 1: it fits
	created TEXT NOT NULL,
	PRIMARY KEY (explanation_id, scorer, key)
) STRICT, WITHOUT ROWID;
