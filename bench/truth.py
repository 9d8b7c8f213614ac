#!/usr/bin/env python3
"""Compare `gloss match` with SAELens's synthetic evals on one SAE and one dump of `gloss synth`.

    PYTHON bench/truth.py SAE DUMP [--tolerance 1e-4]

PYTHON has sae-lens 6, scipy, safetensors and torch (bench/peers.py makes such an environment). Runs `gloss match SAE DUMP --holdout 1`,
loads the SAE by SAELens and the truth's files by NumPy, and computes MCC, uniqueness, precision, recall, F1, L0, dead latents,
shrinkage and explained variance by sae_lens.synthetic.evals. Prints both; exit status 1 when one differs by more than the tolerance.
"""
import argparse
import glob
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def truth_of(dump):
    import numpy
    import scipy.sparse
    from safetensors.numpy import load_file

    shards = sorted(glob.glob(f"{dump}/acts-*.safetensors"))
    rows = numpy.concatenate([load_file(s)["activations"] for s in shards])
    files = load_file(f"{dump}/truth/dictionary.safetensors")
    codes = scipy.sparse.load_npz(f"{dump}/truth/codes.npz")
    return rows.reshape(-1, rows.shape[-1]), files["dictionary"], codes


def by_saelens(sae_path, dump):
    import torch
    from sae_lens import SAE
    from sae_lens.synthetic import evals

    rows, dictionary, codes = truth_of(dump)
    features = torch.from_numpy(dictionary)
    sae = SAE.load_from_disk(sae_path)
    classes = evals.ClassificationMetricsCalculator(sae.W_dec, features)
    l0, dead = evals.L0Calculator(), evals.DeadLatentsCalculator(sae.W_dec.shape[0])
    shrinkage = evals.ShrinkageCalculator()
    lost = spread = 0.0
    mean = torch.from_numpy(rows).double().mean(0)
    with torch.no_grad():
        for at in range(0, len(rows), 4096):
            x = torch.from_numpy(rows[at:at + 4096])
            latents = sae.encode(x)
            xhat = sae.decode(latents)
            classes.add_batch(latents, torch.from_numpy(codes[at:at + 4096].toarray()))
            l0.add_batch(latents)
            dead.add_batch(latents)
            shrinkage.add_batch(xhat, x)
            lost += (x - xhat).double().pow(2).sum().item()
            spread += (x.double() - mean).pow(2).sum().item()
        scores = classes.compute()
        return {
            "mcc": evals.mean_correlation_coefficient(sae.W_dec, features),
            "uniqueness": evals.feature_uniqueness(sae.W_dec, features),
            "precision": scores.precision,
            "recall": scores.recall,
            "f1": scores.f1_score,
            "shrinkage": shrinkage.compute(),
            "explained_variance": 1 - lost / spread,
            "l0": l0.compute(),
            "dead": dead.compute(),
        }


def by_gloss(gloss, sae_path, dump):
    out = subprocess.run([gloss, "match", sae_path, dump, "--holdout", "1", "--draws", "0", "--quiet", "--json"],
                         check=True, capture_output=True, text=True).stdout
    page = json.loads(out)
    found = {name: score["value"] for name, score in page["scores"].items()}
    return {**found, "l0": page["codes"]["l0"], "dead": page["codes"]["dead"]}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("sae")
    ap.add_argument("dump")
    ap.add_argument("--gloss", default=ROOT / "build/release/gloss")
    ap.add_argument("--tolerance", type=float, default=1e-4)
    a = ap.parse_args()
    ours, theirs = by_gloss(a.gloss, a.sae, a.dump), by_saelens(a.sae, a.dump)
    bad = False
    print(f"{'measure':20} {'gloss':>10} {'SAELens':>10} {'difference':>11}")
    for name, value in theirs.items():
        off = abs(ours[name] - value)
        bad = bad or off > a.tolerance
        print(f"{name:20} {ours[name]:10.6f} {value:10.6f} {off:11.1e}{' NO' if off > a.tolerance else ''}")
    sys.exit(bad)


if __name__ == "__main__":
    main()
