#!/bin/sh
# The tables of docs/store.md are what docs/store_tables.awk makes of schemas/sql/, and say something of each table and column
# that a store has.
# usage: sh tests/check_store_doc.sh [--update]     --update writes them
set -u
root=${GLOSS_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
page=$root/docs/store.md
bad=0
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

awk -f "$root/docs/store_tables.awk" "$root"/schemas/sql/[0-9]*.sql >"$work/tables" || exit 1
sed '/^<!-- tables -->$/q' "$page" >"$work/page"
cat "$work/tables" >>"$work/page"
sed -n '/^<!-- end of tables -->$/,$p' "$page" >>"$work/page"
if [ "${1-}" = --update ]; then
	cp "$work/page" "$page"
	exit
fi
diff -u "$page" "$work/page" || { echo "docs/store.md is out of date: run sh tests/update.sh"; bad=1; }

version=0
for step in "$root"/schemas/sql/[0-9]*.sql; do
	version=$((version + 1))
	sqlite3 -bail "$work/store.db" <"$step" || exit 1
done
grep -q "the schema's, now $version)" "$page" || { echo "docs/store.md does not say that the schema is now $version"; bad=1; }
sqlite3 "$work/store.db" "SELECT t.name || ' ' || x.name FROM pragma_table_list t JOIN pragma_table_xinfo(t.name) x
	WHERE t.schema = 'main' AND t.type IN ('table', 'view') AND t.name NOT LIKE 'sqlite%'" | sort >"$work/has"
# TABLE COLUMN of the page; of views without a list of columns, all those they have
awk '/^### / { name = $2 } /^\| `/ { split($0, cell, / \| /); n = split(cell[1], part, "`")
	for (i = 2; i <= n; i += 2) print name, part[i] }' "$work/tables" >"$work/said"
for view in label label_score newest_label; do
	grep "^$view " "$work/has" >>"$work/said"
done
sort -o "$work/said" "$work/said"
diff "$work/has" "$work/said" || { echo "columns of a store (<) and of docs/store.md (>) differ"; bad=1; }
sqlite3 "$work/store.db" "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite%'
	AND name NOT IN (SELECT name FROM pragma_table_list WHERE type = 'shadow')" | while read -r name; do
	awk -v name="$name" '/^### / { inside = $2 == name } inside && /[a-z]/ && !/^[#|]/ { found = 1 } END { exit !found }' \
		"$work/tables" || echo "docs/store.md says nothing of '$name'"
done >"$work/silent"
cat "$work/silent"
[ ! -s "$work/silent" ] || bad=1
exit $bad
