#!/usr/bin/env python3
"""Every preset of `gloss train` against the tool it is named for, or a reference of the paper: held-out FVU and L0 after equal tokens.

    python3 bench/presets.py [--only NAME] [--seeds 3] [--steps 600] [--features 1152]
    python3 bench/presets.py --same [--steps 120]   # without batches: all rows in each step

A seed is a pair of runs: the tool sees the rows in the order in which Gloss reads them with that seed, and its weights begin in the directions
of Gloss's (norms, biases and thresholds are each one's own), so that what chance draws is no part of the gap. The order and the start each move
FVU from seed to seed by more than recipes that are nearly equal differ.

The rows are those of the dump in GLOSS_DATA, else the demo's, scaled to a mean norm of sqrt(d); the tool and Gloss read the same F32
numbers. Numbers of steps that a recipe sets for long runs (warm-ups, when a feature is dead) are shortened on both sides alike; what a
recipe leaves open (a coefficient) is given to both. Needs python3 with venv, and a network on the first run: bench/README.md says more.
L0 is the better the nearer to k where a recipe has a k, else the lower: a threshold for inference that follows batches slowly misses k.
With --same both train on as many rows as a batch has, so that each step sees all of them: a recipe that is the tool's ends where the tool ends,
but for rounding. A gap is the mean of the pairs, with its standard error. Ends with 1 where a run failed or Gloss is worse by more than a standard
error of the difference of two such means whose draws were not the same: less than that another draw of seeds does as well.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from peers import ROOT, make_venv

HOLDOUT = 0.125
ADAM = {"b1": 0.9, "eps": 1e-8}
THETA = {"theta": 0.1, "log": True, "to_input": True}


def cases(o):
    """{preset: (tool, the job's own, options of gloss)}."""
    warm = ["--warmup", o.warmup]
    sparse = ["--sparsity-warmup", o.sparsity_warmup]
    dead = ["--dead-tokens", o.dead_steps * o.batch]
    rows = {
        "saelens-topk": ("sae-lens", {"arch": "topk"}, ["-k", o.k, *dead]),
        "saelens-jumprelu": ("sae-lens", {"arch": "jumprelu"}, dead),
        "sparsify": ("eai-sparsify", {}, ["-k", o.k, *dead]),
    }
    for arch in ("topk", "batchtopk", "matryoshka"):
        rows[f"dictionary-learning-{arch}"] = ("dictionary-learning", {"arch": arch}, ["-k", o.k, *warm, *dead])
    for arch in ("relu", "april", "gated", "jumprelu", "panneal"):
        rows[f"dictionary-learning-{arch}"] = ("dictionary-learning", {"arch": arch}, [*warm, *sparse])
    papers = {
        "gemma-scope": (
            {"rows": "mean-square", "start": "he", "centers": True, "loss": "l0", "coef": 2e-3, "theta": 1e-3, "width": 1e-3}
            | {"unit": True, "lr": 7e-5, "b1": 0, "eps": 1e-8, "warmup": "cosine"},
            ["--l0", 2e-3, *warm, *sparse],
        ),
        "anthropic-2024-04": (
            ADAM | {"rows": "mean-norm", "start": "random", "dec_norm": 0.1, "centers": False, "loss": "l1", "coef": 5}
            | {"clip": 1, "lr": 5e-5, "decay": 0.2},
            sparse,
        ),
        "anthropic-2025-01": (
            ADAM | THETA | {"rows": "mean-norm", "start": "uniform", "centers": False, "loss": "tanh", "coef": 1, "tanh": 4, "width": 2}
            | {"preact": 3e-6, "clip": 1, "lr": o.default_lr, "decay": 0.2},
            ["--l0", 1, *sparse, *dead],
        ),
        "openai": (
            {"rows": "layer", "start": "openai", "median": True, "centers": True, "topk": True, "loss": "normalised", "aux": 1 / 32}
            | {"k_aux": 256, "fired": 1e-3, "unit": True, "lr": 1e-4, "b1": 0.9, "eps": 6.25e-10},
            ["-k", o.k, *dead],
        ),
        "openmoss": (
            ADAM | THETA | {"rows": "mean-norm", "start": "unit", "centers": False, "loss": "tanh", "coef": 0.3, "tanh": 4, "width": 4}
            | {"theta_lr": 0.1, "to_input": False, "lr": 5e-5, "decay": 0.2, "floor": 1 / 32, "warmup": "linear"},
            ["--l0", 0.3, *warm, *sparse],
        ),
    }  # fmt: skip
    rows |= {name: ("reference", {"recipe": recipe}, options) for name, (recipe, options) in papers.items()}
    return {name: row for name, row in rows.items() if o.only in name}


def start_of(o, preset, options, seed):
    """Where the directions of Gloss's weights at the start are kept."""
    still = argparse.Namespace(**vars(o) | {"steps": 1})
    warm = ["--sparsity-warmup", 0] if "--sparsity-warmup" in options else []
    run_gloss(still, preset, [*options, "--lr", 1e-30, "--warmup", 0, *warm], seed)
    run_job(o, {"do": "directions", "sae": str(o.out / "sae"), "start": str(o.out / "start.npy")})
    return str(o.out / "start.npy")


def run_job(o, job):
    env = dict(os.environ, SPARSIFY_DISABLE_TRITON="1", WANDB_MODE="disabled", HF_HUB_OFFLINE="1", CUDA_VISIBLE_DEVICES="")
    line = [o.venv / "bin/python", ROOT / "bench/presets_jobs.py", json.dumps(job)]
    done = subprocess.run(line, env=env, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout.splitlines()[-1])


def run_gloss(o, preset, options, seed):
    line = [o.gloss, "train", o.out / "dump", "-o", o.out / "sae", "--force", "--json", "--split", "tail", "--holdout", o.holdout]
    line += ["--max-norm-ratio", 0, "-F", o.features, "--batch", o.batch, "--steps", o.steps, "--seed", seed, "--order-seed", seed, "--shuffle", "rows"]
    line += ["--preset", preset, "--threads", o.threads, *options]
    done = subprocess.run([str(word) for word in line], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout)["held_out"]


def verdict(ours, theirs, digits):
    """The mean gap of pairs of a figure, the lower the better; and whether it is within what other draws would move it by, or better."""
    gaps, n = [a - b for a, b in zip(ours, theirs)], len(ours)
    gap, spread = statistics.mean(gaps), statistics.stdev(gaps) / n**0.5 if n > 1 else 0
    error = sum(statistics.variance(v) / n for v in (ours, theirs)) ** 0.5 if n > 1 else 0
    word = "better" if gap < -error else "within" if gap <= error else f"NO, {error:.2g} allowed"
    return f"{word}: {gap:+.{digits}f} ± {spread:.{digits}f}"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", default=os.environ.get("GLOSS_DATA") or ROOT / "demo/data", type=Path)
    p.add_argument("--gloss", default=ROOT / "build/release/gloss", type=Path)
    p.add_argument("--venv", default=ROOT / "build/venv-peers", type=Path)
    p.add_argument("--out", default=ROOT / "build/presets", type=Path)
    p.add_argument("--only", default="")
    numbers = [("seeds", 3), ("features", 1152), ("k", 32), ("batch", 512), ("steps", 600), ("threads", 2)]
    for name, n in [*numbers, ("warmup", 30), ("sparsity-warmup", 60), ("dead-steps", 60)]:
        p.add_argument(f"--{name}", default=n, type=int)
    p.add_argument("--same", action="store_true", help="all rows in each step; one seed")
    o = p.parse_args()
    o.holdout, o.seeds = (8192 / (8192 + o.batch), 1) if o.same else (HOLDOUT, o.seeds)
    o.default_lr = 2e-4 / (o.features / 2**14) ** 0.5
    o.venv, o.out = o.venv.absolute(), o.out.absolute()
    o.out.mkdir(parents=True, exist_ok=True)
    with open(o.out / "install.log", "w") as log:
        lacking, versions = make_venv(o.venv, ["sae-lens", "eai-sparsify", "dictionary-learning"], log)
    where = {"rows": str(o.out / "rows.npy"), "dump": str(o.out / "dump")}
    made = run_job(o, {"do": "prepare", "data": str(o.data), "holdout": HOLDOUT, "take": o.batch * o.same} | where)
    job = {"do": "train", "rows": where["rows"], "train": made["train"], "d": made["d"], "dead_tokens": o.dead_steps * o.batch}
    job |= {name: getattr(o, name) for name in ("features", "k", "batch", "steps", "warmup", "sparsity_warmup", "dead_steps", "threads")}
    versions["reference"], failed = "", False

    print(f"{o.data}: {made['train']} rows to train on, d {made['d']}; F {o.features}, k {o.k}, batch {o.batch}, {o.steps} steps, {o.seeds} seeds\n")
    print("| preset | against | FVU | theirs | | L0 | theirs | |\n|---|---|---|---|---|---|---|---|", flush=True)
    for preset, (tool, own, options) in cases(o).items():
        try:
            if tool in lacking:
                raise RuntimeError(lacking[tool])
            ours = [run_gloss(o, preset, options, seed) for seed in range(o.seeds)]
            theirs = []
            for seed in range(o.seeds):
                job |= {"start": start_of(o, preset, options, seed), "tool": tool, "seed": seed}
                theirs.append(run_job(o, job | own))
        except RuntimeError as why:
            print(f"| {preset} | {tool} | failed: {why} |", flush=True)
            failed = True
            continue
        cells = []
        for key, digits in (("fvu", 4), ("l0", 1)):
            a, b = ([r[key] for r in runs] for runs in (ours, theirs))
            for v in (a, b):
                error = statistics.stdev(v) / len(v) ** 0.5 if len(v) > 1 else 0
                cells.append(f"{statistics.mean(v):.{digits}f} ± {error:.{digits}f}")
            if key == "l0" and "-k" in options:
                a, b = ([abs(x - o.k) for x in v] for v in (a, b))
            cells.append(f"{statistics.mean(a) - statistics.mean(b):+.{digits}f}" if o.same else verdict(a, b, digits))
            failed |= cells[-1].startswith("NO")
        print(f"| {preset} | {tool} {versions[tool]} | {' | '.join(cells)} |", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
