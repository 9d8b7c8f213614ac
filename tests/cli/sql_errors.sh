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
sha256sum -c before
ls
