#!/usr/bin/env python3
"""Dump a language model's activations on text or chats, for `gloss train` and `gloss index`.

Writes into OUT: acts-NNNNN-of-NNNNN.safetensors, tokenizer.json and the manifest dump.json. Every text file is one document, cut
into contexts of ctx_len tokens; what is left at a file's end is dropped. Then a shard has `activations` (rows, d) and `tokens`
(contexts, ctx_len); row = context * ctx_len + position. Several layers or hooks take one forward pass: a tensor each, by names
such as blocks.3.hook_resid_post, of which `gloss --key NAME` picks one. `z` (attention before its output matrix) and `result`
(what each head adds to the residual stream) are (contexts, ctx_len, heads, d_head): gloss reads all heads side by side, or --head H.

--chat takes .jsonl files, a conversation a line ({"messages": [{"role", "content"}, ...]}), put through the tokenizer's chat
template. Contexts are then of unequal length, at most ctx_len: rows lie side by side, with `lengths`, and `roles` with a number for
each token (0: the template's own), which `gloss --roles user,assistant` chooses by.

Needs: pip install torch transformers safetensors (and gguf for --gguf).

    dump_activations.py --model HuggingFaceTB/SmolLM2-135M-Instruct --layer 15 --text corpus/ --out dump/
    dump_activations.py --model FOLDER --gguf FILE.gguf --layer 15 --text a.txt b.txt --contexts 400 --out dump/
    dump_activations.py --model FOLDER --layer 3 7 --hook resid_post mlp_out attn_out z --chat chats.jsonl --out dump/
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
HOOKS = {"resid_pre": "hook_resid_pre", "resid_post": "hook_resid_post", "attn_out": "hook_attn_out", "mlp_in": "mlp.hook_in",
         "mlp_out": "hook_mlp_out", "z": "attn.hook_z", "result": "attn.hook_result"}
ROLES = ["template", "system", "user", "assistant", "tool"]


def fail(message):
    raise SystemExit(f"dump_activations.py: {message}")


def parse():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", required=True, help="name on the hub or folder")
    ap.add_argument("--gguf", help="file of that folder or repository to take weights and tokenizer from")
    ap.add_argument("--layer", type=int, nargs="+", required=True, help="blocks, from 0")
    ap.add_argument("--hook", choices=HOOKS, nargs="+", default=["resid_post"], help="what of each block")
    ap.add_argument("--text", nargs="+", type=Path, default=[], help="text files, or folders of them")
    ap.add_argument("--chat", nargs="+", type=Path, default=[], help=".jsonl files of conversations, instead")
    ap.add_argument("--ctx-len", type=int, default=256)
    ap.add_argument("--contexts", type=int, help="at most this many, drawn at random over all documents")
    ap.add_argument("--bos", action="store_true", help="begin every context of text with the BOS token")
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--batch", type=int, default=8, help="contexts in one forward pass")
    ap.add_argument("--shard-contexts", type=int, default=1024, help="contexts in one file")
    ap.add_argument("--dtype", choices=DTYPES, default="f16", help="of the activations on disk")
    ap.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    ap.add_argument("--unembed", action="store_true", help="also write unembed.safetensors, for gloss index --unembed")
    ap.add_argument("--out", type=Path, required=True)
    args = ap.parse_args()
    if bool(args.text) == bool(args.chat):
        ap.error("give --text or --chat")
    return args


def read_texts(args, tokenizer):
    """[(document, tokens, None)], in order of the documents, and their names."""
    files = sorted(f for t in args.text for f in (t.rglob("*") if t.is_dir() else [t]) if f.is_file())
    bos = [tokenizer.bos_token_id] if args.bos else []
    step = args.ctx_len - len(bos)
    contexts = []
    for document, file in enumerate(files):
        ids = tokenizer(file.read_text(errors="replace"), add_special_tokens=False, verbose=False)["input_ids"]
        contexts += [(document, bos + ids[i : i + step], None) for i in range(0, len(ids) - step + 1, step)]
    return contexts, [str(f) for f in files]


def roles_of(text, messages, offsets, where):
    """A number for each token: the role of the message in whose content it begins; 0 outside of all."""
    roles, at = [0] * len(offsets), 0
    for message in messages:
        content, role = (message.get("content") or "").strip(), message["role"]
        if role not in ROLES:
            ROLES.append(role)
        begin = text.find(content, at)
        if begin < 0:
            fail(f"{where}: the chat template changes the text of a message of role '{role}', so its tokens cannot be found")
        at = begin + len(content)
        for i, (first, last) in enumerate(offsets):
            if last > first and begin <= first < at:
                roles[i] = ROLES.index(role)
    return roles


def read_chats(args, tokenizer):
    """[(document, tokens, roles)], a conversation a document, cut where it is longer than ctx_len."""
    contexts, document = [], 0
    for file in args.chat:
        for n, line in enumerate(file.read_text().splitlines(), 1):
            if not line.strip():
                continue
            where = f"{file}, line {n}"
            try:
                messages = json.loads(line)["messages"]
                text = tokenizer.apply_chat_template(messages, tokenize=False)
            except (ValueError, KeyError, TypeError) as e:
                fail(f"{where}: no conversation {{'messages': [...]}}, or no chat template: {e}")
            coded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
            ids, roles = coded["input_ids"], roles_of(text, messages, coded["offset_mapping"], where)
            contexts += [(document, ids[i : i + args.ctx_len], roles[i : i + args.ctx_len]) for i in range(0, len(ids), args.ctx_len)]
            document += 1
    return contexts, [str(f) for f in args.chat]


def read_contexts(args, tokenizer):
    contexts, files = (read_chats if args.chat else read_texts)(args, tokenizer)
    if args.contexts and args.contexts < len(contexts):
        contexts = [contexts[i] for i in sorted(random.Random(args.seed).sample(range(len(contexts)), args.contexts))]
    if not contexts:
        fail(f"no conversation in {len(files)} files" if args.chat else f"no text of {args.ctx_len} tokens in {len(files)} files")
    return contexts, files


def named(module, names, what):
    return next((getattr(module, n) for n in names if hasattr(module, n)), None) or fail(f"this model's blocks have no {what} of a known name")


def heads_of(model):
    config = model.config.get_text_config()
    return config.num_attention_heads


def add_hooks(args, model, seen):
    """Hooks that put activations (contexts, ctx_len, ...) into seen[name]; blocks are the model's longest list of modules."""
    blocks = max((m for m in model.modules() if isinstance(m, torch.nn.ModuleList)), key=len)
    handles = []
    for layer in args.layer:
        if not 0 <= layer < len(blocks):
            fail(f"layer {layer}: the model has layers 0 to {len(blocks) - 1}")
        for hook in args.hook:
            handles.append(add_hook(args, model, blocks[layer], hook, seen.setdefault(f"blocks.{layer}.{HOOKS[hook]}", [])))
    return handles


