#!/usr/bin/env python3
"""Turn activations kept in Arrow, Parquet or torch files into a dump that gloss reads: safetensors shards and dump.json.

    convert_dump.py CACHE/ --out dump/               a folder of Hugging Face Arrow files, as SAELens caches activations
    convert_dump.py 'part-*.parquet' --out dump/     Parquet: a row is a token (list of numbers) or a context (list of such lists)
    convert_dump.py chunk-*.pt --out dump/           torch: a tensor, or a dict of them
    convert_dump.py tokens.pt --out ids/             a tensor of whole numbers alone: for gloss --tokens
    convert_dump.py --ranges sequence_ranges.pt --out ids/   where sequences begin: lengths, for gloss --lengths

Activations are the column or tensor --column names; else the one named activations, activation or states, else the only one of floats.
Token ids likewise: --tokens, else tokens, token_ids, input_ids. Tensors mask, attention_mask, lengths and roles come along. Numbers
keep their type. Contexts of unequal length become rows side by side with `lengths`.
Needs numpy; pyarrow for Arrow and Parquet, torch for .pt (loaded with weights_only=True: nothing in it is executed).
"""
import argparse
import glob
import json
import sys
from pathlib import Path

import numpy as np

NAMES = {"activations": ["activations", "activation", "states"], "tokens": ["tokens", "token_ids", "input_ids"]}
MORE = ["mask", "attention_mask", "lengths", "roles"]
DTYPES = {"float16": "F16", "float32": "F32", "float64": "F64", "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64",
          "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64", "bool": "BOOL"}


def fail(message):
    raise SystemExit(f"convert_dump.py: {message}")


def parse():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("source", nargs="*", help="files, folders or patterns in quotes, in this order")
    ap.add_argument("--out", type=Path, required=True)
    ap.add_argument("--column", help="column or tensor of the activations")
    ap.add_argument("--tokens", help="column or tensor of the token ids")
    ap.add_argument("--width", type=int, help="keep only the first so many values of a row (activault's states have one more)")
    ap.add_argument("--ranges", type=Path, help=".pt with the rows at which sequences begin, and the end of the last")
    ap.add_argument("--shard-rows", type=int, default=1 << 18, help="rows in one file at most, about (262144)")
    ap.add_argument("--model", help="for the manifest, as the next two")
    ap.add_argument("--hook-point")
    ap.add_argument("--layer", type=int)
    return ap.parse_args()


def expand(sources):
    """Files in order; in a folder those of the first kind that it has."""
    files = []
    for s in sources:
        p = Path(s)
        if p.is_dir():
            kinds = [sorted(p.glob(k)) for k in ("*.arrow", "*.parquet", "*.pt")]
            found = next((k for k in kinds if k), [])
        else:
            found = [p] if p.exists() else [Path(f) for f in sorted(glob.glob(s))]
        files += found or fail(f"no .arrow, .parquet or .pt file at '{s}'")
    return files


def pick(named, what, wanted, path):
    """The name of the activations or tokens among {name: whether floats}."""
    if wanted:
        return wanted if wanted in named else fail(f"'{path}' has no '{wanted}'; it holds {', '.join(named)}")
    for name in NAMES[what]:
        if name in named:
            return name
    floats = [n for n, is_float in named.items() if is_float]
    return floats[0] if what == "activations" and len(floats) == 1 else None


def flatten(column, path, name):
    """A pyarrow column as (values, [lengths of each level of lists])."""
    import pyarrow as pa

    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    levels = []
    while True:
        if isinstance(column, pa.ExtensionArray):
            column = column.storage
        if column.null_count:
            fail(f"'{path}': column '{name}' has empty cells")
        if pa.types.is_fixed_size_list(column.type):
            levels.append(np.full(len(column), column.type.list_size))
        elif pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            levels.append(np.diff(column.offsets.to_numpy()))
        else:
            return column.to_numpy(zero_copy_only=False), levels
        column = column.flatten()


def table_tensors(table, args, path):
    import pyarrow as pa

    def is_float(t):
        while hasattr(t, "storage_type") or hasattr(t, "value_type"):
            t = t.storage_type if hasattr(t, "storage_type") else t.value_type
        return pa.types.is_floating(t)

    named = {f.name: is_float(f.type) and (hasattr(f.type, "value_type") or hasattr(f.type, "storage_type")) for f in table.schema}
    act, tok = pick(named, "activations", args.column, path), pick(named, "tokens", args.tokens, path)
    if not act:
        fail(f"'{path}' has no column of activations that is clearly it: name it with --column; it has {', '.join(named)}")
    values, levels = flatten(table[act], path, act)
    if not 1 <= len(levels) <= 2 or len(set(levels[-1])) > 1:
        fail(f"'{path}': column '{act}' is neither lists of numbers of one length nor lists of such lists")
    width = int(levels[-1][0]) if len(levels[-1]) else 0
    tensors = {"activations": values.reshape(-1, width)}
    if tok:
        tensors["tokens"] = flatten(table[tok], path, tok)[0]
    for name in MORE:
        if name in named:
            tensors[name] = flatten(table[name], path, name)[0]
    if len(levels) == 2:
        if len(set(levels[0])) == 1:
            shape = (-1, int(levels[0][0]))
            tensors = {k: v.reshape(*shape, *v.shape[1:]) if k != "lengths" else v for k, v in tensors.items()}
        else:
            tensors.setdefault("lengths", levels[0].astype(np.int32))
    return tensors


