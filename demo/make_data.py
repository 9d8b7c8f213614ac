#!/usr/bin/env python3
"""Cut demo/data out of a larger dump: 64 contexts with activations and tokens, the tokenizer, and a manifest.

Takes the same number of contexts from every source; of each source first two contexts that share a run of text (so that
the cut has document groups), then the next ones in file order. The choice depends on the dump alone.

    make_data.py DUMP_FOLDER [OUT_FOLDER]

DUMP_FOLDER holds acts-*.safetensors (`activations` (rows, d) F16, `tokens` (contexts, ctx_len) I32), tokenizer.json and
sources.json {"source_of_context": [name, ...]}.
"""
import hashlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np

PER_SOURCE, SHARDS, RUN = 8, 2, 24


def read_shard(path):
    raw = path.read_bytes()
    n = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + n])

    def tensor(name, dtype):
        begin, end = header[name]["data_offsets"]
        return np.frombuffer(raw[8 + n + begin : 8 + n + end], dtype).reshape(header[name]["shape"])

    return tensor("activations", "<f2"), tensor("tokens", "<i4"), header.get("__metadata__", {})


def write_shard(path, activations, tokens):
    parts = {"tokens": ("I32", tokens), "activations": ("F16", activations)}
    header, offset = {}, 0
    for name, (dtype, a) in parts.items():
        header[name] = {"dtype": dtype, "shape": list(a.shape), "data_offsets": [offset, offset + a.nbytes]}
        offset += a.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(a.tobytes() for _, a in parts.values()))


def pairs_with_common_run(tokens):
    """Pairs (earlier, later) of contexts that share a run of RUN tokens."""
    seen, pairs = {}, []
    for c, row in enumerate(tokens):
        for i in range(len(row) - RUN + 1):
            first = seen.setdefault(row[i : i + RUN].tobytes(), c)
            if first != c and (first, c) not in pairs:
                pairs.append((first, c))
    return pairs


def choose(source, tokens):
    chosen = []
    pairs = pairs_with_common_run(tokens)
    for name in sorted(set(source)):
        own = next((list(p) for p in pairs if source[p[0]] == source[p[1]] == name), [])
        own += [c for c in range(len(source)) if source[c] == name and c not in own]
        chosen += own[:PER_SOURCE]
    return sorted(chosen)


def main():
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    dump = Path(sys.argv[1])
    out = Path(sys.argv[2]) if len(sys.argv) == 3 else Path(__file__).parent / "data"
    shards = [read_shard(p) for p in sorted(dump.glob("acts-*.safetensors"))]
    tokens = np.concatenate([t for _, t, _ in shards])
    ctx_len = tokens.shape[1]
    rows = np.concatenate([a for a, _, _ in shards]).reshape(len(tokens), ctx_len, -1)
    source = json.loads((dump / "sources.json").read_text())["source_of_context"]
    chosen = choose(source, tokens)

    out.mkdir(parents=True, exist_ok=True)
    for i, part in enumerate(np.array_split(np.array(chosen), SHARDS)):
        write_shard(out / f"acts-{i:05}-of-{SHARDS:05}.safetensors", rows[part].reshape(-1, rows.shape[2]), tokens[part])
    shutil.copyfile(dump / "tokenizer.json", out / "tokenizer.json")
    (out / "tokenizer.json").chmod(0o644)
    manifest = {
        "model": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "weights": shards[0][2].get("model"),
        "hook_point": "blocks.15.hook_resid_post",
        "layer": 15,
        "tokenizer_sha256": hashlib.sha256((out / "tokenizer.json").read_bytes()).hexdigest(),
        "ctx_len": ctx_len,
        "bos": False,
        "documents": chosen,
        "sources": [source[c] for c in chosen],
    }
    (out / "dump.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
