#!/bin/sh
# Every C file is as clang-format leaves it (.clang-format). Returns 77, skipped, where clang-format is absent;
# tests/run.sh installs it.
set -u
root=${GLOSS_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
cd "$root" || exit 1
command -v clang-format >/dev/null || { echo "SKIPPED: no clang-format here"; exit 77; }
find base sae store explain cli tests bench demo -name '*.[ch]' -exec clang-format --dry-run -Werror {} + 2>&1 |
	sed -n 's/^\([^: ]*\):\([0-9]*\):.*/\1/p' | sort | uniq -c | awk '
	{ print $2 ": " $1 " places; run: clang-format -i " $2 }
	END { exit NR > 0 }'
