-- Full text anew: the words of contexts that are gone would still be in it.
INSERT INTO context_fts(context_fts) VALUES ('rebuild');
INSERT INTO context_trigram(context_trigram) VALUES ('delete-all');
INSERT INTO context_trigram(rowid, text) SELECT id, text FROM context WHERE text GLOB (SELECT pattern FROM unspaced);
