# A person's lists: made, shown, used where features are named, changed, thrown away.
sh "$GLOSS_SOURCE/tests/small_store.sh" small.db
timeless() { sed 's/2[0-9]*-[0-9]*-[0-9]*T[0-9:]*Z/TIME/g'; }
gloss list -d small.db
gloss list months -d small.db --add 1,3-5
gloss list months -d small.db --add 5,6
gloss list odd -d small.db --add @months,7 --where 'feature % 2'
gloss list -d small.db | timeless
gloss list odd -d small.db
gloss features -d small.db --list odd --limit 2
gloss explain -d small.db --features @odd --dry-run
gloss list odd -d small.db --rename '  odd ones '
gloss list 'odd ones' -d small.db --remove all --where dead
gloss list 'odd ones' -d small.db --json
gloss list 'odd ones' -d small.db --remove @months
gloss list 'odd ones' -d small.db --remove 7 --json
gloss list 'odd ones' -d small.db
gloss show 3 -d small.db --json | grep -o '"lists":[^]]*]'
gloss list 'odd ones' -d small.db --delete
gloss list -d small.db --json | timeless
