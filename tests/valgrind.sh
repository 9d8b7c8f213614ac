#!/bin/sh
# A few commands under valgrind: no wrong access, no use of what was not set, no leak.
set -u
root=${GLOSS_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
gloss=${GLOSS_BIN:-$root/build/release/gloss}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
bad=0

# run WANTED ARGUMENT...: the exit status has to be WANTED; valgrind's own complaint is 99
run() {
	wanted=$1
	shift
	valgrind -q --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,possible \
		--errors-for-leak-kinds=definite "$gloss" "$@" >stdout 2>stderr
	code=$?
	[ $code = "$wanted" ] || { echo "gloss $*: exit status $code, not $wanted"; cat stderr; bad=1; }
}

run 0 help
run 0 help --man
run 2 banana
run 0 inspect "$root/demo/data" --tokenizer "$root/demo/data/tokenizer.json"
run 1 inspect nowhere
run 0 train "$root/demo/data" -o sae --features 64 --k 4 --batch 256 --steps 3 --threads 2
run 0 eval sae "$root/demo/data" --threads 2
exit $bad
