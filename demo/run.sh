#!/bin/sh
# From a real dump to labelled, scored features, on the cut of it in demo/data.
#
#	sh demo/run.sh [--llm] [--out DIR]
#
#	--llm      also label and score with SmolLM2-135M behind llama.cpp's server (from PyPI, on loopback)
#	--out DIR  where results go (build/demo); what an earlier run left there is replaced
#
# Installs what is missing with apt, as root or through sudo, and builds. With GLOSS=PROGRAM in the environment that program is
# used and nothing is built.
set -eu
cd "$(dirname "$0")/.."

out=build/demo llm=
while [ $# -gt 0 ]; do
	case $1 in
	--llm) llm=1 ;;
	--out) out=${2:?--out needs a folder}; shift ;;
	*) sed -n '2,/^set/s/^# \{0,1\}//p' demo/run.sh >&2; exit 2 ;;
	esac
	shift
done

bold= plain=
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$(printf '\033[1m') plain=$(printf '\033[0m'); fi
step() { printf '\n%s== %s ==%s\n' "$bold" "$1" "$plain"; }
# run COMMAND...: show it as one would type it, then do it.
run() {
	line='$'
	for word in "$@"; do
		case $word in
		'' | *[!A-Za-z0-9_./:=,+@%-]*) line="$line '$word'" ;;
		*) line="$line $word" ;;
		esac
	done
	printf '%s%s%s\n' "$bold" "$line" "$plain"
	"$@"
}
# value SQL: the one value that the query gives.
value() { "$gloss" sql -d "$store" --json "$1" | sed -n 's/.*"rows":\[\[\([^]]*\)\]\].*/\1/p' | tr -d '"'; }

if [ -n "${GLOSS:-}" ]; then
	gloss=$GLOSS
else
	. demo/packages.sh
	packages_install $packages_build ${llm:+python3 python3-venv}
	step "Build"
	run cmake --preset release >/dev/null
	run cmake --build --preset release
	gloss=build/release/gloss
fi
sae=$out/sae store=$out/store.db
mkdir -p "$out"
rm -rf "$sae" "$store" "$store-wal" "$store-shm" # the request log stays: a rerun asks the model nothing twice
started=$(date +%s)

step "The dump: 64 contexts of 256 tokens of SmolLM2-135M's residual stream after block 15"
run "$gloss" inspect demo/data

step "Train a TopK SAE"
run "$gloss" train demo/data -o "$sae" --features 2304 --k 32 --batch 1024 --steps 600 --seed 1

step "How good is it on documents it has not seen?"
run "$gloss" eval "$sae" demo/data --holdout 0.125

step "Index: when does every feature fire?"
run "$gloss" index "$sae" demo/data -d "$store" --source demo --tokenizer demo/data/tokenizer.json --corpus

step "Browse: features that fire on 30 to 300 tokens, the most single-minded first"
run "$gloss" features -d "$store" --where 'n_fires BETWEEN 30 AND 300' --sort token_entropy --limit 10
feature=$(value 'SELECT feature FROM feature WHERE n_fires BETWEEN 30 AND 300 ORDER BY token_entropy, feature LIMIT 1')
run "$gloss" show "$feature" -d "$store"

step "Find features by what they fire on"
run "$gloss" find --regex '\b[A-Z][a-z]+\b' -d "$store" --limit 5
run "$gloss" find --text 'kernel OR package' -d "$store" --limit 5
run "$gloss" sql -d "$store" "SELECT count(*) AS features, sum(n_fires = 0) AS dead, sum(density > 0.1) AS dense, max(density) AS densest FROM feature"

step "Label features and score the labels (no network: the lexical explainer and judge)"
run "$gloss" explain -d "$store" --features all --where 'n_contexts >= 10'
run "$gloss" score -d "$store" --features all --where 'n_contexts >= 10' --scorer detection
run "$gloss" features -d "$store" --where 'score IS NOT NULL' --sort -score --limit 15

if [ -n "$llm" ]; then
	step "The same with a language model: SmolLM2-135M behind llama.cpp's server"
	sh demo/llm_venv.sh build/venv-llm
	url=$out/llm-url
	rm -f "$url"
	build/venv-llm/bin/python demo/llm_server.py "$url" --slots 2 >"$out/llm-server.log" 2>&1 &
	server=$!
	trap 'kill $server 2>/dev/null; wait $server 2>/dev/null' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	while [ ! -f "$url" ]; do
		kill -0 $server 2>/dev/null || { echo "demo: the server ended; see $out/llm-server.log" >&2; exit 1; }
		sleep 0.2
	done
	some=$(value 'SELECT group_concat(feature) FROM (SELECT feature FROM feature WHERE n_fires BETWEEN 60 AND 600 ORDER BY token_entropy, feature LIMIT 5)')
	run "$gloss" explain -d "$store" --features "$some" --base-url "$(cat "$url")" --model smollm2-135m --concurrency 2
	run "$gloss" score -d "$store" --features "$some" --scorer detection --base-url "$(cat "$url")" --model smollm2-135m --concurrency 2 \
		--positive 6 --negative 6 --per-prompt 2 --baseline 2 ||
		echo "(so small a judge may answer for windows it was not asked about: such a task has failed, with its reason)"
	run "$gloss" features -d "$store" --where "feature IN ($some)"
	echo "(A model of 135 million parameters follows the format and judges near chance: this shows the plumbing, not good labels.)"
fi

step "Done in $(($(date +%s) - started)) s"
cat <<END
$sae         the SAE, in SAELens's layout
$store    the store: one SQLite file
Try next:
  $gloss features -d $store --sort -max_act --limit 20
  $gloss show $feature -d $store
  $gloss find --regex 'ing\\b' -d $store
  $gloss find --text 'file' -d $store
  $gloss sql -d $store 'SELECT text FROM context LIMIT 3'
  $gloss help
END
