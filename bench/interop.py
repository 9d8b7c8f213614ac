#!/usr/bin/env python3
"""SAEs between Gloss and sae-lens, eai-sparsify, dictionary-learning, llamascopium: each way, on the same real rows, the tools themselves.

    python3 bench/interop.py                 # the demo's rows
    python3 bench/interop.py DUMP            # others
    python3 bench/interop.py --venv FOLDER --only eai-sparsify

For every architecture of a tool, the tool makes an SAE on the rows (random features, mean of the rows as b_dec) and saves it, and
    in     Gloss reads the tool's folder
    out    `gloss export` of that folder, read by the tool
are compared with what the tool computes. Rows `gloss train` are SAEs that Gloss trained, read by the tool.
A row's error is the largest difference over its features divided by its largest activation, or a hundredth of the rows' median one. Where one side keeps a feature that the
other does not (two values nearly equal at rank k, or one nearly at its threshold) that is a swap and left out of the error; its gap is
how far the value is from the edge, over the row's maximum. Ends with 1 when an error is above 1e-4, or a swap is no near tie.
Needs python3 with venv, and a network on the first run: the peers come from PyPI into --venv.
"""
import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from peers import READERS, ROOT, make_venv


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("dump", nargs="?", default=str(ROOT / "demo/data"))
    p.add_argument("--rows", type=int, default=1000)
    p.add_argument("--features", type=int, default=1100, help="no multiple of 8 unless you say so")
    p.add_argument("--only", help="a tool: " + ", ".join(READERS))
    p.add_argument("--build", type=Path, default=ROOT / "build/release")
    p.add_argument("--venv", type=Path, default=ROOT / "build/venv-peers")
    o = p.parse_args()
    tools = [o.only] if o.only else list(READERS)
    with tempfile.TemporaryDirectory(prefix="interop") as work, open(Path(work) / "log", "w") as log:
        failed, versions = make_venv(o.venv.absolute(), tools, log)
        if failed:
            raise SystemExit(f"interop: {failed}")
        print(", ".join(f"{name} {version}" for name, version in versions.items()), flush=True)
        line = [o.venv.absolute() / "bin/python", ROOT / "bench/interop_jobs.py", o.dump, work, o.build.absolute()]
        env = dict(os.environ, PYTHONWARNINGS="ignore", HF_HUB_OFFLINE="1", TQDM_DISABLE="1")
        return subprocess.run([*map(str, line), str(o.rows), str(o.features), *tools], env=env, stderr=log).returncode


if __name__ == "__main__":
    sys.exit(main())
