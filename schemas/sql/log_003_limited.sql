-- Gloss request log, version 3: how often the server would not answer yet.

ALTER TABLE spent ADD COLUMN limited_requests INTEGER NOT NULL DEFAULT 0; -- of the requests: answered 429
