# What similar says of wrong input, one line each.
exec 2>&1
sh "$GLOSS_SOURCE/tests/two_sources.sh" two.db
try() { gloss similar "$@" || echo "exit $?"; }
try 0
try -d two.db
try x -d two.db --source small
try 8 -d two.db --source small
try 0 -d two.db
try 0 -d two.db --source small --source other
try 0 -d two.db --source small --in third
try 0 -d two.db --source small --in-store nowhere.db
try 0 -d two.db --source small --by size
try 0 -d two.db --source small --min-fires 3
try 0 -d two.db --duplicates
try --duplicates -d two.db --in other
try --duplicates -d two.db --source third
try --duplicates -d two.db --source small --source small
try --duplicates -d two.db --distance 8
sqlite3 two.db "UPDATE firing SET codes = x'01020100' WHERE source_id = 2"
try 0 -d two.db --source small --in other
try --duplicates -d two.db
