#!/bin/sh
# Golden tests of the command line: runs tests/cli/NAME.sh, each in a fresh folder with `gloss` in its PATH, and compares
# what it prints and returns with the files beside it.
#   NAME.sh.stdout, NAME.sh.stderr             exactly this (absent: nothing)
#   NAME.sh.stdout.glob, NAME.sh.stderr.glob   a shell pattern for the whole of it, where numbers or times vary
#   NAME.sh.exit                               the exit status (absent: 0)
# usage: [GLOSS_BIN=gloss] sh tests/cli.sh [--update] [--part I/N] [NAME...]     --update rewrites the exact files and exits
#   --part I/N: only every Nth case, from the Ith
set -u
source=${GLOSS_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
binary=${GLOSS_BIN:-$source/build/release/gloss}
cases=$source/tests/cli
update=false
if [ "${1-}" = --update ]; then
	update=true
	shift
fi
part=1 parts=1
if [ "${1-}" = --part ]; then
	part=${2%/*} parts=${2#*/}
	shift 2
fi
[ -x "$binary" ] || { echo "cli.sh: no program '$binary'" >&2; exit 1; }

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
mkdir "$work/bin" && ln -s "$binary" "$work/bin/gloss" || exit 1
GLOSS_SOURCE=$source
PATH=$work/bin:$PATH
LC_ALL=C.UTF-8
TERM=dumb
export GLOSS_SOURCE PATH LC_ALL TERM
unset NO_COLOR GLOSS_API_KEY OPENAI_API_KEY GLOSS_FAULT

# check_text FILE GOT: whether GOT is what FILE or FILE.glob says; with --update FILE becomes GOT
check_text() {
	if [ -f "$1.glob" ]; then
		# shellcheck disable=SC2254
		case $(cat "$2") in
		$(cat "$1.glob")) return 0 ;;
		esac
		echo "does not match $1.glob; it is:"
		cat "$2"
		return 1
	fi
	if $update; then
		rm -f "$1"
		[ ! -s "$2" ] || cp "$2" "$1"
		return 0
	fi
	if [ -f "$1" ]; then
		diff -u "$1" "$2"
	else
		diff -u /dev/null "$2"
	fi
}

# run_case FILE.sh: its complaints on stdout; 0 when there are none
run_case() {
	bad=0
	rm -rf "$work/run" && mkdir "$work/run"
	(cd "$work/run" && exec sh "$1") >"$work/stdout" 2>"$work/stderr" </dev/null
	code=$?
	if grep -q '^Traceback' "$work/stdout" "$work/stderr"; then # a check of the case's own, never what is wanted
		cat "$work/stderr"
		return 1
	fi
	check_text "$1.stdout" "$work/stdout" || bad=1
	check_text "$1.stderr" "$work/stderr" || bad=1
	if $update; then
		rm -f "$1.exit"
		[ "$code" = 0 ] || echo "$code" >"$1.exit"
		return 0
	fi
	want=0
	[ ! -f "$1.exit" ] || want=$(cat "$1.exit")
	[ "$code" = "$want" ] || { echo "exit status $code, not $want"; bad=1; }
	return $bad
}

failed=0
count=0
number=0
for file in "$cases"/*.sh; do
	[ -f "$file" ] || continue
	name=$(basename "$file" .sh)
	if [ $# -gt 0 ]; then
		case " $* " in
		*" $name "*) ;;
		*) continue ;;
		esac
	fi
	number=$((number + 1))
	[ $(((number - part) % parts)) = 0 ] || continue
	count=$((count + 1))
	if run_case "$file" >"$work/complaints"; then
		continue
	fi
	failed=$((failed + 1))
	echo "FAILED $name"
	sed 's/^/    /' "$work/complaints"
done
for file in "$cases"/*.sh.*; do # what a renamed case left behind
	[ ! -f "$file" ] || [ -f "${file%.sh.*}.sh" ] || { echo "FAILED ${file#"$source"/} belongs to no case"; failed=$((failed + 1)); }
done
echo "$count cases, $failed failed"
[ "$failed" = 0 ] && [ "$count" -gt 0 ]