def add_hook(args, model, block, hook, out):
    def keep(x):
        out.append((x[0] if isinstance(x, tuple) else x).to(DTYPES[args.dtype]).cpu())

    def split(x):
        return x.unflatten(-1, (heads_of(model), -1))

    def results(o_proj, z):
        """(contexts, ctx_len, heads, d): GPT-2's Conv1D keeps its matrix transposed."""
        w = o_proj.weight if type(o_proj).__name__ == "Conv1D" else o_proj.weight.T
        return torch.einsum("cthz,hzd->cthd", split(z), w.unflatten(0, (heads_of(model), -1)))

    if hook == "resid_pre":
        return block.register_forward_pre_hook(lambda m, a, k: keep(a or k["hidden_states"]), with_kwargs=True)
    if hook == "resid_post":
        return block.register_forward_hook(lambda m, a, y: keep(y))
    if hook == "mlp_in":  # what the MLP is given: normalised
        return named(block, ["mlp", "feed_forward"], "MLP").register_forward_pre_hook(lambda m, a: keep(a[0]))
    if hook == "mlp_out":
        return named(block, ["mlp", "feed_forward"], "MLP").register_forward_hook(lambda m, a, y: keep(y))
    attention = named(block, ["self_attn", "attn", "attention"], "attention")
    if hook == "attn_out":
        return attention.register_forward_hook(lambda m, a, y: keep(y))
    o_proj = named(attention, ["o_proj", "out_proj", "c_proj", "dense"], "output matrix of attention")
    if hook == "z":
        return o_proj.register_forward_pre_hook(lambda m, a: keep(split(a[0])))
    return o_proj.register_forward_pre_hook(lambda m, a: keep(results(m, a[0])))


