#!/bin/sh
# docs/gloss.1 is what the program prints, is good mdoc, and has for each command the options that its help has.
set -u
root=${GLOSS_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
gloss=${GLOSS_BIN:-$root/build/release/gloss}
page=$root/docs/gloss.1
bad=0
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

"$gloss" help --man >"$work/gloss.1" || bad=1
diff -u "$page" "$work/gloss.1" || { echo "docs/gloss.1 is out of date: run sh tests/update.sh"; bad=1; }
if command -v mandoc >/dev/null; then
	mandoc -Tlint -W warning "$page" || bad=1
else
	echo "no mandoc here: the page's syntax was not checked"
fi

for command in $("$gloss" help | sed -n '/^commands:/,/^$/s/^  \([a-z][a-z-]*\).*/\1/p' | grep -vx help); do
	"$gloss" help "$command" | sed '/^options of every command:/,$d' |
		sed -n 's/^  .[a-zA-Z ]. *--\([a-z0-9-]*\).*/\1/p' | sort >"$work/help"
	awk -v command="$command" '$1 == ".Ss" { inside = $2 == command } inside && /^\.It / { print }' "$page" |
		sed -n 's/^\.It .*Fl \\-\([^ ]*\).*/\1/p' | sed 's/\\-/-/g' | sort >"$work/man"
	diff "$work/help" "$work/man" || { echo "help and man page of '$command' differ in options"; bad=1; }
	for option in $(cat "$work/help"); do
		case $option in
		?*) ;;
		*) echo "an option of '$command' has no name"; bad=1 ;;
		esac
	done
	"$gloss" help "$command" | awk 'length($0) > 100 && !/^usage:/ && !/^  / { print "over 100 columns: " $0; bad = 1 }
		END { exit bad }' || bad=1
done
exit $bad
