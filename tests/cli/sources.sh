# The sources of a store, and what sources says of wrong input.
exec 2>&1
sh "$GLOSS_SOURCE/tests/two_sources.sh" two.db
gloss sources -d two.db
gloss sources -d two.db --json
gloss sources
gloss sources -d nowhere.db
gloss sources small -d two.db
gloss label 3 -d two.db --source other 'a label' >/dev/null
sqlite3 two.db "UPDATE source SET kind = 'neurons', corpus = 1, name = 'a' || char(10) || 'b' WHERE id = 2"
gloss sources -d two.db
sqlite3 two.db "UPDATE source SET config = '{' WHERE id = 2"
gloss sources -d two.db
for table in current_label score explanation note firing example feature_detail feature source_context source; do
	sqlite3 two.db "DELETE FROM $table"
done
gloss sources -d two.db
