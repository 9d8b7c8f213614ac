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
# a network file system whose locks other machines do not see: read, but not written; nothing is made there
echo "1 0 0:1 / / rw - nfs server:/x rw,nolock" >mounts
export GLOSS_MOUNTINFO="$PWD/mounts"
cp small.db net.db
try -d net.db --source small
for command in "note 0 hello" "label 0 cats" "list mine --add 0" "explain --features 0 --quiet"; do
	# shellcheck disable=SC2086
	gloss $command -d net.db --source small || echo "exit $?"
done
cmp small.db net.db
