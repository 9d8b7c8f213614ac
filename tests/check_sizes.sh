#!/bin/sh
# No C file over 800 lines, no function over 80 (signature and braces counted) but those that tests/long_functions.txt
# names with a reason, as "FILE FUNCTION reason".
set -u
root=${GLOSS_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
cd "$root" || exit 1
find base sae store explain cli tests bench demo -name '*.[ch]' | sort | xargs awk -v allowed_file=tests/long_functions.txt '
	BEGIN {
		while ((getline line < allowed_file) > 0) {
			n = split(line, word, " ")
			if (line ~ /^#/ || n == 0)
				continue
			if (n < 3) { print allowed_file ": no reason: " line; bad = 1 }
			allowed[word[1] " " word[2]] = 1
		}
	}
	function finish_file() {
		if (lines > 800) { print previous ": " lines " lines, over 800"; bad = 1 }
	}
	FNR == 1 { finish_file(); previous = FILENAME; start = 0 }
	{ lines = FNR }
	/^[A-Za-z_].*\(/ { # a signature, or the first line of one
		name = $0
		if (name ~ /^START_TEST/) sub(/^START_TEST\(/, "", name)
		else sub(/\(.*/, "", name)
		gsub(/.*[ *]|\).*/, "", name)
		signature = FNR
	}
	/^\{$/ { start = signature }
	/^\}$/ && start {
		size = FNR - start + 1
		key = FILENAME " " name
		if (key in allowed) used[key] = 1
		if (size > 80 && !(key in allowed)) { print FILENAME ":" start ": " name " has " size " lines, over 80"; bad = 1 }
		start = 0
	}
	END {
		finish_file()
		for (key in allowed)
			if (!(key in used)) { print allowed_file ": " key " is not there any more"; bad = 1 }
		exit bad
	}'
