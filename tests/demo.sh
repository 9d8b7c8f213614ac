#!/bin/sh
# The demo end to end in a temporary folder, and checks of what it leaves there.
set -eu
gloss=${GLOSS_BIN:?the program}
cd "${GLOSS_SOURCE:?the source folder}"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
store=$tmp/out/store.db

fail() { echo "demo: $*" >&2; exit 1; }
value() { "$gloss" sql -d "$store" --json "$1" | sed -n 's/.*"rows":\[\[\([^]]*\)\]\].*/\1/p' | tr -d '"'; }
# expect SQL-EXPRESSION: it is 1 on the store.
expect() { [ "$(value "SELECT $1")" = 1 ] || fail "not so: $1"; }

GLOSS=$gloss sh demo/run.sh --out "$tmp/out" >"$tmp/log" 2>&1 || { tail -n 40 "$tmp/log" >&2; fail "demo/run.sh failed"; }

for command in inspect train eval index features show find sql explain score; do
	grep -q "^\\$ .*gloss $command " "$tmp/log" || fail "the log shows no '$command' command line"
done
grep -q '^== Done in [0-9]* s ==$' "$tmp/log" || fail "the log has no end"
for file in sae/cfg.json sae/sae_weights.safetensors sae/sparsity.safetensors store.db; do
	[ -s "$tmp/out/$file" ] || fail "no $file"
done
find "$tmp/out" -name '*.part' | grep . && fail "temporary files are left"

# The same dump, tokens and rows; features that fire; labels that hold on documents they were not made from.
expect '(SELECT n_contexts = 64 AND n_tokens + n_left_out = 16384 AND n_left_out BETWEEN 64 AND 100 FROM source)'
expect '(SELECT count(*) = 2304 FROM feature)'
expect '(SELECT sum(n_fires) FROM feature) = (SELECT n_firings FROM source)'
expect '(SELECT count(*) > 200 FROM explanation)'
expect '(SELECT count(*) > 100 FROM score WHERE value IS NOT NULL)'
expect '(SELECT min(low <= value AND value <= high AND low >= 0 AND high <= 1) FROM score WHERE value IS NOT NULL)'
expect '(SELECT avg(value) - avg(baseline) > 0.05 FROM score WHERE value IS NOT NULL)'

# Of all documents of the store, and of the windows that were shown, no group is in two sets.
expect '(SELECT count(DISTINCT part) = 3 FROM document)'
expect '(SELECT count(*) = 0 FROM (SELECT 1 FROM document GROUP BY group_key HAVING count(DISTINCT part) > 1))'
shown="SELECT DISTINCT j.kind, d.group_key FROM request r JOIN task t ON t.id = r.task_id JOIN job j ON j.id = t.job_id,
	json_each(r.example_ids) w JOIN context c ON c.id = w.value ->> 0 JOIN document d ON d.id = c.document_id"
expect "(SELECT count(DISTINCT kind) = 2 AND count(*) > 20 FROM ($shown))"
expect "(SELECT count(*) = 0 FROM (SELECT 1 FROM ($shown) GROUP BY group_key HAVING count(*) > 1))"

# Held-out quality: not what a full run reaches, but far from nothing.
"$gloss" eval "$tmp/out/sae" demo/data --holdout 0.125 --json >"$tmp/eval.json"
fvu=$(sed -n 's/.*"fvu":\([0-9.]*\).*/\1/p' "$tmp/eval.json")
echo "$fvu" | awk '{ exit !($1 > 0.05 && $1 < 0.5) }' || fail "held-out FVU is '$fvu'"
echo "held-out FVU $fvu; $(value "SELECT count(*) || ' labels scored, mean ' || round(avg(value), 3) || ', chance ' || round(avg(baseline), 3) FROM score")"
