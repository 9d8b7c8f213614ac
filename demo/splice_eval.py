#!/usr/bin/env python3
"""What a language model loses when an SAE's reconstructions take the place of its activations: CE loss recovered and KL.

Takes an SAE (topk, jumprelu, standard, gloss_groupmax) in SAELens's layout, what `gloss train` writes, or any folder or file that gloss
reads, which `gloss export --to saelens` then brings into that layout in a temporary folder; a transformers model (a local folder needs
no network); and contexts: those of a dump, or texts. Prints one JSON object; names as in `gloss eval --json`.
Needs: pip install torch transformers safetensors (and gguf for --gguf).

    splice_eval.py --model FOLDER --layer 15 --sae sae/ --dump dump/ --contexts 64
    splice_eval.py --model FOLDER --gguf FILE.gguf --layer 15 --sae sae/ --text corpus/ --out splice.json

Rows with a norm over the SAE's norm_limit stay as they are in every run, also when the others are ablated. With CE the mean
over predicted tokens of -ln p(next token), and KL that of KL(p_model || p):
  ce, ce_sae, ce_zero, ce_mean    the model's; with reconstructions; with zeros; with the mean row
  ce_recovered_zero               (ce_zero - ce_sae) / (ce_zero - ce): SAELens ce_loss_score, dictionary_learning loss_recovered
  ce_recovered_mean               (ce_mean - ce_sae) / (ce_mean - ce)
  kl_sae, kl_zero, kl_mean        of the three
  kl_recovered_zero               (kl_zero - kl_sae) / kl_zero: SAELens kl_div_score; kl_recovered_mean likewise
Each with its 95 % interval: percentiles of 1,000 resamples of contexts.
"""
import argparse
import glob
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

RUNS = ["model", "sae", "zero", "mean"]


def fail(message):
    sys.exit(f"splice_eval.py: {message}")


def parse():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", required=True, help="folder, or name on the hub")
    ap.add_argument("--gguf", help="file of that folder to take weights and tokenizer from")
    ap.add_argument("--layer", type=int, required=True, help="block, from 0")
    ap.add_argument("--hook", choices=["resid_post", "attn_out", "mlp_out"], default="resid_post")
    ap.add_argument("--sae", type=Path, required=True)
    ap.add_argument("--gloss", help="the program, for an SAE in another layout; $GLOSS_BIN, build/release/gloss or that of the PATH if not given")
    ap.add_argument("--dump", type=Path, help="folder of .safetensors shards with `tokens`")
    ap.add_argument("--text", nargs="+", type=Path, help="text files, or folders of them")
    ap.add_argument("--ctx-len", type=int, default=256, help="tokens in a context of --text")
    ap.add_argument("--contexts", type=int, default=64, help="at most so many, drawn at random")
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--batch", type=int, default=4)
    ap.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    ap.add_argument("--out", type=Path, help="write the JSON there, not to standard output")
    args = ap.parse_args()
    if bool(args.dump) == bool(args.text):
        ap.error("give --dump or --text, one of them")
    if args.contexts < 1 or args.batch < 1 or args.ctx_len < 2:
        ap.error("--contexts, --batch and --ctx-len must be positive, a context of two tokens at least")
    return args


ARCHITECTURES = ("topk", "jumprelu", "standard", "gloss_groupmax")


def in_layout(folder):
    """Whether the SAE is in SAELens's layout with nothing left to fold; what is wrong in it otherwise is for gloss to say."""
    try:
        config = json.loads((folder / "cfg.json").read_text())
        scales = config.get("normalize_activations", "none") != "none" or config.get("rescale_acts_by_decoder_norm")
        return (folder / "sae_weights.safetensors").exists() and config.get("architecture") in ARCHITECTURES and not scales
    except (OSError, ValueError, AttributeError):
        return False


