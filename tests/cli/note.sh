# Notes on a feature, and what note says of wrong input.
exec 2>&1
sh "$GLOSS_SOURCE/tests/small_store.sh" small.db
try() { gloss note "$@" | sed 's/2[0-9]*-[0-9]*-[0-9]*T[0-9:]*Z/TIME/g'; }
try 3 -d small.db
try 3 -d small.db '  fires
on two lines '
try 3 -d small.db "not on a line like
\"this	one\" — 日本"
try 3 -d small.db --json
try 0 -d small.db
gloss show 3 -d small.db | sed -n '/^notes/,/^$/p'
try 3 -d small.db --delete 2
try 3 -d small.db --delete 2
try 3 -d small.db --delete 1
try 3 -d small.db --delete 3 'and a text'
try 3 -d small.db --delete 0
try 8 -d small.db 'text'
try x -d small.db 'text'
try 3 -d small.db ''
try 3 -d small.db "$(printf 'bell \a')"
try 3 -d small.db "$(printf 'half \343\201')"
try 3 -d small.db --source other 'text'
try 3 'text'
head -c 70000 /dev/zero | tr '\0' x >long
try 3 -d small.db "$(cat long)"
try 3 -d small.db
