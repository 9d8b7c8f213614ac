#!/bin/sh
# clang-tidy's short list (.clang-tidy) over the product's files, with the flags of the clang build.
set -u
root=${GLOSS_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
cd "$root" || exit 1
[ -f build/clang/compile_commands.json ] || { echo "tidy.sh: first cmake --preset clang"; exit 1; }
find base sae store explain cli -name '*.c' | sort |
	xargs -P "$(getconf _NPROCESSORS_ONLN)" -n 4 clang-tidy --quiet -p build/clang
