#!/bin/sh
# demo/dump_activations.py and demo/splice_eval.py on tiny random models of two families: what hooks give adds up, roles lie on their words,
# SAEs that rebuild all or the mean row cost nothing or what ablation costs, fvu and l0 are those of `gloss eval`, and an SAE in another tool's layout
# gives the same.
set -eu
gloss=${GLOSS_BIN:?the program}
cd "${GLOSS_SOURCE:?the source folder}"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM

fail() { echo "splice: $*" >&2; exit 1; }
# refused WORDS ARGUMENT...: splice_eval.py ends with 1 and one line with these words
refused() {
	words=$1
	shift
	if "$python" demo/splice_eval.py "$@" >"$tmp/log" 2>&1; then fail "took $*"; fi
	tail -n 1 "$tmp/log" | grep -q "^splice_eval.py: .*$words" || { cat "$tmp/log" >&2; fail "did not say '$words'"; }
}

. tests/tiny_models.sh

mkdir "$tmp/text"
"$python" - "$tmp" <<'END_PYTHON'
import json, sys
from safetensors.torch import load_file
from transformers import AutoTokenizer

tmp = sys.argv[1]
tokenizer = AutoTokenizer.from_pretrained(f"{tmp}/llama")
tokens = load_file("demo/data/acts-00000-of-00002.safetensors")["tokens"]
for i, row in enumerate(tokens[:6]):
    open(f"{tmp}/text/{i}.txt", "w").write(tokenizer.decode(row))
chats = [[("system", "Be brief."), ("user", "What is a gloss?"), ("assistant", "A short note in the margin.")], [("user", "Thank you!")]]
with open(f"{tmp}/chats.jsonl", "w") as f:
    for chat in chats:
        f.write(json.dumps({"messages": [{"role": r, "content": c} for r, c in chat]}) + "\n")
END_PYTHON

for model in llama gpt2; do
	"$python" demo/dump_activations.py --model "$tmp/$model" --layer 0 1 --hook resid_pre resid_post attn_out mlp_out z result --text "$tmp/text" \
		--ctx-len 64 --contexts 12 --dtype f32 --out "$tmp/all_$model" >"$tmp/log" 2>&1 || { cat "$tmp/log" >&2; fail "no dump of $model"; }
done
"$python" demo/dump_activations.py --model "$tmp/llama" --layer 1 --chat "$tmp/chats.jsonl" --ctx-len 24 --dtype f32 --out "$tmp/chat" >"$tmp/log" 2>&1 ||
	{ cat "$tmp/log" >&2; fail "no dump of chats"; }
"$gloss" inspect "$tmp/all_llama" --key blocks.1.attn.hook_result --head 3 --quiet >"$tmp/log"
grep -q '^rows  *768 of 48 values, F32' "$tmp/log" || { cat "$tmp/log" >&2; fail "the results of one head"; }
"$gloss" inspect "$tmp/chat" --roles user,assistant --quiet --json >"$tmp/chat.json"

"$python" - "$tmp" <<'END_PYTHON'
import json, sys
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from pathlib import Path

tmp = Path(sys.argv[1])
close = lambda a, b, what: (a - b).abs().max() <= 1e-4 * b.abs().max() or sys.exit(f"splice: {what}: {(a - b).abs().max()} of {b.abs().max()}")
for name in "llama", "gpt2":
    model = AutoModelForCausalLM.from_pretrained(tmp / name).eval()
    t = load_file(tmp / f"all_{name}/acts-00000-of-00001.safetensors")
    heads = t["blocks.1.attn.hook_result"]
    assert heads.shape == (12, 64, 6 if name == "llama" else 4, 48)
    bias = model.transformer.h[1].attn.c_proj.bias.detach() if name == "gpt2" else 0
    close(heads.sum(2).flatten(0, 1) + bias, t["blocks.1.hook_attn_out"], f"{name}: results of heads add up to attn_out")
    z = t["blocks.1.attn.hook_z"].flatten(2).flatten(0, 1)
    proj = model.transformer.h[1].attn.c_proj if name == "gpt2" else model.model.layers[1].self_attn.o_proj
    close(proj(z).detach(), t["blocks.1.hook_attn_out"], f"{name}: z through the output matrix")
    close(t["blocks.1.hook_resid_pre"], t["blocks.0.hook_resid_post"], f"{name}: resid_pre is resid_post of the layer before")
    parts = [t[f"blocks.1.hook_{h}"] for h in ("resid_pre", "attn_out", "mlp_out")]
    close(sum(parts), t["blocks.1.hook_resid_post"], f"{name}: resid_pre + attn_out + mlp_out")
