# One feature in full, plain and in colours, cut to the terminal and whole, as JSON.
sh "$GLOSS_SOURCE/tests/small_store.sh" small.db
gloss show 0 -d small.db
COLUMNS=60 gloss show 6 -d small.db -n 2 --color always | cat -v
gloss show 4 -d small.db -n 1 --full
gloss show 3 -d small.db
gloss show 0 -d small.db -n 1 --json
gloss show 0 -d small.db -n 2 --intervals equal-width | grep -A9 ^samples
gloss show 0 -d small.db -n 2 --intervals neuronpedia | grep -A9 ^samples
gloss show 0 -d small.db --intervals tenths 2>&1 || echo "exit $?"