@torch.inference_mode()
def activations(args, model, contexts):
    """{name: (rows, d) or (rows, heads, d_head)} on the CPU, in the dtype asked for; rows of contexts one behind the other."""
    seen, rows = {}, {}
    handles = add_hooks(args, model, seen)
    for i in range(0, len(contexts), args.batch):
        batch = [tokens for _, tokens, _ in contexts[i : i + args.batch]]
        longest = max(map(len, batch))
        ids = torch.tensor([t + [0] * (longest - len(t)) for t in batch])
        real = torch.tensor([[1] * len(t) + [0] * (longest - len(t)) for t in batch])
        mask = {} if real.all() else {"attention_mask": real.to(args.device)}
        model.base_model(input_ids=ids.to(args.device), use_cache=False, **mask)
        for name, list_ in seen.items():
            rows.setdefault(name, []).append(list_.pop().flatten(0, 1)[real.flatten() == 1])
    for handle in handles:
        handle.remove()
    return {name: torch.cat(parts) for name, parts in rows.items()}


def save(tensors, path):
    part = path.with_name(path.name + ".part")  # gloss passes over .part files
    save_file({k: v.contiguous() for k, v in tensors.items()}, part)
    part.chmod(0o644)
    part.rename(path)


def shard(args, model, contexts):
    rows = activations(args, model, contexts)
    alone = len(rows) == 1
    tensors = {}
    for name, x in rows.items():
        if x.ndim == 3:  # heads: (contexts, ctx_len, heads, d_head), or side by side where contexts are of unequal length
            x = x.flatten(1) if args.chat else x.unflatten(0, (len(contexts), -1))
        tensors["activations" if alone else name] = x
    tokens = [torch.tensor(t, dtype=torch.int32) for _, t, _ in contexts]
    if args.chat:
        tensors["tokens"] = torch.cat(tokens)
        tensors["lengths"] = torch.tensor([len(t) for t in tokens], dtype=torch.int32)
        tensors["roles"] = torch.cat([torch.tensor(r, dtype=torch.uint8) for _, _, r in contexts])
    else:
        tensors["tokens"] = torch.stack(tokens)
    return tensors


def write_manifest(args, contexts, files):
    names = [(f"blocks.{layer}.{HOOKS[hook]}", layer) for layer in args.layer for hook in args.hook]
    manifest = {"model": args.model}
    if len(names) == 1:
        manifest |= {"hook_point": names[0][0], "layer": names[0][1]}
    else:
        manifest["hook_points"] = {name: {"layer": layer} for name, layer in names}
    manifest |= {
        "tokenizer_sha256": hashlib.sha256((args.out / "tokenizer.json").read_bytes()).hexdigest(),
        "ctx_len": args.ctx_len,
        "bos": args.bos,
        "documents": [d for d, _, _ in contexts],
        "files": files,
    }
    if args.chat:
        manifest["roles"] = ROLES
    (args.out / "dump.json").write_text(json.dumps(manifest, indent=1) + "\n")


def main():
    args = parse()
    source = {"gguf_file": args.gguf} if args.gguf else {}
    tokenizer = AutoTokenizer.from_pretrained(args.model, **source)
    model = AutoModelForCausalLM.from_pretrained(args.model, **source).to(args.device).eval()
    contexts, files = read_contexts(args, tokenizer)
    args.out.mkdir(parents=True, exist_ok=True)
    n_shards = -(-len(contexts) // args.shard_contexts)
    for s in range(n_shards):
        tensors = shard(args, model, contexts[s * args.shard_contexts : (s + 1) * args.shard_contexts])
        save(tensors, args.out / f"acts-{s:05}-of-{n_shards:05}.safetensors")
        print(f"shard {s + 1} of {n_shards}: " + ", ".join(f"{k} {tuple(t.shape)}" for k, t in tensors.items()), flush=True)
    tokenizer.backend_tokenizer.save(str(args.out / "tokenizer.json"))
    if args.unembed:
        norm = next(m for n, m in model.base_model.named_children() if "norm" in n or n == "ln_f")
        save({"lm_head.weight": model.get_output_embeddings().weight.half(), "norm.weight": norm.weight.float()}, args.out / "unembed.safetensors")
    write_manifest(args, contexts, files)


if __name__ == "__main__":
    main()
