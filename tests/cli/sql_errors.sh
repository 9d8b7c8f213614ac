# What sql refuses, one line each; the store stays as it is.
exec 2>&1
sh "$GLOSS_SOURCE/tests/small_store.sh" small.db
sha256sum small.db >before
try() { gloss sql -d small.db "$@" || echo "exit $?"; }
try "DELETE FROM feature"
try "CREATE TABLE t(x)"
try "ATTACH 'other.db' AS other"
try "PRAGMA user_version = 9"
try "VACUUM INTO 'other.db'"
try "SELECT load_extension('x')"
try "SELECT 1; SELECT 2"
try "SELEC 1"
try "SELECT nosuch FROM feature"
try ""
try --time-limit 0.1 "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
# where the store cannot stop a statement, the program ends: functions on long values, words without end, a plan without end
begun=$(date +%s)
a="hex(zeroblob(8000000))"
try --time-limit 0.1 "SELECT instr($a, hex(zeroblob(4000000)) || '1')"
try --time-limit 0.1 "SELECT length(replace($a, hex(zeroblob(4000000)) || '1', 'x'))"
try --time-limit 0.1 "SELECT length(trim($a, replace(hex(zeroblob(1000000)), '0', 'b') || '0'))"
try --time-limit 0.1 "SELECT replace(hex(zeroblob(30000000)), '0', 'a') LIKE '%' || replace(hex(zeroblob(450)), '0', 'a') || 'b'"
try --time-limit 0.1 "SELECT 1 FROM context_fts WHERE context_fts MATCH (SELECT group_concat('\"the ran the\"', ' OR ') FROM (
	WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT 20000) SELECT i FROM n))"
try --time-limit 0.1 "WITH a AS (SELECT 1 AS x), $(for i in b c d e f g h i j k l m n o p q r s t u v w; do
	printf '%s AS (SELECT x FROM %s UNION SELECT x + 1 FROM %s UNION SELECT x + 2 FROM %s), ' $i ${last:-a} ${last:-a} ${last:-a}; last=$i; done) z AS (SELECT 1) SELECT x FROM w"
[ $(($(date +%s) - begun)) -lt 20 ] || echo "that took too long"
# and memory has an end
try --time-limit 60 "SELECT $(for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do printf 'zeroblob(60000000) || %s, ' $i; done) 1"
sha256sum -c before
ls
