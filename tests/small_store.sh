#!/bin/sh
# usage: small_store.sh FILE     makes the store of small_store.sql, for the golden tests
set -eu
root=${GLOSS_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
version=0
for step in "$root"/schemas/sql/[0-9]*.sql; do
	version=$((version + 1))
	sqlite3 -bail "$1" <"$step"
done
sqlite3 -bail "$1" <"$root/tests/small_store.sql"
sqlite3 -bail "$1" "PRAGMA application_id = 0x474c5353; PRAGMA user_version = $version"
