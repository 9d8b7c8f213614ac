# What show says of wrong input, one line each.
exec 2>&1
sh "$GLOSS_SOURCE/tests/small_store.sh" small.db
try() { gloss show "$@" || echo "exit $?"; }
try -d small.db
try x -d small.db
try 3 -d small.db --random
try 3 -d small.db --seed 1
try 3 -d small.db --where dead
try random -d small.db --where dead
try random -d small.db --where densty
try -d small.db -- -1
try 8 -d small.db
try 99999999999 -d small.db
sqlite3 small.db "UPDATE feature_detail SET histogram = '{'"
try 0 -d small.db
sqlite3 small.db "UPDATE feature_detail SET histogram = '{\"per_octave\":64,\"first\":0,\"counts\":[]}'; UPDATE example SET codes = x'00ff0001'"
try 0 -d small.db
