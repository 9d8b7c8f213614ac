#!/bin/sh
# Every public header compiles alone, as a user of it would include it first, with each compiler there is.
set -u
root=${GLOSS_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
cd "$root" || exit 1
bad=0
for compiler in gcc clang; do
	command -v $compiler >/dev/null || { echo "no $compiler here: left out"; continue; }
	for header in base/base.h sae/sae.h store/store.h explain/explain.h cli/cli.h; do
		# shellcheck disable=SC2046
		printf '#include "%s"\n#include "%s"\ntypedef int one_declaration;\n' $header $header |
			$compiler -std=c11 -pedantic -Wall -Wextra -Wstrict-prototypes -Werror -I. \
				$(pkg-config --cflags libcjson) -fsyntax-only -x c - || { echo "$header: $compiler"; bad=1; }
	done
done
exit $bad
