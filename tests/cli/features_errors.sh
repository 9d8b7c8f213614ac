# What features says of wrong input, one line each.
exec 2>&1
sh "$GLOSS_SOURCE/tests/small_store.sh" small.db
try() { gloss features "$@" || echo "exit $?"; }
try
try -d small.db --where 'densty > 0.1'
try -d small.db --where 'density > > 1'
try -d small.db --where '1) OR (1'
try -d small.db --where '1; DROP TABLE feature'
try -d small.db --where 'feature IN (SELECT token FROM vocab)'
try -d small.db --where "load_extension('x')"
try -d small.db --sort weight
try -d small.db --limit 0
try -d small.db --source other
