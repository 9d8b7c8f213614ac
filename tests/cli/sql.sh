# Read-only SQL: a table, CSV, JSON, rows cut off.
sh "$GLOSS_SOURCE/tests/small_store.sh" small.db
gloss sql -d small.db "SELECT feature, text, NULL AS gone, '' AS empty, x'00112233445566778899aabbccddeeff00' AS blob FROM label; -- that is all"
gloss sql -d small.db --csv "SELECT 1 AS a, NULL AS b, '' AS c, 'x,\"y\"' AS d, x'00ff' AS e, 2.5 AS f"
gloss sql -d small.db --json "SELECT id, 1.5, NULL, '', x'00ff' FROM context LIMIT 1"
gloss sql -d small.db --limit 2 "SELECT feature FROM feature"
gloss sql -d small.db "SELECT 1 WHERE 0"
