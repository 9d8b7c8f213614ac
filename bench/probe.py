#!/usr/bin/env python3
"""Compare `gloss probe` with scikit-learn: the same examples, features and split, one probe after the other.

    python3 bench/probe.py --sae SAE --dump DUMP --labels FILE [--per row] [--column NAME] [--json FILE]

Runs `gloss probe` and `gloss encode`, rebuilds the probes' features from the dump and the codes, fits scikit-learn's
LogisticRegression(C=1, max_iter=1000) on the training examples of --predictions, and prints accuracy on the held-out ones and
seconds of the fits alone. Exit status 1 when an accuracy differs by more than 0.5 %, or scikit-learn is faster over all probes.
Threads: Gloss fits each probe in one thread; scikit-learn may use as many as BLAS does (--threads, 1).
Needs scikit-learn, scipy, safetensors in the Python that runs it. Rows: labels per row or context (pooled by mean).
"""
import argparse
import csv
import glob
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def arguments():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--gloss", default=ROOT / "build/release/gloss")
    ap.add_argument("--sae", required=True)
    ap.add_argument("--dump", required=True, help="folder of .safetensors shards")
    ap.add_argument("--labels", required=True)
    ap.add_argument("--column")
    ap.add_argument("--per", choices=["row", "context"])
    ap.add_argument("--limit", default="20000")
    ap.add_argument("--classes", type=int, default=3, help="compare at most so many classes")
    ap.add_argument("--rounds", type=int, default=3, help="fit so many times, take the fastest")
    ap.add_argument("--threads", default="1", help="of scikit-learn's BLAS")
    ap.add_argument("--json")
    return ap.parse_args()


def run_gloss(a, folder):
    line = [a.gloss, "probe", a.sae, a.dump, "--labels", a.labels, "--limit", a.limit, "--threads", "1", "--quiet", "--json"]
    line += ["-o", folder / "predictions.csv"] + (["--column", a.column] if a.column else []) + (["--per", a.per] if a.per else [])
    pages = [json.loads(subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True).stdout) for _ in range(a.rounds)]
    for i, probe in enumerate(pages[0]["probes"]):
        probe["seconds"] = min(p["probes"][i]["seconds"] for p in pages)
    subprocess.run([a.gloss, "encode", a.sae, a.dump, "-o", folder / "codes.npz", "--quiet"], check=True, stdout=subprocess.DEVNULL)
    with open(folder / "predictions.csv", newline="") as f:
        return pages[0], list(csv.reader(f))[1:]


def features(a, page, units, folder):
    """Activations and codes of the examples, as Gloss pools them: {"activations": dense, "codes": CSR}."""
    import numpy as np
    import scipy.sparse as sp
    from safetensors.numpy import load_file

    shards = [load_file(p) for p in sorted(glob.glob(a.dump + "/*.safetensors"))]
    shards = [s for s in shards if "activations" in s]
    x = np.concatenate([s["activations"].reshape(-1, s["activations"].shape[-1]) for s in shards]).astype(np.float32)
    codes = sp.load_npz(folder / "codes.npz").tocsr().astype(np.float32)
    if page["examples"]["per"] == "row":
        return {"activations": x[units], "codes": codes[units]}
    length = shards[0]["tokens"].shape[-1]
    with np.load(folder / "codes.npz") as f:
        kept = f["kept"].astype(np.float64)
    pool = sp.csr_matrix((kept, np.arange(len(kept)), np.arange(0, len(kept) + 1, length)))
    pool = sp.diags(1 / np.maximum(pool.sum(1).A1, 1)) @ pool
    pool = pool[units]
    return {"activations": (pool @ x.astype(np.float64)).astype(np.float32), "codes": (pool @ codes).tocsr().astype(np.float32)}


def fit(a, x, y, train):
    from sklearn.linear_model import LogisticRegression
    import warnings

    best = None
    for _ in range(a.rounds):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            start = time.perf_counter()
            model = LogisticRegression(C=1, max_iter=1000).fit(x[train], y[train])
            seconds = time.perf_counter() - start
        best = seconds if best is None else min(best, seconds)
    return model, best


def objective(model, x, y):
    import numpy as np

    margin = x @ model.coef_[0] + model.intercept_[0]
    return 0.5 * (model.coef_**2).sum() + np.logaddexp(0, np.where(y, -margin, margin)).sum()


def main():
    a = arguments()
    os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = a.threads
    import numpy as np

    with tempfile.TemporaryDirectory() as tmp:
        page, rows = run_gloss(a, Path(tmp))
        x = features(a, page, np.array([int(r[0]) for r in rows]), Path(tmp))
    label, test = np.array([r[1] for r in rows]), np.array([r[2] == "test" for r in rows])
    print(f"{len(rows)} examples, {page['examples']['train']} to train on; load {os.getloadavg()[0]:.1f}")
    print(f"{'class':12} {'on':12} {'k':>4} {'accuracy':>9} {'sklearn':>9} {'objective':>12} {'sklearn':>12} {'seconds':>9} {'sklearn':>9} {'ratio':>7}")
    chosen = list(dict.fromkeys(p["class"] for p in page["probes"]))[: a.classes]
    results = []
    for p in page["probes"]:
        if p["class"] not in chosen:
            continue
        columns, y = p.get("features", p.get("dimensions")), label == p["class"]
        f = x[p["on"]] if columns is None else x[p["on"]][:, columns]
        f = f.toarray() if columns is not None and p["on"] == "codes" else f
        model, seconds = fit(a, f, y, ~test)
        r = {"class": p["class"], "on": p["on"], "k": p["k"], "accuracy": p["accuracy"]["value"], "sklearn_accuracy": model.score(f[test], y[test])}
        r |= {"objective": p["objective"], "sklearn_objective": objective(model, f[~test], y[~test])}
        r |= {"seconds": p["seconds"], "sklearn_seconds": seconds}
        results.append(r)
        print(
            f"{r['class'][:12]:12} {r['on']:12} {r['k']:>4} {r['accuracy']:9.4f} {r['sklearn_accuracy']:9.4f} {r['objective']:12.4f} "
            f"{r['sklearn_objective']:12.4f} {r['seconds']:9.4f} {seconds:9.4f} {seconds / max(r['seconds'], 1e-6):7.1f}",
            flush=True,
        )
    worst = max(abs(r["accuracy"] - r["sklearn_accuracy"]) for r in results)
    ours, theirs = (sum(r[k] for r in results) for k in ("seconds", "sklearn_seconds"))
    least = min(r["sklearn_seconds"] / max(r["seconds"], 1e-6) for r in results)
    print(f"largest difference of accuracy {worst:.4f}; least ratio {least:.1f}; all fits {ours:.3f} s against {theirs:.3f} s: {theirs / ours:.1f} times as fast")
    if a.json:
        Path(a.json).write_text(json.dumps({"probes": results, "worst": worst, "seconds": ours, "sklearn_seconds": theirs}, indent=1) + "\n")
    return worst > 0.005 or ours > theirs


if __name__ == "__main__":
    sys.exit(main())
