#!/bin/sh
# demo/subject_server.py on tiny random models of two families: log-probabilities are those of transformers, steering shifts the residual
# by the vector, every bad request gets one line, and gloss scores by it, again without a request. What a simulation expects by
# log-probabilities is what transformers expects.
set -eu
gloss=${GLOSS_BIN:?the program}
cd "${GLOSS_SOURCE:?the source folder}"
tmp=$(mktemp -d)
server=
trap 'rm -rf "$tmp"; [ -z "$server" ] || kill "$server" 2>/dev/null || :' EXIT
trap 'exit 1' INT TERM

fail() { echo "subject: $*" >&2; exit 1; }
. tests/tiny_models.sh

# serve MODEL: $url
serve() {
	[ -z "$server" ] || kill "$server"
	rm -f "$tmp/url"
	"$python" demo/subject_server.py --model "$tmp/$1" >"$tmp/url" 2>"$tmp/log" &
	server=$!
	for _ in $(seq 300); do
		[ ! -s "$tmp/url" ] || break
		kill -0 "$server" 2>/dev/null || { cat "$tmp/log" >&2; fail "no server"; }
		sleep 0.2
	done
	url=$(cat "$tmp/url")
}

if "$python" demo/subject_server.py --model "$tmp/none" >"$tmp/log" 2>&1; then fail "served nothing"; fi
grep -q "^subject_server.py: '$tmp/none' is no folder of a model" "$tmp/log" || { cat "$tmp/log" >&2; fail "did not say that there is no model"; }
# What it is asked by gloss: the tiny model's own dump, an SAE, labels by rule.
mkdir "$tmp/text"
"$python" - "$tmp" <<'END_PYTHON'
import sys
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(f"{sys.argv[1]}/llama")
model = AutoModelForCausalLM.from_pretrained(f"{sys.argv[1]}/llama")
for i in range(10):  # of a random model no digit is among the likeliest
    model.lm_head.weight.data[tokenizer.convert_tokens_to_ids(str(i))] *= 2.5
model.save_pretrained(f"{sys.argv[1]}/llama")
for i, row in enumerate(load_file("demo/data/acts-00000-of-00002.safetensors")["tokens"]):
    words = tokenizer.decode(row).split(" ")
    words[::9] = [w + " na\u00efve\u3001\u65e5\u672c\u8a9e \U0001F9ED" for w in words[::9]]  # some tokens are parts of characters
    open(f"{sys.argv[1]}/text/{i}.txt", "w").write(" ".join(words))
END_PYTHON
"$python" demo/dump_activations.py --model "$tmp/llama" --layer 1 --text "$tmp/text" --ctx-len 64 --dtype f32 --out "$tmp/dump" >"$tmp/log" 2>&1 ||
	{ cat "$tmp/log" >&2; fail "no dump"; }
"$gloss" train "$tmp/dump" -o "$tmp/sae" --features 96 --k 4 --batch 256 --steps 200 --seed 1 --quiet >"$tmp/log"
"$gloss" index "$tmp/sae" "$tmp/dump" -d "$tmp/s.db" --tokenizer "$tmp/dump/tokenizer.json" --corpus --quiet >"$tmp/log"
"$gloss" explain -d "$tmp/s.db" --where 'n_contexts BETWEEN 30 AND 150' --random 4 --quiet >"$tmp/log"

for model in gpt2 llama; do
	serve "$model"
	"$python" tests/subject.py "$tmp/$model" "$url" || fail "checks of $model"
done

# score WHAT ARGUMENT...: into $tmp/WHAT
score() {
	what=$1
	shift
	"$gloss" score -d "$tmp/s.db" --positive 12 --negative 12 --hard 6 --baseline 4 --quiet "$@" >"$tmp/$what" 2>"$tmp/log" ||
		{ cat "$tmp/$what" "$tmp/log" >&2; fail "score: $*"; }
}
values() { "$gloss" sql -d "$tmp/s.db" --json "SELECT explanation_id, value, low, high, details FROM score WHERE task_id IN (SELECT t.id FROM task t WHERE job_id = (SELECT max(id) FROM job)) ORDER BY 1" | grep -o '"rows":.*'; }
score surprisal --scorer surprisal --subject "$url"
grep -q '^scored 4, skipped 0, failed 0' "$tmp/surprisal" || { cat "$tmp/surprisal" >&2; fail "not all are scored"; }
values >"$tmp/first"
# by completions with echo of the same model the same, though tokens are told that are parts of characters
name=llama-$(sha256sum "$tmp/llama/model.safetensors" | cut -c1-12)
score echo --scorer surprisal --base-url "$url" --model "$name"
"$python" - "$tmp" <<'END_PYTHON' || fail "completions give other scores"
import json
import sqlite3
import sys

parts = sum(r.count("\\ufffd") for (r,) in sqlite3.connect(f"{sys.argv[1]}/s.db.requests").execute("SELECT reply FROM reply WHERE body LIKE '%\"echo\":true%'"))
ways = {}
for label, details, failed in sqlite3.connect(f"{sys.argv[1]}/s.db").execute("SELECT explanation_id, details, n_failed FROM score WHERE scorer = 'surprisal' ORDER BY id"):
    assert failed == 0
    items = json.loads(details)["items"]
    ways.setdefault(label, []).append(dict(zip((items["key"][i : i + 8] for i in range(0, len(items["key"]), 8)), items["answer"])))