def exported(args, folder):
    """The SAE in SAELens's layout: in `folder`, by gloss."""
    built = Path(__file__).resolve().parent.parent / "build/release/gloss"
    gloss = args.gloss or os.environ.get("GLOSS_BIN") or (built if built.exists() else shutil.which("gloss"))
    if not gloss:
        fail(f"'{args.sae}' is not in the layout that can be spliced in, and there is no gloss to export it: --gloss PROGRAM")
    try:
        done = subprocess.run([gloss, "export", args.sae, "--to", "saelens", "-o", folder], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    except OSError as e:
        fail(f"cannot run '{gloss}': {e.strerror}")
    if done.returncode:
        fail((done.stderr.strip().splitlines() or [f"{gloss} export ends with {done.returncode}"])[-1])
    return folder


class Sae:
    def __init__(self, folder, device, name):
        try:
            config = json.loads((folder / "cfg.json").read_text())
            self.w = {k: v.float().to(device) for k, v in load_file(folder / "sae_weights.safetensors").items()}
        except (OSError, ValueError) as e:
            fail(f"cannot read the SAE '{name}': {e}")
        self.arch = config.get("architecture")
        if self.arch not in ARCHITECTURES:
            fail(f"'{name}' is of architecture '{self.arch}'; {', '.join(ARCHITECTURES)} can be spliced in")
        if config.get("normalize_activations", "none") != "none" or config.get("rescale_acts_by_decoder_norm"):
            fail(f"'{name}' scales each row by itself, which cannot be spliced in")
        need = ["W_enc", "W_dec", "b_enc", "b_dec"] + (["threshold"] if self.arch == "jumprelu" else [])
        if missing := [n for n in need if n not in self.w]:
            fail(f"'{name}' has no tensor {missing[0]}")
        self.k, self.centers = config.get("k"), config.get("apply_b_dec_to_input", True)
        gloss = (config.get("metadata") or {}).get("gloss") or {}
        self.norm_limit = gloss.get("norm_limit") or math.inf

    def reconstruct(self, x):
        """x (rows, d) -> reconstruction, number of codes."""
        w = self.w
        pre = (x - w["b_dec"] if self.centers else x) @ w["W_enc"] + w["b_enc"]
        codes = torch.relu(pre)
        if self.arch == "jumprelu":
            codes = codes * (pre > w["threshold"])
        elif self.arch == "topk":
            values, ids = codes.topk(self.k, dim=-1)
            codes = torch.zeros_like(codes).scatter_(-1, ids, values)
        elif self.arch == "gloss_groupmax":
            values, ids = codes.unflatten(-1, (self.k, -1)).max(-1, keepdim=True)
            codes = torch.zeros_like(codes).unflatten(-1, (self.k, -1)).scatter_(-1, ids, values).flatten(-2)
        return codes @ w["W_dec"] + w["b_dec"], (codes > 0).sum().item()


def contexts(args):
    """(contexts, ctx_len) token ids."""
    rows = []
    if args.dump:
        for path in sorted(glob.glob(str(args.dump / "*.safetensors"))):
            with safe_open(path, "pt") as f:
                if "tokens" in f.keys():
                    rows.append(f.get_tensor("tokens").long())
        if not rows:
            fail(f"no .safetensors with `tokens` in '{args.dump}'")
        rows = torch.cat([r.reshape(-1, r.shape[-1]) for r in rows])
    else:
        source = {"gguf_file": args.gguf} if args.gguf else {}
        tokenizer = AutoTokenizer.from_pretrained(args.model, **source)
        files = sorted(f for t in args.text for f in (t.rglob("*") if t.is_dir() else [t]) if f.is_file())
        for file in files:
            ids = tokenizer(file.read_text(errors="replace"), add_special_tokens=False, verbose=False)["input_ids"]
            rows += [ids[i : i + args.ctx_len] for i in range(0, len(ids) - args.ctx_len + 1, args.ctx_len)]
        if not rows:
            fail(f"no text of {args.ctx_len} tokens in {len(files)} files")
        rows = torch.tensor(rows)
    chosen = sorted(random.Random(args.seed).sample(range(len(rows)), min(args.contexts, len(rows))))
    return rows[chosen]


def hook_module(model, args):
    """The module whose output is replaced: the blocks are the model's longest list of modules."""
    blocks = max((m for m in model.modules() if isinstance(m, torch.nn.ModuleList)), key=len)
    if not 0 <= args.layer < len(blocks):
        fail(f"--layer {args.layer}: the model has layers 0 to {len(blocks) - 1}")
    names = {"attn_out": ["self_attn", "attn", "attention"], "mlp_out": ["mlp", "feed_forward"]}.get(args.hook, [])
    return next((getattr(blocks[args.layer], n) for n in names if hasattr(blocks[args.layer], n)), blocks[args.layer])


class Splice:
    """Hook that replaces rows under the SAE's norm limit as `run` says, and counts what it saw."""

    def __init__(self, sae):
        self.sae, self.run, self.mean = sae, "model", None
        self.sum, self.n_rows, self.n_kept, self.n_codes, self.error, self.squares = 0, 0, 0, 0, 0.0, 0.0

    def __call__(self, module, inputs, output):
        x = output[0] if isinstance(output, tuple) else output
        flat = x.reshape(-1, x.shape[-1]).float()
        if flat.shape[-1] != self.sae.w["b_dec"].numel():
            fail(f"the SAE takes rows of {self.sae.w['b_dec'].numel()}, the model has rows of {flat.shape[-1]} there")
        counts = flat.norm(dim=-1) <= self.sae.norm_limit
        if self.run == "model":
            self.sum = self.sum + flat[counts].double().sum(0)
            self.n_rows, self.n_kept = self.n_rows + len(flat), self.n_kept + counts.sum().item()
            return output
        if self.run == "sae":
            new, n = self.sae.reconstruct(flat[counts])
            self.n_codes += n
            self.error += (flat[counts] - new).double().square().sum().item()
            self.squares += (flat[counts] - self.mean).double().square().sum().item()
        else:
            new = torch.zeros_like(flat[counts]) if self.run == "zero" else self.mean.expand_as(flat[counts])
        flat = flat.clone()
        flat[counts] = new
        x = flat.to(x.dtype).reshape(x.shape)
        return (x, *output[1:]) if isinstance(output, tuple) else x


@torch.inference_mode()
def measure(args, model, tokens, splice):
    """{name: (contexts) sums over predicted tokens} of CE and KL of each run."""
    handle = hook_module(model, args).register_forward_hook(splice)
    batches = [tokens[i : i + args.batch].to(args.device) for i in range(0, len(tokens), args.batch)]
    sums = {name: [] for name in ["ce", "ce_sae", "ce_zero", "ce_mean", "kl_sae", "kl_zero", "kl_mean"]}
    for batch in batches:  # for the mean row, before anything is replaced
        model(input_ids=batch, use_cache=False)
    splice.mean = (splice.sum / max(splice.n_kept, 1)).float()
    if splice.n_kept == 0:
        fail("no row has a norm within the SAE's limit: another layer, or another model?")
    seen = (splice.n_rows, splice.n_kept)
    for batch in batches:
        own = None
        for run in RUNS:
            splice.run = run
            logp = model(input_ids=batch, use_cache=False).logits[:, :-1].float().log_softmax(-1)
            ce = -logp.gather(-1, batch[:, 1:, None])[..., 0].double().sum(1)
            sums["ce" if run == "model" else "ce_" + run] += ce.tolist()
            if run == "model":
                own = logp
            else:
                sums["kl_" + run] += (own.exp() * (own - logp)).sum(-1).double().sum(1).tolist()
    handle.remove()
    splice.n_rows, splice.n_kept = seen
    return {name: torch.tensor(v, dtype=torch.float64) for name, v in sums.items()}


def derive(means):
    m = dict(means)
    for by in "zero", "mean":
        m[f"ce_recovered_{by}"] = (m[f"ce_{by}"] - m["ce_sae"]) / (m[f"ce_{by}"] - m["ce"])
        m[f"kl_recovered_{by}"] = (m[f"kl_{by}"] - m["kl_sae"]) / m[f"kl_{by}"]
    return m


def intervals(sums, per_context, seed):
    draw = torch.randint(len(sums["ce"]), (1000, len(sums["ce"])), generator=torch.Generator().manual_seed(seed))
    resampled = derive({name: v[draw].mean(1) / per_context for name, v in sums.items()})
    ends = torch.tensor([0.025, 0.975], dtype=torch.float64)
    return {name: torch.quantile(v, ends).tolist() for name, v in resampled.items()}


def main():
    args = parse()
    with tempfile.TemporaryDirectory() as tmp:
        sae = Sae(args.sae if in_layout(args.sae) else exported(args, Path(tmp) / "sae"), args.device, args.sae)
    tokens = contexts(args)
    source = {"gguf_file": args.gguf} if args.gguf else {}
    model = AutoModelForCausalLM.from_pretrained(args.model, **source).to(args.device).eval()
    if tokens.max() >= model.get_input_embeddings().weight.shape[0] or tokens.min() < 0:
        fail(f"token {tokens.max().item()} is beyond the model's vocabulary: another model?")
    splice = Splice(sae)
    sums = measure(args, model, tokens, splice)
    per_context = tokens.shape[1] - 1
    metrics = derive({name: (v.mean() / per_context).item() for name, v in sums.items()})
    metrics |= {"fvu": splice.error / splice.squares, "l0": splice.n_codes / splice.n_kept}
    result = {
        "sae": str(args.sae),
        "model": args.model,
        "hook_point": f"blocks.{args.layer}.hook_{args.hook}",
        "rows": {"total": splice.n_rows, "left_out_norm": splice.n_rows - splice.n_kept, "kept": splice.n_kept, "norm_limit": sae.norm_limit if math.isfinite(sae.norm_limit) else None},
        "contexts": len(tokens),
        "ctx_len": tokens.shape[1],
        "seed": args.seed,
        "metrics": {k: v if math.isfinite(v) else None for k, v in metrics.items()},
        "interval_95": intervals(sums, per_context, args.seed) if len(tokens) > 1 else None,
    }  # fmt: skip
    text = json.dumps(result, indent=1) + "\n"
    args.out.write_text(text) if args.out else print(text, end="")


if __name__ == "__main__":
    main()
