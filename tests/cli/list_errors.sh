# What list says of wrong input, one line each.
exec 2>&1
sh "$GLOSS_SOURCE/tests/small_store.sh" small.db
try() { gloss list "$@" || echo "exit $?"; }
try
try months -d small.db
try months -d small.db --add 8
try months -d small.db --add 1,x
try months -d small.db --add @nowhere
try months -d small.db --add all --where densty
try months -d small.db --remove 1
try months -d small.db --delete
try -d small.db --add 1
try months -d small.db --add 1 --delete
try months -d small.db --where dead
try '' -d small.db --add 1
try 'a,b' -d small.db --add 1
try '@a' -d small.db --add 1
try "$(printf 'a\tb')" -d small.db --add 1
try "$(printf 'a\351')" -d small.db --add 1
try "$(printf '%0101d' 0)" -d small.db --add 1
try months -d small.db --source other --add 1
gloss list months -d small.db --add 1
gloss list days -d small.db --add 2
try days -d small.db --rename months
try weeks -d small.db
try days -d nowhere.db --add 1
gloss features -d small.db --list weeks || echo "exit $?"
gloss explain -d small.db --features @weeks || echo "exit $?"
