#!/usr/bin/env python3
"""Compare the rows of `gloss synth hierarchy` with those of SAELens's generator at the same settings.

    PYTHON bench/synth.py [--rows 200000] [--correlated]

PYTHON has sae-lens 6 (with sae_lens.synthetic), safetensors, scipy and torch. 2,048 features in 128 dimensions, 16 trees, and all else
as SynthSAEBench has it. Features are independent (--rank 0), since the factors of the copula are random and shift how often a child
fires; --correlated takes them in, and then only means are compared. Exit status 1 when the differences of how often features fire
exceed chance (their standard deviation in standard errors is not 0.9 to 1.1, or one is over 5), when mean values of a level differ by
over 1 %, or the largest |cosine| by over 2 %.
"""
import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
import scipy.sparse
import torch
from safetensors.numpy import load_file
from sae_lens.synthetic import (FoldedNormalMagnitudeConfig, HierarchyConfig, LinearMagnitudeConfig, LowRankCorrelationConfig,
                                OrthogonalizationConfig, SyntheticModel, SyntheticModelConfig, ZipfianFiringProbabilityConfig)

ROOT = Path(__file__).resolve().parent.parent
FEATURES, D, ROOTS = 2048, 128, 16


def largest_cosine(rows):
    rows = rows / numpy.linalg.norm(rows, axis=1, keepdims=True)
    cosines = numpy.abs(rows @ rows.T)
    numpy.fill_diagonal(cosines, 0)
    return cosines.max()


def by_gloss(gloss, rows, rank):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([gloss, "synth", "hierarchy", "-o", f"{folder}/h", "--features", str(FEATURES), "-d", str(D), "--roots",
                        str(ROOTS), "--rank", str(rank), "--rows", str(rows), "--quiet"], check=True, stdout=subprocess.DEVNULL)
        files = load_file(f"{folder}/h/truth/dictionary.safetensors")
        codes = scipy.sparse.load_npz(f"{folder}/h/truth/codes.npz")
    sums = numpy.asarray(codes.sum(0)).ravel()
    return files["fires"] / rows, sums / rows, files["dictionary"], files["parent"]


def by_saelens(rows, rank):
    torch.set_num_threads(1)
    model = SyntheticModel(SyntheticModelConfig(
        num_features=FEATURES, hidden_dim=D, seed=0, bias=0.5,
        firing_probability=ZipfianFiringProbabilityConfig(exponent=0.5, max_prob=0.4, min_prob=5e-4),
        hierarchy=HierarchyConfig(total_root_nodes=ROOTS, branching_factor=4, max_depth=3, mutually_exclusive_portion=1.0,
                                  compensate_probabilities=True, scale_children_by_parent=True),
        orthogonalization=OrthogonalizationConfig(num_steps=100, lr=3e-4),
        correlation=LowRankCorrelationConfig(rank=rank, correlation_scale=0.1) if rank else None,
        mean_firing_magnitudes=LinearMagnitudeConfig(start=5.0, end=4.0),
        std_firing_magnitudes=FoldedNormalMagnitudeConfig(mean=0.5, std=0.5)))
    fires, sums = torch.zeros(FEATURES), torch.zeros(FEATURES)
    with torch.no_grad():
        for _ in range(rows // 5000):
            codes = model.activation_generator.sample(5000)
            fires += (codes > 0).float().sum(0)
            sums += codes.sum(0)
    return (fires / rows).numpy(), (sums / rows).numpy(), model.feature_dict.feature_vectors.detach().numpy()


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--gloss", default=ROOT / "build/release/gloss")
    ap.add_argument("--rows", type=int, default=200000, help="a multiple of 5000")
    ap.add_argument("--correlated", action="store_true")
    a = ap.parse_args()
    rank = 25 if a.correlated else 0
    ours, our_sums, dictionary, parent = by_gloss(a.gloss, a.rows, rank)
    theirs, their_sums, their_dictionary = by_saelens(a.rows, rank)
    level = numpy.zeros(FEATURES, int)
    for f in range(FEATURES):
        level[f] = level[parent[f]] + 1 if parent[f] >= 0 else 0
    bad = False
    print(f"{'':14} {'features':>8} {'fires':>9} {'SAELens':>9} {'value':>8} {'SAELens':>8}")
    alone = (parent < 0) & (numpy.arange(FEATURES) >= ROOTS)
    for name, some in [("roots", (parent < 0) & ~alone), ("children", level == 1), ("grandchildren", level == 2),
                       ("theirs", level == 3), ("alone", alone)]:
        value, other = our_sums[some].sum() / ours[some].sum(), their_sums[some].sum() / theirs[some].sum()
        bad = bad or abs(value / other - 1) > 0.01
        print(f"{name:14} {some.sum():8} {ours[some].mean():9.5f} {theirs[some].mean():9.5f} {value:8.4f} {other:8.4f}")
    off = (ours - theirs) / numpy.sqrt((ours * (1 - ours) + theirs * (1 - theirs)) / a.rows + 1e-18)
    print(f"codes a row {ours.sum():.4f}, SAELens {theirs.sum():.4f}")
    print(f"differences by feature, in standard errors: standard deviation {off.std():.3f}, largest {abs(off).max():.2f}")
    mine, other = largest_cosine(dictionary), largest_cosine(their_dictionary)
    print(f"largest |cosine| of two features {mine:.4f}, SAELens {other:.4f}")
    bad = bad or abs(mine / other - 1) > 0.02
    if not a.correlated:
        bad = bad or not 0.9 < off.std() < 1.1 or abs(off).max() > 5
    sys.exit(int(bool(bad)))


if __name__ == "__main__":
    main()
