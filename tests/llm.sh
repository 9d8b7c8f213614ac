#!/bin/sh
# explain and score against the real llama.cpp server (SmolLM2-135M, from PyPI) on a small store: rows, intervals, request log,
# and a rerun that asks nothing. Completions, log-probabilities and embeddings too, by test_calls.
set -eu
gloss=${GLOSS_BIN:?the program}
cd "${GLOSS_SOURCE:?the source folder}"
tmp=$(mktemp -d)
store=$tmp/store.db
server=
embedder=
cleanup() {
	[ -z "$server$embedder" ] || { kill $server $embedder 2>/dev/null; wait $server $embedder 2>/dev/null; } || :
	rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

fail() { echo "llm: $*" >&2; exit 1; }
value() { "$gloss" sql -d "$store" --json "$1" | sed -n 's/.*"rows":\[\[\([^]]*\)\]\].*/\1/p' | tr -d '"'; }
expect() { [ "$(value "SELECT $1")" = 1 ] || fail "not so: $1"; }
logged() { "$venv/bin/python" -c "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM reply').fetchone()[0])" "$store.requests"; }

venv=${GLOSS_LLM_VENV:-build/venv-llm}
sh demo/llm_venv.sh "$venv"

"$gloss" train demo/data -o "$tmp/sae" --features 256 --k 16 --batch 1024 --steps 40 --quiet >/dev/null
"$gloss" index "$tmp/sae" demo/data -d "$store" --source small --tokenizer demo/data/tokenizer.json --corpus --quiet >/dev/null

await() { # FILE PID LOG
	for _ in $(seq 300); do
		[ ! -f "$1" ] || return 0
		kill -0 "$2" 2>/dev/null || { tail -n 20 "$3" >&2; fail "the server ended"; }
		sleep 0.2
	done
	fail "no server after a minute"
}
"$venv/bin/python" demo/llm_server.py "$tmp/url" --slots 2 >"$tmp/server.log" 2>&1 &
server=$!
"$venv/bin/python" demo/llm_server.py "$tmp/embed_url" --slots 2 --embeddings >"$tmp/embedder.log" 2>&1 &
embedder=$!
await "$tmp/url" "$server" "$tmp/server.log"
await "$tmp/embed_url" "$embedder" "$tmp/embedder.log"
url=$(cat "$tmp/url")
GLOSS_LLM_URL=$url GLOSS_EMBED_URL=$(cat "$tmp/embed_url") "$(dirname "$gloss")/test_calls" >"$tmp/calls" 2>&1 || fail "$(cat "$tmp/calls")"
kill "$embedder"
wait "$embedder" 2>/dev/null || :
embedder=

some=$(value 'SELECT group_concat(feature) FROM (SELECT feature FROM feature WHERE n_fires BETWEEN 100 AND 2000 ORDER BY feature LIMIT 3)')
[ -n "$some" ] || fail "no features to label"
llm() { command=$1; shift; "$gloss" "$command" -d "$store" --features "$some" --base-url "$url" --model smollm2-135m --concurrency 2 --json --quiet "$@"; }
# So small a model may give no usable label, or answer for windows it was not asked about: that task then fails and the command
# exits 1. What must hold is that every task ends done or with its reason.
ask() { llm "$@" >>"$tmp/out.json" 2>>"$tmp/err" || [ $? = 1 ] || fail "$(cat "$tmp/err")"; }
ask explain
ask score --scorer detection --positive 6 --negative 6 --per-prompt 2 --baseline 2

expect "(SELECT count(*) >= 1 FROM explanation WHERE method = 'llm' AND model = 'smollm2-135m' AND length(text) > 0 AND prompt_sha256 IS NOT NULL)"
expect "(SELECT count(*) >= 1 AND min(t.state = 'done' OR t.error IS NOT NULL) FROM task t JOIN job j ON j.id = t.job_id WHERE j.kind = 'score')"
expect "(SELECT coalesce(min(value BETWEEN low AND high AND low >= 0 AND high <= 1), 1) FROM score WHERE value IS NOT NULL)"
n=$(logged)
[ "$n" -ge 4 ] || fail "$n requests are logged"

# The labels are in the log now: the same again costs no request, also with no server.
kill "$server"
wait "$server" 2>/dev/null || :
server=
ask explain
[ "$(logged)" = "$n" ] || fail "the rerun made requests: $(logged) are logged, $n were"
echo "$n requests; $(value "SELECT group_concat(feature || ': ' || text, '; ') FROM explanation")"
