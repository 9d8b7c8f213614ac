# Features by a regular expression; contexts and labels by words.
sh "$GLOSS_SOURCE/tests/small_store.sh" small.db
gloss find -d small.db --regex ' the( cat| dog)'
gloss find -d small.db --regex '\(' --min-precision 0.9
gloss find -d small.db --regex nowhere
gloss find -d small.db --regex cat --limit 1 --json
gloss find -d small.db --text 'cats OR 日本' -n 2
gloss find -d small.db --text cats --color always | cat -v
gloss find -d small.db --text nowhere
gloss find -d small.db --text cats --json