assert len(ways) == 4 and all(len(w) == 2 and w[0].keys() == w[1].keys() for w in ways.values())
other = [abs(x - w[1][k]) > 1e-3 for w in ways.values() for k, x in w[0].items()]
# a line break that a window begins with is one token with the prefix's, where both are one text
assert parts > 100 and sum(other) <= 0.1 * len(other), (parts, sum(other), len(other))
print(f"surprisal: {len(other) - sum(other)} of {len(other)} windows by both ways to 1e-3, {parts} parts of characters told")
END_PYTHON
score intervention --scorer intervention --subject "$url" --prompts 10 --steer-tokens 3
grep -q '^scored 4, skipped 0, failed 0' "$tmp/intervention" || { cat "$tmp/intervention" >&2; fail "not all are scored by steering"; }
met=$("$gloss" sql -d "$tmp/s.db" --json "SELECT count(*) FROM score WHERE scorer = 'intervention' AND details ->> '$.steering.kl_met' AND details ->> '$.steering.layer' = 1 AND n_positive >= 5" | grep -o '"rows":.*')
[ "${met#*4}" != "$met" ] || fail "the KL was not met: $met"
"$gloss" explain -d "$tmp/s.db" --features all --random 2 --explainer output --subject "$url" --base-url http://127.0.0.1:9/v1 --model none --dry-run --quiet >"$tmp/log"
grep -q '^dry run: 29 requests' "$tmp/log" || { cat "$tmp/log" >&2; fail "steering is not counted"; }
"$gloss" score -d "$tmp/s.db" --scorer simulation --logprobs --base-url "$url" --model "$name" --positive 5 --negative 2 --baseline 0 --where 'score IS NOT NULL' --random 2 --quiet >"$tmp/log" 2>&1 ||
	{ cat "$tmp/log" >&2; fail "not simulated by log-probabilities"; }
"$python" - "$tmp" <<'END_PYTHON' || fail "expects other activations than transformers"
import json
import sqlite3
import sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

tmp = sys.argv[1]
model, tokenizer = AutoModelForCausalLM.from_pretrained(f"{tmp}/llama").eval(), AutoTokenizer.from_pretrained(f"{tmp}/llama")
digits = {tokenizer.convert_tokens_to_ids(str(k)): k for k in range(10)}


@torch.inference_mode()
def expected(prompt):
    """Of each token of the text that is asked about; None: no digit is among the 15 likeliest."""
    coded = tokenizer(prompt, return_offsets_mapping=True)
    p, first = model(torch.tensor([coded["input_ids"]])).logits[0].softmax(-1), prompt.rindex("<start>")
    places = [i for i, (a, b) in enumerate(coded["offset_mapping"]) if a > first and prompt[a - 1 : a + 7] == "\tunknown"]
    for top in (p[i - 1].topk(15) for i in places):
        some = [(digits[i], q) for i, q in zip(top.indices.tolist(), top.values.tolist()) if i in digits]
        yield sum(k * q for k, q in some) / sum(q for _, q in some) if some else None


log = sqlite3.connect(f"{tmp}/s.db.requests").execute("SELECT body FROM reply WHERE stage = 'score' AND body LIKE '%<start>%'")
want = [list(expected(json.loads(body)["prompt"])) for (body,) in log]
scores = [json.loads(d) for (d,) in sqlite3.connect(f"{tmp}/s.db").execute("SELECT details FROM score WHERE scorer = 'simulation'")]
got = sorted(x for d in scores for x in d["items"]["answer"])
strongest = sorted(max((x for x in w if x is not None), default=0) for w in want)
assert len(scores) == 2 and len(got) == len(strongest) == 14, (len(scores), len(got), len(strongest))
assert sum(d["tokens"] for d in scores) == sum(x is not None for w in want for x in w) > 150
assert sum(d["tokens_missing"] for d in scores) == sum(x is None for w in want for x in w)
assert all(d["by"] == "logprobs" for d in scores)
worst = max(abs(a - b) for a, b in zip(got, strongest))
assert worst <= 1e-3, worst
print(f"simulation: {len(got)} windows to {worst:.1g}")
END_PYTHON
# a store without decoder rows says what to do, and takes those of the SAE
"$gloss" pack "$tmp/s.db" -o "$tmp/bare.db" --without vectors >"$tmp/log"
if "$gloss" score -d "$tmp/bare.db" --scorer intervention --subject "$url" --quiet >"$tmp/log" 2>&1; then fail "steered by nothing"; fi
grep -q 'holds no decoder row of feature .*: give its SAE with --sae$' "$tmp/log" || { cat "$tmp/log" >&2; fail "did not say what to do"; }
"$gloss" score -d "$tmp/bare.db" --scorer intervention --subject "$url" --sae "$tmp/sae" --prompts 10 --steer-tokens 3 --quiet >"$tmp/log" ||
	{ cat "$tmp/log" >&2; fail "not steered by the SAE's rows"; }
kill "$server"
server=
score again --scorer surprisal --subject "$url" --replay --subject-model "$name"
grep -q ' 0 requests' "$tmp/again" || { cat "$tmp/again" >&2; fail "a replay asks"; }
values | cmp -s - "$tmp/first" || fail "a replay gives other scores"
if "$gloss" score -d "$tmp/s.db" --scorer surprisal --subject "$url" --retries 0 --quiet >"$tmp/log" 2>&1; then fail "scored without a server"; fi
grep -q "^gloss score: cannot reach '$url'" "$tmp/log" || { cat "$tmp/log" >&2; fail "did not say that the server is gone"; }
