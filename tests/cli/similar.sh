# What is like a feature, in its own source and in another, and features that behave alike.
sh "$GLOSS_SOURCE/tests/two_sources.sh" two.db
for source in 1 2; do # decoder vectors (4 halves each); those of the second source turned
	for f in 0 1 2 3 4 5 6 7; do
		sqlite3 two.db "INSERT INTO vector VALUES ($source, $f, x'003c00$((30 + (f * 3 + source) % 8))000000$((40 + f))')"
	done
done
gloss similar 0 -d two.db --source small --limit 4
gloss similar 0 -d two.db --source small --in other --by lift --min-both 5 --limit 3
gloss similar 3 -d two.db --source small --limit 2
gloss similar 6 -d two.db --source small --in other --by cosine --limit 2 --json
sh "$GLOSS_SOURCE/tests/small_store.sh" small.db
gloss similar 0 -d two.db --source other --in-store small.db --limit 2
gloss similar --duplicates -d two.db
gloss similar --duplicates -d two.db --source small --min-fires 2 --distance 7
gloss similar --duplicates -d two.db --limit 1 --json
