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
sqlite3 small.db "INSERT INTO source SELECT 2, 'layer4', tokenizer_id, architecture, d_in, n_features, k, model, hook_point, layer,
	weights_sha256, dump_sha256, n_tokens, n_left_out, norm_limit, n_contexts, n_firings, corpus, config, argv, version, created FROM source"
try -d small.db
try -d small.db --source layer5
try -d small.db --source small
