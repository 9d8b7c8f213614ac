#!/bin/sh
# Everything that can be checked, on a fresh Debian 12 too: installs what is missing, builds with gcc and clang, runs all
# tests, then the sanitizers, valgrind and clang-tidy. The last line is "N passed, M failed"; exit status 0 when M is 0.
# usage: sh tests/run.sh
set -u
cd "$(dirname "$0")/.." || exit 1
root=$PWD
# shellcheck source=demo/packages.sh
. demo/packages.sh
if command -v apt-get >/dev/null; then
	# shellcheck disable=SC2086
	packages_install $packages_build $packages_test || { echo "cannot install what is missing" >&2; exit 1; }
else
	echo "no apt-get here: taking what is installed" >&2
fi

log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
trap 'exit 130' INT TERM
jobs=$(getconf _NPROCESSORS_ONLN)
passed=0
failed=0
started=$(date +%s)

# count NAME PASSED FAILED: add up, and say it; with a failure, show the log
count() {
	passed=$((passed + $2))
	failed=$((failed + $3))
	echo "[$(($(date +%s) - started)) s] $1: $2 passed, $3 failed"
	[ "$3" = 0 ] || tail -n 150 "$log" | sed 's/^/    /'
}

# step NAME COMMAND...: one check, passed when COMMAND succeeds
step() {
	name=$1
	shift
	if "$@" >"$log" 2>&1; then
		count "$name" 1 0
	else
		count "$name" 0 1
		return 1
	fi
}

# build PRESET [TARGET...]
build() {
	preset=$1
	shift
	cmake --preset "$preset" && cmake --build --preset "$preset" -j "$jobs" ${1+--target "$@"}
}

# tests PRESET [CTEST OPTION...]: each test counts
tests() {
	preset=$1
	shift
	$without_aslr ctest --preset "$preset" "$@" >"$log" 2>&1
	code=$?
	total=$(sed -n 's/.* tests failed out of \([0-9]*\)$/\1/p' "$log")
	bad=$(sed -n 's/.*, \([0-9]*\) tests failed out of [0-9]*$/\1/p' "$log")
	if [ -z "$total" ] || { [ "$code" != 0 ] && [ "$bad" = 0 ]; }; then
		count "tests, $preset" 0 1
	else
		count "tests, $preset" $((total - bad)) "$bad"
		sed -n 's/^ *[0-9]* - \(.*\) (Skipped)$/    skipped: \1/p' "$log"
	fi
}
without_aslr=

step "build, release (gcc)" build release && tests release -j "$jobs"
step "build, clang" build clang && tests clang -j "$jobs" -LE 'slow|check'

ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1
UBSAN_OPTIONS=print_stacktrace=1
export ASAN_OPTIONS UBSAN_OPTIONS
step "build, asan (address, undefined)" build asan && tests asan -j "$jobs" -LE 'slow|check'

# The thread sanitizer of gcc 12 does not know the address layouts of newer kernels: switch them off where that is allowed.
if setarch "$(uname -m)" -R true 2>/dev/null; then
	without_aslr="setarch $(uname -m) -R"
fi
TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
export TSAN_OPTIONS
if step "configure, tsan (thread)" cmake --preset tsan; then
	threaded=$(ctest --preset tsan -N -L threads | sed -n 's/^ *Test *#[0-9]*: \(.*\)/test_\1/p')
	# shellcheck disable=SC2086
	step "build, tsan (thread)" build tsan $threaded && tests tsan -L threads
fi
without_aslr=

step "clang-format" sh tests/check_format.sh
step "READMEs" sh tests/check_readme.sh
step "valgrind" sh tests/valgrind.sh
step "clang-tidy" sh tests/tidy.sh

echo "took $(($(date +%s) - started)) s on $jobs CPUs, in $root"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
