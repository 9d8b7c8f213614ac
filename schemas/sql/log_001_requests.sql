-- Gloss request log, version 1: STORE.requests, a file of its own beside the store. One row for each question that an endpoint has
-- answered with status 200; asking it again costs nothing. It holds no API key: keys are not part of a request's address,
-- and one that a server echoes is blotted out before the reply comes here.

CREATE TABLE reply (
	key TEXT PRIMARY KEY,         -- SHA-256 of endpoint, model, sample number and canonical body
	endpoint TEXT NOT NULL,
	model TEXT NOT NULL,
	body TEXT NOT NULL,           -- as sent
	status INTEGER NOT NULL,
	reply TEXT NOT NULL,          -- as received
	seconds REAL NOT NULL,        -- from sending to the last byte
	created TEXT NOT NULL         -- ISO 8601, UTC
) STRICT;
