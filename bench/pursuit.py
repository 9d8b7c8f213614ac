#!/usr/bin/env python3
"""Compare the gradient of `gloss train --arch pursuit` with that of SAELens's matching pursuit by torch's autograd.

    PYTHON bench/pursuit.py FOLDER

PYTHON has sae-lens 6, safetensors and torch (bench/peers.py makes such an environment). Makes a dump in FOLDER, takes one step on all its
rows with a step size of nothing, and reads weights and Adam's mean, a tenth of the gradient of log FVU, from the checkpoint. The part of a
row's gradient along the row is removed from SAELens's too, as Gloss does. Exit status 1 where they differ by over a millionth of the largest.
"""
import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROWS, D, F, K = 512, 32, 100, 12


def train(gloss, folder, repeats, residual):
    import numpy
    from safetensors.numpy import load_file, save_file

    folder.mkdir(parents=True, exist_ok=True)
    rng = numpy.random.default_rng(0)
    rows = (rng.random((ROWS, D)) * 3 + rng.random(D)).astype(numpy.float32)
    save_file({"activations": rows}, str(folder / "rows.safetensors"))
    options = ["--arch", "pursuit", "--features", F, "--k", K, "--batch", ROWS, "--steps", 1, "--lr", 1e-30, "--warmup", 0, "--scale", "none",
               "--holdout", 0, "--max-norm-ratio", 0, "--residual", residual, "--checkpoint-every", 1, "--force", "--quiet"]
    options += ["--repeats"] if repeats else []
    subprocess.run([gloss, "train", folder / "rows.safetensors", "-o", folder / "sae", *map(str, options)], check=True, stdout=subprocess.DEVNULL)
    state = load_file(str(folder / "sae/checkpoint/state.safetensors"))
    return rows, {name.split(".")[-1].split("/")[-1]: value for name, value in state.items()}


def by_saelens(rows, state, repeats, residual):
    import torch
    from sae_lens.saes.matching_pursuit_sae import _encode_matching_pursuit

    x = torch.tensor(rows.astype("float64"))
    w = torch.tensor(state["W_dec"].reshape(F, D).astype("float64"), requires_grad=True)
    b = torch.tensor(state["b_dec"].astype("float64"), requires_grad=True)
    codes = _encode_matching_pursuit(x - b, w, residual, K, not repeats)
    loss = torch.log(((x - codes @ w - b) ** 2).sum() / ((x - x.mean(0)) ** 2).sum())
    loss.backward()
    unit = w.detach()
    return (w.grad - (w.grad * unit).sum(1, keepdim=True) * unit).numpy(), b.grad.numpy(), (codes != 0).sum(1).double().mean().item()


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("folder", type=Path)
    ap.add_argument("--gloss", default=ROOT / "build/release/gloss")
    a = ap.parse_args()
    bad = False
    for repeats, residual in [(False, 0.01), (False, 1.5), (True, 0.0)]:
        rows, state = train(a.gloss, a.folder, repeats, residual)
        w, b, l0 = by_saelens(rows, state, repeats, residual)
        for name, theirs in [("W_dec", w), ("b_dec", b)]:
            ours = 10 * state[name + "_m"].reshape(theirs.shape)
            off, most = abs(ours - theirs).max(), abs(theirs).max()
            bad = bad or not off < 1e-6 * max(most, 1)
            print(f"repeats {repeats!s:5} residual {residual:4} L0 {l0:5.2f}  {name}: largest difference {off:.1e} of {most:.3f}")
    sys.exit(bad)


if __name__ == "__main__":
    main()
