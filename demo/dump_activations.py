#!/usr/bin/env python3
"""Dump a language model's activations on text, for `gloss train` and `gloss index`.

Writes into OUT: acts-NNNNN-of-NNNNN.safetensors (`activations` (rows, d), `tokens` (contexts, ctx_len); row = context *
ctx_len + position), tokenizer.json and the manifest dump.json. Every text file is one document, cut into contexts of ctx_len
tokens; what is left at a file's end is dropped. Needs: pip install torch transformers safetensors (and gguf for --gguf).

    dump_activations.py --model HuggingFaceTB/SmolLM2-135M-Instruct --layer 15 --text corpus/ --out dump/
    dump_activations.py --model FOLDER --gguf FILE.gguf --layer 15 --text a.txt b.txt --contexts 400 --out dump/
"""
import argparse
import hashlib
import json
import random
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

DTYPES = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}


def parse():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", required=True, help="name on the hub or folder")
    ap.add_argument("--gguf", help="file of that folder or repository to take weights and tokenizer from")
    ap.add_argument("--layer", type=int, required=True, help="block, from 0")
    ap.add_argument("--hook", choices=["resid_pre", "resid_post", "attn_out", "mlp_out"], default="resid_post")
    ap.add_argument("--text", nargs="+", type=Path, required=True, help="text files, or folders of them")
    ap.add_argument("--ctx-len", type=int, default=256)
    ap.add_argument("--contexts", type=int, help="at most this many, drawn at random over all documents")
    ap.add_argument("--bos", action="store_true", help="begin every context with the BOS token")
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--batch", type=int, default=8, help="contexts in one forward pass")
    ap.add_argument("--shard-contexts", type=int, default=1024, help="contexts in one file")
    ap.add_argument("--dtype", choices=DTYPES, default="f16", help="of the activations on disk")
    ap.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    ap.add_argument("--unembed", action="store_true", help="also write unembed.safetensors, for gloss index --unembed")
    ap.add_argument("--out", type=Path, required=True)
    return ap.parse_args()


def read_contexts(args, tokenizer):
    """[(document, tokens)], in order of the documents."""
    files = sorted(f for t in args.text for f in (t.rglob("*") if t.is_dir() else [t]) if f.is_file())
    bos = [tokenizer.bos_token_id] if args.bos else []
    step = args.ctx_len - len(bos)
    contexts = []
    for document, file in enumerate(files):
        ids = tokenizer(file.read_text(errors="replace"), add_special_tokens=False, verbose=False)["input_ids"]
        contexts += [(document, bos + ids[i : i + step]) for i in range(0, len(ids) - step + 1, step)]
    if args.contexts and args.contexts < len(contexts):
        contexts = [contexts[i] for i in sorted(random.Random(args.seed).sample(range(len(contexts)), args.contexts))]
    if not contexts:
        raise SystemExit(f"dump_activations.py: no text of {args.ctx_len} tokens in {len(files)} files")
    return contexts, [str(f) for f in files]


def hook_module(model, layer, hook):
    """The module whose output (or, for resid_pre, input) is wanted: the blocks are the model's longest list of modules."""
    blocks = max((m for m in model.modules() if isinstance(m, torch.nn.ModuleList)), key=len)
    if not 0 <= layer < len(blocks):
        raise SystemExit(f"dump_activations.py: layer {layer}: the model has layers 0 to {len(blocks) - 1}")
    names = {"attn_out": ["self_attn", "attn", "attention"], "mlp_out": ["mlp", "feed_forward"]}.get(hook)
    if names is None:
        return blocks[layer]
    return next(getattr(blocks[layer], n) for n in names if hasattr(blocks[layer], n))


@torch.inference_mode()
def activations(args, model, tokens):
    """(contexts, ctx_len, d) on the CPU, in the dtype asked for."""
    seen = []

    def keep(x):
        seen.append((x[0] if isinstance(x, tuple) else x).to(DTYPES[args.dtype]).cpu())

    module = hook_module(model, args.layer, args.hook)
    if args.hook == "resid_pre":
        handle = module.register_forward_pre_hook(lambda m, a, k: keep(a or k["hidden_states"]), with_kwargs=True)
    else:
        handle = module.register_forward_hook(lambda m, a, out: keep(out))
    for i in range(0, len(tokens), args.batch):
        model.base_model(input_ids=tokens[i : i + args.batch].to(args.device), use_cache=False)
    handle.remove()
    return torch.cat(seen)


def save(tensors, path):
    part = path.with_name(path.name + ".part")  # gloss passes over .part files
    save_file({k: v.contiguous() for k, v in tensors.items()}, part)
    part.chmod(0o644)
    part.rename(path)


def main():
    args = parse()
    source = {"gguf_file": args.gguf} if args.gguf else {}
    tokenizer = AutoTokenizer.from_pretrained(args.model, **source)
    model = AutoModelForCausalLM.from_pretrained(args.model, **source).to(args.device).eval()
    contexts, files = read_contexts(args, tokenizer)
    args.out.mkdir(parents=True, exist_ok=True)
    n_shards = -(-len(contexts) // args.shard_contexts)
    for s in range(n_shards):
        tokens = torch.tensor([t for _, t in contexts[s * args.shard_contexts : (s + 1) * args.shard_contexts]], dtype=torch.int32)
        rows = activations(args, model, tokens)
        save({"activations": rows.flatten(0, 1), "tokens": tokens}, args.out / f"acts-{s:05}-of-{n_shards:05}.safetensors")
        print(f"shard {s + 1} of {n_shards}: {len(tokens)} contexts, {tuple(rows.shape)} {args.dtype}", flush=True)
    tokenizer.backend_tokenizer.save(str(args.out / "tokenizer.json"))
    if args.unembed:
        norm = next(m for n, m in model.base_model.named_children() if "norm" in n or n == "ln_f")
        save({"lm_head.weight": model.get_output_embeddings().weight.half(), "norm.weight": norm.weight.float()}, args.out / "unembed.safetensors")
    manifest = {
        "model": args.model,
        "hook_point": f"blocks.{args.layer}.hook_{args.hook}",
        "layer": args.layer,
        "tokenizer_sha256": hashlib.sha256((args.out / "tokenizer.json").read_bytes()).hexdigest(),
        "ctx_len": args.ctx_len,
        "bos": args.bos,
        "documents": [d for d, _ in contexts],
        "files": files,
    }
    (args.out / "dump.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
