# The list of features: all, sorted, filtered, by pages, as JSON.
sh "$GLOSS_SOURCE/tests/small_store.sh" small.db
gloss features -d small.db
gloss features -d small.db --sort -density --limit 2
gloss features -d small.db --sort -density --limit 2 --offset 2
gloss features -d small.db --where "label LIKE '%cat%' OR dead" --sort -score
gloss features -d small.db --where "score > 2"
gloss features -d small.db --source small --limit 1 --json
