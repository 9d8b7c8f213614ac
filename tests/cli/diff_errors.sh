# What diff says of wrong input, one line each.
exec 2>&1
sh "$GLOSS_SOURCE/tests/two_sources.sh" t.db
try() { gloss diff "$@" -n 0 || echo "exit $?"; }
try small -d t.db
try small other
try small other third -d t.db
try small wide -d t.db
try small small -d t.db
try small small -d t.db --with ./t.db
try small other -d none.db
try small other -d t.db --with none.db
try small other -d t.db --method best
try small other -d t.db --min-cosine 2
try small other -d t.db --min-common 0
try small other -d t.db --pairs
cp "$GLOSS_SOURCE/demo/data/tokenizer.json" no.db
try small other -d t.db --with no.db
cp t.db newer.db && sqlite3 newer.db "PRAGMA user_version = 99"
try small other -d t.db --with newer.db | sed 's|up to [0-9]*|up to N|'
head -c 20000 t.db >cut.db
try small other -d cut.db
echo "no vectors, then only in one"
try small other -d t.db --by cosine
try small other -d t.db --method nearest
sqlite3 t.db "INSERT INTO vector SELECT 1, feature, x'003c000000000000' FROM feature WHERE source_id = 1"
try small other -d t.db
echo "another width"
cp t.db width.db
sqlite3 width.db "INSERT INTO vector SELECT 2, feature, x'003c00000000' FROM feature WHERE source_id = 2;
	UPDATE source SET d_in = 3 WHERE id = 2"
try small other -d width.db
echo "too many features"
sqlite3 width.db "UPDATE source SET n_features = 40000"
try small other -d width.db --method hungarian
echo "damage"
sqlite3 t.db "INSERT INTO vector SELECT 2, feature, x'003c000000000000' FROM feature WHERE source_id = 2 AND feature < 5"
try small other -d t.db
sqlite3 t.db "UPDATE vector SET decoder = x'007e000000000000' WHERE source_id = 2 AND feature = 3"
try small other -d t.db
sqlite3 t.db "DELETE FROM vector; UPDATE firing SET codes = x'01' WHERE source_id = 2"
try small other -d t.db
echo "nothing in common"
sqlite3 t.db "DELETE FROM firing WHERE source_id = 2"
try small other -d t.db
try small other -d t.db --by firing
