#!/usr/bin/env python3
"""Every architecture of `gloss train` on the same rows of a real dump: held-out FVU and L0, dead features, speed.

    python3 bench/architectures.py [--seeds 3] [--features 2304] [--tokens 331776] [--only NAME] [--target DUMP | --target-key NAME] [-- OPTION...]

The dump is the one in GLOSS_DATA, else the demo's. Those with a penalty aim at L0 k. `--target DUMP`, of the same tokens at another
hook point, or `--target-key NAME`, of the dump's own files, adds transcoders and crosscoders. What follows `--` goes to every `gloss train`. Ends with 1 where a run failed.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PENALTY = ("relu", "panneal", "gated", "jumprelu")


def variants(o):
    """{row's name: options}: the architectures that --help lists, and options that make another of one."""
    helped = subprocess.run([o.gloss, "train", "--help"], capture_output=True, text=True, check=True).stdout
    archs = re.search(r"--arch (\S+)", helped)[1].split("|")
    rows = {arch: ["--arch", arch] for arch in archs}
    rows["topk, archetypal"] = ["--arch", "topk", "--archetypal", 1024]
    rows["matryoshka, random prefixes"] = ["--arch", "matryoshka", "--random-prefixes", 10]
    pair = [("", o.target), ("-key", o.target_key)]
    for form, of in [(form, of) for form, of in pair if of]:
        for arch in ("topk", "batchtopk", "matryoshka", *PENALTY):
            rows[f"{arch} transcoder"] = ["--arch", arch, f"--target{form}", of]
            rows[f"{arch} skip transcoder"] = [*rows[f"{arch} transcoder"], "--skip"]
        for arch in ("topk", "batchtopk", "relu", "jumprelu"):
            rows[f"{arch} crosscoder"] = ["--arch", arch, f"--cross{form}", of]
    return {name: line for name, line in rows.items() if o.only in name}


def run(o, options, seed, rest):
    """One run: its held-out figures, and the speed over its steps and over the last fifth of them."""
    folder = o.out / "sae"
    line = [o.gloss, "train", o.data, "-o", folder, "--force", "--json", "--log-every", 1, "--seed", seed, "-F", o.features]
    k = "--target-l0" if options[1] in PENALTY else "--k"
    line += [k, o.k, "--batch", o.batch, "--tokens", o.tokens, *options, *rest]
    done = subprocess.run([str(word) for word in line], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}")
    answer = json.loads(done.stdout)
    steps = [s for s in map(json.loads, (folder / "train.jsonl").read_text().splitlines()) if "seconds" in s and "step" in s]
    tail = steps[len(steps) * 4 // 5 - 1 :]
    speed = (tail[-1]["tokens"] - tail[0]["tokens"]) / (tail[-1]["seconds"] - tail[0]["seconds"])
    return answer["held_out"] | {"speed": steps[-1]["tokens"] / steps[-1]["seconds"], "late": speed}


def mean(figures, form):
    """Mean, and its standard error where there are several."""
    error = statistics.stdev(figures) / len(figures) ** 0.5 if len(figures) > 1 else None
    return form.format(statistics.mean(figures)) + (" ± " + form.format(error) if error is not None else "")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", default=os.environ.get("GLOSS_DATA") or ROOT / "demo/data", type=Path)
    p.add_argument("--target", type=Path)
    p.add_argument("--target-key")
    p.add_argument("--gloss", default=ROOT / "build/release/gloss", type=Path)
    p.add_argument("--out", default=ROOT / "build/architectures", type=Path)
    p.add_argument("--only", default="")
    for name, n in (("seeds", 3), ("features", 2304), ("k", 32), ("batch", 4096), ("tokens", 81 * 4096)):
        p.add_argument(f"--{name}", default=n, type=int)
    words = sys.argv[1:]
    rest = words[words.index("--") + 1 :] if "--" in words else []
    o = p.parse_args(words[: words.index("--")] if "--" in words else words)
    o.out.mkdir(parents=True, exist_ok=True)
    failed = False

    print(f"{o.data}, F {o.features}, k or target L0 {o.k}, batch {o.batch}, {o.tokens} tokens, {o.seeds} seeds {' '.join(rest)}\n")
    print("| architecture | FVU | L0 | dead | tokens/s | in the last fifth |\n|---|---|---|---|---|---|", flush=True)
    for name, options in variants(o).items():
        try:
            runs = [run(o, options, seed, rest) for seed in range(o.seeds)]
        except RuntimeError as why:
            print(f"| {name} | failed: {why} |", flush=True)
            failed = True
            continue
        of = lambda key: [r[key] for r in runs]
        print(f"| {name} | {mean(of('fvu'), '{:.4f}')} | {mean(of('l0'), '{:.1f}')} | {mean(of('n_dead'), '{:.0f}')} "
              f"| {statistics.median(of('speed')):.0f} | {statistics.median(of('late')):.0f} |", flush=True)  # fmt: skip
    return failed


if __name__ == "__main__":
    sys.exit(main())
