#!/bin/sh
# A store in the hands of other programs: Datasette answers 200 for each of its tables and views, and the pandas example of
# docs/store.md runs.
set -eu
gloss=${GLOSS_BIN:?the program}
cd "${GLOSS_SOURCE:?the source folder}"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM

fail() { echo "datasette: $*" >&2; exit 1; }

venv=${GLOSS_DATASETTE_VENV:-build/venv-datasette}
if [ ! -f "$venv/ready" ]; then
	python3 -m venv "$venv"
	"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: datasette==0.65.5 pandas==3.1.1
	touch "$venv/ready"
fi
python=$(cd "$venv/bin" && pwd)/python

"$gloss" train demo/data -o "$tmp/sae" --features 256 --k 16 --batch 1024 --steps 40 --quiet >/dev/null
"$gloss" index "$tmp/sae" demo/data -d "$tmp/store.db" --source small --tokenizer demo/data/tokenizer.json --quiet >/dev/null
"$gloss" explain -d "$tmp/store.db" --features 1-20 --quiet >/dev/null
"$gloss" score -d "$tmp/store.db" --features 1-20 --quiet >/dev/null
"$gloss" list -d "$tmp/store.db" mine --add 1,2 >/dev/null
"$gloss" note -d "$tmp/store.db" 1 "look at this" >/dev/null
"$python" tests/datasette_pages.py "$tmp/store.db"

sed -n '/^```python$/,/^```$/p' docs/store.md | sed '/^```/d' >"$tmp/example.py"
[ "$(wc -l <"$tmp/example.py")" -ge 10 ] || fail "no example in docs/store.md"
(cd "$tmp" && "$python" -W error example.py) >"$tmp/out" || fail "the example of docs/store.md fails"
grep -q '\[\[' "$tmp/out" || { cat "$tmp/out"; fail "the example printed no text"; }
tail -n 6 "$tmp/out"
