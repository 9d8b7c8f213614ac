# Features of several sources in one list, drawn at random, of a list of one's own; sorting by several columns.
sh "$GLOSS_SOURCE/tests/two_sources.sh" two.db
gloss features -d two.db --all-sources --sort -score,-n_fires,feature --limit 5
gloss features -d two.db --source other --source small --where 'feature < 2'
gloss features -d two.db --all-sources --dead
gloss features -d two.db --source small --dense --where 'feature > 3' --sort -density
gloss features -d two.db --source small --single-token
gloss features -d two.db --all-sources --where 'NOT dead' --random 4 --seed 7
gloss features -d two.db --all-sources --where 'NOT dead' --random 4 --seed 7 --sort -density --limit 2 --offset 1
gloss features -d two.db --source small --random 2 --seed 8 --where dead --json | cut -c 1-80
gloss list pets -d two.db --source small --add 0,6
gloss list pets -d two.db --source other --add 6
gloss features -d two.db --all-sources --list pets --sort -density
gloss features -d two.db --source other --list pets --limit 1 --json | cut -c 1-60
gloss features -d two.db --all-sources --limit 1 --json | cut -c 1-100
gloss features -d two.db --all-sources --where "source GLOB 'o*' AND kind = 'sae' AND dense" --sort kind,-source,-n_fires
