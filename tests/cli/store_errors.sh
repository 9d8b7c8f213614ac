# Files that are no store, or not one that this program reads; several sources.
exec 2>&1
sh "$GLOSS_SOURCE/tests/small_store.sh" small.db
try() { gloss features -n 1 "$@" || echo "exit $?"; }
try -d missing.db
mkdir folder && try -d folder
echo "this is a text, long enough to be no header of a database file at all, is it not? It is: one hundred bytes." >text.db
try -d text.db
: >empty.db
try -d empty.db
sqlite3 other.db "CREATE TABLE t(x)"
try -d other.db
cp small.db newer.db && sqlite3 newer.db "PRAGMA user_version = 99"
try -d newer.db
head -c 20000 small.db >cut.db
try -d cut.db
sqlite3 small.db "CREATE TEMP TABLE other AS SELECT * FROM source; UPDATE other SET id = 2, name = 'layer4';
	INSERT INTO source SELECT * FROM other"
try -d small.db
try -d small.db --source layer5
try -d small.db --source small
