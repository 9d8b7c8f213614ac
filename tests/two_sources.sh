#!/bin/sh
# usage: two_sources.sh FILE     the store of small_store.sql, its source there a second time under the name `other`
set -eu
sh "${GLOSS_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}/tests/small_store.sh" "$1"
# each table with the second source's number in place of the first
copy() {
	columns=$(sqlite3 "$1" "SELECT group_concat(name, ', ') FROM pragma_table_info('$2') WHERE name <> 'source_id'")
	sqlite3 -bail "$1" "INSERT INTO $2(source_id, $columns) SELECT 2, $columns FROM $2"
}
columns=$(sqlite3 "$1" "SELECT group_concat(name, ', ') FROM pragma_table_info('source') WHERE name NOT IN ('id', 'name')")
sqlite3 -bail "$1" "INSERT INTO source(id, name, $columns) SELECT 2, 'other', $columns FROM source"
for table in source_context feature feature_detail example firing; do
	copy "$1" "$table"
done