model, c, at = AutoModelForCausalLM.from_pretrained(tmp / "llama").eval(), load_file(tmp / "chat/acts-00000-of-00001.safetensors"), 0
for n in c["lengths"].tolist():
    hidden = model(c["tokens"][None, at : at + n].long(), output_hidden_states=True).hidden_states[2][0].detach()
    close(c["activations"][at : at + n], hidden, "a chat's rows")
    at += n
roles, text = json.loads((tmp / "chat/dump.json").read_text())["roles"], AutoTokenizer.from_pretrained(tmp / "llama")
said = {r: text.decode(c["tokens"][c["roles"] == i]) for i, r in enumerate(roles)}
assert said["user"] == "What is a gloss?Thank you!" and said["assistant"] == "A short note in the margin.", said
kept = json.loads((tmp / "chat.json").read_text())["rows"]["kept"]
assert kept == int(((c["roles"] == 2) | (c["roles"] == 3)).sum()), kept

# SAEs that rebuild all (features are plus and minus each dimension) and only the mean row; and some of random features.
x = load_file(tmp / "all_llama/acts-00000-of-00001.safetensors")["blocks.1.hook_resid_post"]
eye, zero = torch.eye(48), torch.zeros(48)
torch.manual_seed(1)
some, limits = torch.randn(100, 48), 0.5 * x.std() * torch.rand(100)
saes = {
    "all": ("standard", {"W_enc": torch.cat([eye, -eye], 1), "W_dec": torch.cat([eye, -eye]), "b_enc": torch.zeros(96), "b_dec": zero}, {}),
    "mean": ("standard", {"W_enc": torch.zeros(48, 8), "W_dec": torch.zeros(8, 48), "b_enc": torch.zeros(8), "b_dec": x.mean(0)}, {}),
    "topk": ("topk", {"W_enc": some.T, "W_dec": 0.02 * some, "b_enc": torch.zeros(100), "b_dec": x.mean(0)}, {"k": 9}),
    "jumprelu": ("jumprelu", {"W_enc": some.T, "W_dec": 0.02 * some, "b_enc": torch.zeros(100), "b_dec": zero, "threshold": limits}, {"apply_b_dec_to_input": False}),
    "groupmax": ("gloss_groupmax", {"W_enc": some.T, "W_dec": 0.02 * some, "b_enc": torch.zeros(100), "b_dec": zero}, {"k": 10}),
    "gated": ("gated", {"W_enc": some.T, "W_dec": 0.02 * some, "b_dec": zero, "b_gate": -limits, "b_mag": limits, "r_mag": 0.01 * limits}, {"apply_b_dec_to_input": False}),
    "pursuit": ("matching_pursuit", {"W_dec": some / some.norm(dim=1, keepdim=True), "b_dec": zero}, {"residual_threshold": 0.1, "max_iterations": 5}),
    "wide": ("standard", {"W_enc": torch.zeros(50, 8), "W_dec": torch.zeros(8, 50), "b_enc": torch.zeros(8), "b_dec": torch.zeros(50)}, {}),
}
for sae, (arch, tensors, more) in saes.items():
    (tmp / sae).mkdir()
    f, d = tensors["W_dec"].shape
    (tmp / sae / "cfg.json").write_text(json.dumps({"architecture": arch, "d_in": d, "d_sae": f, "metadata": {}} | more))
    save_file({k: v.contiguous() for k, v in tensors.items()}, tmp / sae / "sae_weights.safetensors")
