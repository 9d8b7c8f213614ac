#!/bin/sh
# Every folder has a README.md, and it names each file in it (cmd_NAME.c and the like by their kind).
set -u
root=${GLOSS_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
cd "$root" || exit 1
bad=0
complain() { echo "$*"; bad=1; }

for folder in base sae store explain cli cli/serve schemas bench demo docs tests; do
	[ -d "$folder" ] || continue
	readme=$folder/README.md
	[ -f "$readme" ] || { complain "$readme is missing"; continue; }
	for file in "$folder"/*; do
		name=${file##*/}
		case $name in
		README.md | __pycache__ | *.part | cmd_*.c | test_*.c | support*.[ch] | bench_*.c) continue ;;
		esac
		case $folder/$name in schemas/*.json) continue ;; esac
		grep -qF "$name" "$readme" || complain "$readme does not say what $name is for"
	done
done
exit $bad
