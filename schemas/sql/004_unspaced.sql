-- Gloss store, version 4: full text in scripts that put no spaces between words. Contexts and labels that hold characters of
-- them are in tables of trigrams too; the words of context_fts and explanation_fts are those between spaces.

-- Which texts are in the tables of trigrams.
CREATE VIEW unspaced(
	pattern                       -- for GLOB: a text with a character of a script without spaces
) AS
	SELECT '*[' || char(
		0x0e01, 0x2d, 0x0e5b, -- Thai
		0x0e81, 0x2d, 0x0edf, -- Lao
		0x1000, 0x2d, 0x109f, 0xa9e0, 0x2d, 0xa9fe, 0xaa60, 0x2d, 0xaa7f, -- Myanmar
		0x1780, 0x2d, 0x17f9, -- Khmer
		0x3005, 0x2d, 0x3007, 0x3041, 0x2d, 0x30ff, 0x31f0, 0x2d, 0x31ff, 0xff66, 0x2d, 0xff9d, -- Kana and their marks
		0x3400, 0x2d, 0x4dbf, 0x4e00, 0x2d, 0x9fff, 0xf900, 0x2d, 0xfaff, 0x20000, 0x2d, 0x323af -- Han
	) || ']*' AS pattern;
-- Full text (FTS5) over contexts with such characters, in trigrams.
CREATE VIRTUAL TABLE context_trigram USING fts5(text, content='context', content_rowid='id', tokenize='trigram');
-- Full text (FTS5) over labels with such characters, in trigrams.
CREATE VIRTUAL TABLE explanation_trigram USING fts5(text, content='explanation', content_rowid='id', tokenize='trigram');
INSERT INTO context_trigram(rowid, text) SELECT id, text FROM context WHERE text GLOB (SELECT pattern FROM unspaced);
INSERT INTO explanation_trigram(rowid, text) SELECT id, text FROM explanation WHERE text GLOB (SELECT pattern FROM unspaced);
CREATE TRIGGER context_trigram_insert AFTER INSERT ON context WHEN new.text GLOB (SELECT pattern FROM unspaced) BEGIN
	INSERT INTO context_trigram(rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER context_trigram_delete AFTER DELETE ON context WHEN old.text GLOB (SELECT pattern FROM unspaced) BEGIN
	INSERT INTO context_trigram(context_trigram, rowid, text) VALUES ('delete', old.id, old.text);
END;
CREATE TRIGGER explanation_trigram_insert AFTER INSERT ON explanation WHEN new.text GLOB (SELECT pattern FROM unspaced) BEGIN
	INSERT INTO explanation_trigram(rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER explanation_trigram_delete AFTER DELETE ON explanation WHEN old.text GLOB (SELECT pattern FROM unspaced) BEGIN
	INSERT INTO explanation_trigram(explanation_trigram, rowid, text) VALUES ('delete', old.id, old.text);
END;
