#!/bin/sh
# Makes anew what is made from the program and kept in the repository: docs/gloss.1, the tables of docs/store.md and the
# golden files of tests/cli/.
# usage: [GLOSS_BIN=gloss] sh tests/update.sh     then read the diff before committing it
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
GLOSS_BIN=${GLOSS_BIN:-$root/build/release/gloss}
GLOSS_SOURCE=$root
export GLOSS_BIN GLOSS_SOURCE
"$GLOSS_BIN" help --man >"$root/docs/gloss.1.part"
mv "$root/docs/gloss.1.part" "$root/docs/gloss.1"
sh "$root/tests/check_store_doc.sh" --update
sh "$root/tests/cli.sh" --update