def arrow_batches(path):
    import pyarrow as pa

    with pa.memory_map(str(path)) as f:
        try:
            reader = pa.ipc.open_stream(f)
        except pa.ArrowInvalid:
            f.seek(0)
            reader = pa.ipc.open_file(f)
            yield from (reader.get_batch(i) for i in range(reader.num_record_batches))
            return
        yield from reader


def torch_array(t):
    """(array, dtype as safetensors names it)."""
    import torch

    t = t.detach().contiguous()
    return (t.view(torch.int16).numpy(), "BF16") if t.dtype == torch.bfloat16 else (t.numpy(), None)


def torch_tensors(path, args):
    import torch

    data = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if isinstance(data, torch.Tensor):
        data = {"activations" if data.is_floating_point() else "tokens": data}
    if not isinstance(data, dict):
        fail(f"'{path}' holds neither a tensor nor a dict of them")
    data = {k: v for k, v in data.items() if isinstance(v, torch.Tensor)}
    named = {k: v.is_floating_point() and v.ndim > 1 for k, v in data.items()}
    act, tok = pick(named, "activations", args.column, path), pick(named, "tokens", args.tokens, path)
    if not act and not tok:
        fail(f"'{path}' has no tensor that is clearly the activations: name it with --column; it has {', '.join(named)}")
    names = {k: n for k, n in [("activations", act), ("tokens", tok)] if n}
    return {k: torch_array(data[n]) for k, n in (names | {m: m for m in MORE if m in data}).items()}


def tensors_of(path, args):
    """Yields {name: (array, dtype or None)} for pieces of the file."""
    if path.suffix in (".pt", ".pth"):
        yield torch_tensors(path, args)
        return
    import pyarrow as pa
    import pyarrow.parquet

    batches = arrow_batches(path) if path.suffix == ".arrow" else pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=256)
    held, rows = [], 0
    for batch in batches:
        t = table_tensors(pa.table(batch), args, path)
        held.append(t)
        rows += t["activations"].size // t["activations"].shape[-1]
        if rows >= args.shard_rows:
            yield join(held, path)
            held, rows = [], 0
    if held:
        yield join(held, path)


def join(held, path):
    """Pieces of one file as one; of unequal contexts all become rows with lengths."""
    if len({(t["activations"].shape[1:], "lengths" in t) for t in held}) > 1:
        for t in held:
            a = t["activations"]
            if a.ndim == 3:
                t["lengths"] = np.full(a.shape[0], a.shape[1], np.int32)
                t.update({k: v.reshape(-1, *v.shape[2:]) for k, v in t.items() if k != "lengths"})
    if len({t["activations"].shape[-1] for t in held}) > 1:
        fail(f"'{path}' has rows of different width")
    return {k: (np.concatenate([t[k] for t in held]), None) for k in held[0]}


def save(path, tensors):
    header, offset = {}, 0
    for name, (a, dtype) in tensors.items():
        dtype = dtype or DTYPES.get(a.dtype.name) or fail(f"'{name}' has numbers of type {a.dtype}, which gloss does not read")
        header[name] = {"dtype": dtype, "shape": list(a.shape), "data_offsets": [offset, offset + a.nbytes]}
        offset += a.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    part = path.with_name(path.name + ".part")  # gloss passes over .part files
    with part.open("wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for a, _ in tensors.values():
            f.write(np.ascontiguousarray(a).data)
    part.rename(path)


def main():
    args = parse()
    if not args.source and not args.ranges:
        fail("nothing to convert")
    args.out.mkdir(parents=True, exist_ok=True)
    if args.ranges:
        import torch

        starts = torch.load(args.ranges, map_location="cpu", weights_only=True).numpy()
        save(args.out / "lengths.safetensors", {"lengths": (np.diff(starts).astype(np.int32), None)})
        print(f"{len(starts) - 1} lengths, {starts[-1] - starts[0]} rows")
    n, ctx_len = 0, set()
    for path in expand(args.source):
        for tensors in tensors_of(path, args):
            if "activations" in tensors:
                a, dtype = tensors["activations"]
                if a.ndim not in (2, 3, 4) or a.size == 0:
                    fail(f"'{path}': activations have the shape {a.shape}; (rows, d) or (contexts, ctx_len, d) is read")
                tensors["activations"] = (a[..., : args.width] if args.width else a, dtype)
                ctx_len.add(a.shape[1] if a.ndim > 2 else 0)
            name = "acts" if "activations" in tensors else "tokens"
            save(args.out / f"{name}-{n:05}.safetensors", tensors)
            print(f"{path}: " + ", ".join(f"{k} {a.shape} {d or a.dtype}" for k, (a, d) in tensors.items()), flush=True)
            n += 1
    manifest = {"model": args.model, "hook_point": args.hook_point, "layer": args.layer}
    manifest |= {"ctx_len": next(iter(ctx_len))} if len(ctx_len) == 1 and 0 not in ctx_len else {}
    manifest = {k: v for k, v in manifest.items() if v is not None}
    if manifest and n:
        (args.out / "dump.json").write_text(json.dumps(manifest | {"converted_from": args.source}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
