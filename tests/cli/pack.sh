# pack: a store as one plain file; what it says of wrong names and files
exec 2>&1
sh "$GLOSS_SOURCE/tests/small_store.sh" small.db
try() { gloss pack "$@" 2>&1 || echo "exit $?"; }
hide() { sed 's/[0-9.]* MB/N MB/g; s/[0-9a-f]\{64\}/HASH/; s/\("bytes[a-z_]*":\)[0-9]*/\1N/g'; }
try small.db -o a.db | hide
try small.db -o b.db --without vectors --without corpus --json | hide
gloss features -d b.db --limit 2
[ "$(gloss pack small.db -o c.db | sed -n 's/.*sha256 *//p')" = "$(sha256sum c.db | cut -d ' ' -f 1)" ] && cmp a.db c.db && echo same
try
try small.db
try small.db -o
try small.db -o d.db --without labels
try missing.db -o d.db
try small.db -o a.db
try small.db -o small.db --force
try small.db -o folder/d.db
echo text >text.db
try text.db -o d.db
cp small.db newer.db && sqlite3 newer.db "PRAGMA user_version = 99"
try newer.db -o d.db | sed "s|up to .*|up to N|"
ls