# the dump of one hook point, with tokens
(tmp / "dump").mkdir()
tokens = load_file(tmp / "all_llama/acts-00000-of-00001.safetensors")["tokens"]
save_file({"activations": x, "tokens": tokens}, tmp / "dump/acts.safetensors")
END_PYTHON

for sae in all mean topk jumprelu groupmax gated; do
	"$python" demo/splice_eval.py --model "$tmp/llama" --layer 1 --sae "$tmp/$sae" --dump "$tmp/dump" --batch 5 --gloss "$gloss" --out "$tmp/$sae.splice" ||
		fail "no splice of $sae"
	"$gloss" eval "$tmp/$sae" "$tmp/dump" --holdout 1 --max-norm-ratio 0 --json --quiet --no-dictionary >"$tmp/$sae.eval"
done
# in another tool's layout
"$gloss" export "$tmp/topk" --to sparsify -o "$tmp/sparsify" >/dev/null
"$python" demo/splice_eval.py --model "$tmp/llama" --layer 1 --sae "$tmp/sparsify" --dump "$tmp/dump" --batch 5 --gloss "$gloss" >"$tmp/sparsify.splice"
refused "'$tmp/text' holds no SAE" --model "$tmp/llama" --layer 1 --sae "$tmp/text" --dump "$tmp/dump" --gloss "$gloss"
refused "cannot run '$tmp/no'" --model "$tmp/llama" --layer 1 --sae "$tmp/sparsify" --dump "$tmp/dump" --gloss "$tmp/no"
refused "architecture 'matching_pursuit'" --model "$tmp/llama" --layer 1 --sae "$tmp/pursuit" --dump "$tmp/dump" --gloss "$gloss"
refused "rows of 50, the model has rows of 48" --model "$tmp/llama" --layer 1 --sae "$tmp/wide" --dump "$tmp/dump"
"$python" demo/splice_eval.py --model "$tmp/gpt2" --layer 1 --hook mlp_out --sae "$tmp/topk" --text "$tmp/text" --ctx-len 64 --contexts 5 >"$tmp/gpt2.splice"

"$python" - "$tmp" <<'END_PYTHON'
import json, sys

tmp = sys.argv[1]
read = lambda name: json.load(open(f"{tmp}/{name}"))
near = lambda a, b: abs(a - b) <= 1e-5 * max(1, abs(b))
runs = {s: read(s + ".splice") for s in ("all", "mean", "topk", "jumprelu", "groupmax", "gated")}
for name, r in runs.items():
    m, e = r["metrics"], read(name + ".eval")
    assert r["rows"]["kept"] == e["rows"]["evaluated"] == r["rows"]["total"] == 768, (r["rows"], e["rows"])
    for key in ("fvu", "l0"):
        assert abs(m[key] - e["metrics"][key]) <= 2e-4 * max(1, abs(m[key])), (name, key, m[key], e["metrics"][key])
    low, high = r["interval_95"]["ce_sae"]
    assert low < m["ce_sae"] < high and m["kl_sae"] >= -1e-6
    assert near(m["ce_recovered_zero"], (m["ce_zero"] - m["ce_sae"]) / (m["ce_zero"] - m["ce"]))
    assert near(m["ce"], runs["all"]["metrics"]["ce"]) and m["ce_zero"] != m["ce"] != m["ce_mean"]
    assert near(m["kl_recovered_mean"], (m["kl_mean"] - m["kl_sae"]) / m["kl_mean"])
assert read("sparsify.splice")["metrics"] == runs["topk"]["metrics"]
m = runs["all"]["metrics"]
assert near(m["ce_sae"], m["ce"]) and near(m["ce_recovered_zero"], 1) and near(m["kl_sae"], 0) and near(m["kl_recovered_zero"], 1)
m = runs["mean"]["metrics"]
assert near(m["ce_sae"], m["ce_mean"]) and near(m["ce_recovered_mean"], 0) and near(m["kl_recovered_mean"], 0) and m["l0"] == 0
assert read("gpt2.splice")["hook_point"] == "blocks.1.hook_mlp_out"
print("splice: hooks add up; SAEs that rebuild all or the mean cost what they must")
END_PYTHON
