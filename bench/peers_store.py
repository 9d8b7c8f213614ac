#!/usr/bin/env python3
"""Compare `gloss index` and `gloss find --regex` with delphi, SAEDashboard and codebook-features: same SAE, rows and tokens.

    python3 bench/peers_store.py                          # an SAE of 4,608 features of the demo's rows, trained first
    python3 bench/peers_store.py --sae DIR                # one that is there
    python3 bench/peers_store.py --dashboard-features 512 # SAEDashboard for 512 features; its time then counts for its share only

Needs python3 with venv, and a network on the first run: the peers come from PyPI into --venv and --venv-dashboard.
bench/README.md says what is held equal, what takes the place of the language model, and what the columns mean.
"""
import argparse
import json
import os
import shutil
import re
import sqlite3
import statistics
import struct
import subprocess
import sys
from pathlib import Path

from peers import ROOT, TORCH, run_watched

DELPHI, CODEBOOK, DASHBOARD = "eai-delphi", "codebook-features", "sae-dashboard"
VERSIONS = {DELPHI: "0.1.3", CODEBOOK: "0.1.2", DASHBOARD: "0.8.0"}
WANTED = {DELPHI: 10, DASHBOARD: 20}
# what the parts used here import; delphi and codebook-features themselves come without their other requirements (vllm, streamlit, ...)
NEEDED = {
    DELPHI: ["eai-sparsify==1.3.3", "orjson", "blobfile", "faiss-cpu", "sentence_transformers", "asyncer"],
    CODEBOOK: ["transformers", "termcolor"],
}
TOP = 24  # contexts a feature that are compared
PATTERNS = [
    r"\bthe\b", r" (the)\b", r"New (York|Zealand)", r"\b(January|February|March|April|May|June)\b", r"[0-9]{4}",
    r"(\d)\d*%?", r"\w+ing\b", r"(\w+)tion\b", r" (?:of|in) (\w+)", r"^(\w+)", r"\n", r"\.(\s)", r"[.!?]",
    r"(?i)(government|president)", r"\"(\w)", r"(a)?b", r"(\() ?\w", r"[^\x00-\x7f]", "é", "—|–", "[“”]", "’(s)",
    r"[А-яЁё]+", r"[一-鿿]", r"\b[A-Z]{2,}\b", r"(foo|bar|of) (the)", r"e(?=r\b)", r"\(",
]  # fmt: skip


# ---- Virtual environments ------------------------------------------------------------------------------------------------------


def installed(folder, name):
    code = f"import importlib.metadata as m; print(m.version('{name}'))"
    return subprocess.run([folder / "bin/python", "-c", code], capture_output=True, text=True).stdout.strip()


def install(o, tool, log):
    """Returns why it cannot be used, or None."""
    folder = o.venv_dashboard if tool == DASHBOARD else o.venv
    constraints = folder / "constraints-store.txt"

    def pip(*words):
        line = [folder / "bin/python", "-m", "pip", *words, "--disable-pip-version-check"]
        return subprocess.run(line, stdout=log, stderr=log).returncode == 0

    if not (folder / "bin/python").exists() and subprocess.run([sys.executable, "-m", "venv", folder], stdout=log).returncode:
        return f"no virtual environment in {folder}"
    if installed(folder, tool) == VERSIONS[tool]:
        return None
    print(f"installing {tool} {VERSIONS[tool]}", file=sys.stderr)
    # transformer-lens 2 wants NumPy 1, and pyarrow from 22 on does not load with that
    constraints.write_text(TORCH + "\n" + ("pyarrow<22\n" if tool == DASHBOARD else ""))
    have = ["install", "-c", constraints, TORCH, "numpy", "safetensors"]
    if tool == DASHBOARD:
        done = pip(*have, f"{tool}=={VERSIONS[tool]}")
        # they come for another torch, and break transformers
        pip("uninstall", "-y", "torchvision", "torchaudio")
    else:
        done = pip(*have, *NEEDED[tool]) and pip("install", "--no-deps", f"{tool}=={VERSIONS[tool]}")
    return None if done else f"cannot be installed; see {log.name}"


def run_job(o, tool, job):
    folder = o.venv_dashboard if tool == DASHBOARD else o.venv
    env = dict(os.environ, HF_HUB_OFFLINE="1", WANDB_MODE="disabled", CUDA_VISIBLE_DEVICES="", SPARSIFY_DISABLE_TRITON="1")
    env.update({name: str(o.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")})
    job = o.job | {"do": tool} | job
    line = [str(folder / "bin/python"), str(ROOT / "bench/peers_store_jobs.py"), json.dumps(job)]
    out, wall, peak = run_watched(line, env, o.out / f"{tool}-{job.get('name', 'run')}.log", o.timeout)
    return json.loads(out.splitlines()[-1]) | {"wall": wall, "peak": peak}


# ---- Gloss ---------------------------------------------------------------------------------------------------------------------


def gloss(o, name, *words):
    """Returns output, wall seconds, peak of anonymous memory in MiB."""
    return run_watched([str(w) for w in (o.gloss, *words, "--quiet")], None, o.out / f"gloss-{name}.log", o.timeout)


def fresh(path):
    for p in (path.with_name(path.name + end) for end in ("", "-wal", "-shm", ".part")):
        shutil.rmtree(p) if p.is_dir() else p.unlink(missing_ok=True)
    return path


def index(o, name, data, *words):
    store = fresh(o.out / f"{name}.db")
    line = ["index", o.sae, data, "-d", store, "--tokenizer", o.tokenizer, "--threads", o.threads, "--max-norm-ratio", 0, *words]
    _, wall, peak = gloss(o, f"index-{name}", *line)
    return store, wall, peak


def gloss_top(o, store):
    """{feature: ([context], [activation])}: a context is the first in the dump with such tokens."""
    ids, size, first = Path(o.job["ids"]).read_bytes(), 4 * o.shape["length"], {}
    for i in range(o.shape["contexts"]):
        first.setdefault(ids[i * size : (i + 1) * size], i)
    db, top = sqlite3.connect(f"file:{store}?mode=ro", uri=True), {}
    at = {row[0]: first[row[1]] for row in db.execute("SELECT id, tokens FROM context")}
    for feature, context, value in db.execute(
        "SELECT feature, context_id, activation FROM example WHERE bin = -1 ORDER BY feature, rank"
    ):
        contexts, values = top.setdefault(feature, ([], []))
        contexts.append(at[context])
        values.append(value)
    db.close()
    return top


# ---- Equal contexts ------------------------------------------------------------------------------------------------------------


def cause(value, edge, half):
    """Why one list has a context with this value and the other, which ends at `edge`, does not."""
    if half and struct.pack("e", value) == struct.pack("e", edge):
        return "equal as f16"
    if abs(value - edge) <= 1e-4 * max(1.0, abs(edge)):  # SAEDashboard rounds to 4 decimals, and products differ in last bits
        return "equal but for rounding"
    return "other"


def compare_top(answer, ours, half):
    """Of each feature as many of Gloss's strongest contexts as the peer lists: the share that is the same, and causes of the rest."""
    lists, same, all_, causes, whole = json.loads(answer.read_text()), 0, 0, {}, 0
    for feature, listed in enumerate(lists):
        mine, mine_values = ours.get(feature, ([], []))
        n = min(TOP, len(listed))
        theirs, got = [c for c, _ in listed[:n]], set(mine[:n])
        common = sum(c in got for c in theirs)
        all_, same, whole = all_ + n, same + common, whole + (common == n)
        edge = mine_values[min(n, len(mine_values)) - 1] if mine_values and n else 0.0
        for c, v in listed[:n]:
            if c not in got:
                why = cause(v, edge, half)
                causes[why] = causes.get(why, 0) + 1
    return {"contexts": all_, "share": same / max(1, all_), "whole": whole / len(lists), "causes": causes}


# ---- Patterns ------------------------------------------------------------------------------------------------------------------


def gloss_search(o, store, pattern):
    line = [o.gloss, "find", "-d", store, "--regex", pattern, "--limit", "1000000", "--json", "--quiet"]
    run = subprocess.run(line, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"gloss find --regex '{pattern}': {run.stderr.strip()}")
    page = json.loads(run.stdout)
    kept = {f["feature"]: f for f in page["features"] if f["recall"] > 0.01}
    return {"matches": page["matches"], "codes": {f: (x["precision"], x["recall"], x["fires"]) for f, x in kept.items()}}


def difference(theirs, ours):
    """None when equal to the last digits of a double."""
    if "error" in theirs:
        return theirs["error"]
    if theirs["matches"] != ours["matches"]:
        return f"{theirs['matches']} matches, Gloss {ours['matches']}"
    codes = {c: (p, r, n) for c, p, r, n in theirs["codes"]}
    if codes.keys() != ours["codes"].keys():
        return f"{len(codes)} features, Gloss {len(ours['codes'])}"
    for c, (p, r, n) in codes.items():
        q = ours["codes"][c]
        if abs(p - q[0]) > 1e-12 or abs(r - q[1]) > 1e-12 or n != q[2]:
            return f"feature {c}: precision {p}, recall {r}, {n} firings, Gloss {q}"
    return None


def search_patterns(o):
    """Three comparisons: whole characters only, all texts, all texts with the peer's token ends mended."""
    results = {}
    # a pattern without a group is wrapped by both sides, by the peer only where it has no '(' at all
    theirs = [p if re.compile(p).groups else f"({p})" for p in o.patterns]
    for name, data, mend in (("whole", o.out / "whole", False), ("all", o.data, False), ("mended", o.data, True)):
        codes = fresh(o.out / f"codes-{name}.npz")
        gloss(o, "encode", "encode", o.sae, data, "-o", codes, "--max-norm-ratio", 0, "--threads", o.threads)
        store, _, _ = index(o, f"regex-{name}", data, "--corpus")
        folder = fresh(o.out / f"codebook-{name}")
        folder.mkdir()
        answer = o.out / f"{CODEBOOK}-{name}.json"
        job = {"name": name, "codes": str(codes), "folder": str(folder), "patterns": theirs + o.patterns, "mend": mend}
        job |= {"answer": str(answer)}
        job |= {"tensors": str(data / "acts.safetensors")} if name == "whole" else {}
        peer = run_job(o, CODEBOOK, job)
        rows, found = [], json.loads(answer.read_text())
        for i, pattern in enumerate(o.patterns):
            mine = gloss_search(o, store, pattern)
            wrapped, plain = found[i], found[len(theirs) + i]
            differs, raw = difference(wrapped, mine), difference(plain, mine)
            rows.append({"pattern": pattern, "matches": mine["matches"], "features": len(mine["codes"])})
            rows[-1] |= {"differs": differs, "unwrapped": raw}
        results[name] = {"patterns": rows, "cache": peer["cache"], "seconds": peer["seconds"]}
    return results


# ---- All of it -----------------------------------------------------------------------------------------------------------------


def prepare(o):
    folder = o.venv if any(t != DASHBOARD for t in o.tools) else o.venv_dashboard
    o.tokenizer = o.data / "tokenizer.json"
    unembed = o.data / "unembed.safetensors"
    o.unembed = unembed if unembed.exists() else o.out / "unembed.safetensors"
    if not o.sae:
        o.sae = fresh(o.out / "sae")
        gloss(o, "train", "train", o.data, "-o", o.sae, "--features", o.features, "--k", o.k, "--threads", o.threads)
    config = json.loads((o.sae / "cfg.json").read_text())
    o.job = {"sae": str(o.sae), "k": config["k"], "threads": o.threads, "tokenizer": str(o.tokenizer), "unembed": str(o.unembed)}
    o.job |= {"data": str(o.data), "rows": str(o.out / "rows.npy"), "tokens": str(o.out / "tokens.npy")}
    o.job |= {"whole": str(o.out / "whole"), "ids": str(o.out / "tokens.u32")}
    o.shape = run_job(o, DELPHI if folder == o.venv else DASHBOARD, {"do": "prepare", "name": "prepare"}) | {"features": config["d_sae"]}


def time_peer(o, tool, turn):
    folder = fresh(o.out / f"out-{tool}")
    folder.mkdir()
    job = {"folder": str(folder), "answer": str(o.out / f"{tool}.json"), "name": "time", "top": TOP}
    if tool == DELPHI:
        return run_job(o, tool, job | {"timed": True, "min_examples": 200, "example_length": 32})
    if turn > 0:
        return None  # it takes minutes: once
    return run_job(o, tool, job | {"features": o.dashboard_features})


def measure(o, failed):
    """Each turn Gloss and then the peers, so that a slow spell of the machine weighs on both."""
    runs = {tool: [] for tool in o.tools}
    for turn in range(o.rounds):
        for tool in (t for t in o.tools if t in WANTED and t not in failed):
            _, wall, peak = index(o, "timed", o.data, *(["--corpus"] if tool == DELPHI else ["--unembed", o.unembed]))
            try:
                result = time_peer(o, tool, turn)
                if result:
                    runs[tool].append(result | {"gloss": wall, "gloss_peak": peak})
                    print(f"turn {turn + 1}, {tool}: {result['seconds']:.1f} s, gloss {wall:.2f} s", file=sys.stderr)
            except (RuntimeError, OSError, ValueError, KeyError) as e:
                failed[tool] = str(e)
    return runs


def compare_lists(o, failed):
    """Windows are whole contexts on both sides, so that definitions are equal."""
    lists, around = {}, o.shape["length"] - 1
    for tool in (t for t in o.tools if t in WANTED and t not in failed):
        answer, words = o.out / f"{tool}.json", ["--before", around, "--after", around, "--top", TOP]
        if tool == DASHBOARD:
            words += ["--exclude-positions", 0]  # its sequences lack the first token
        store, _, _ = index(o, f"contexts-{tool}", o.data, *words)
        if tool == DELPHI:
            folder = fresh(o.out / f"out-{tool}")
            folder.mkdir()
            job = {"folder": str(folder), "answer": str(answer), "name": "lists", "top": TOP, "timed": False, "min_examples": 1}
            try:
                run_job(o, tool, job | {"example_length": o.shape["length"]})
            except RuntimeError as e:
                failed[tool] = str(e)
                continue
        lists[tool] = compare_top(answer, gloss_top(o, store), half=tool == DELPHI)
    return lists


def report(o, runs, lists, patterns, failed):
    of = lambda tool, name: [r[name] for r in runs[tool]]
    s = o.shape
    print(f"{o.data}: {s['contexts']} contexts of {s['length']} tokens, d {s['d']}; SAE of {s['features']} features, k {o.job['k']}")
    for tool in o.tools:
        name = f"{tool} {VERSIONS[tool]}"
        if tool in failed:
            print(f"{name:32} failed: {failed[tool]}")
            continue
        if tool == CODEBOOK:
            continue
        r = runs[tool]
        share = r[0]["features"] / r[0]["all"] if tool == DASHBOARD else 1.0
        ratio = statistics.median(x["seconds"] / share / x["gloss"] for x in r)
        words = "gloss index --corpus" if tool == DELPHI else "gloss index --unembed"
        scaled = f" (time of {share:.3f} of the features, scaled)" if share < 1 else ""
        took, peak, stub = statistics.median(of(tool, "seconds")), max(of(tool, "peak")), max(of(tool, "stub"))
        print(f"{name:32} {took:9.2f} s, {peak:.0f} MiB, stub {stub:.4f} s")
        seconds, memory = of(tool, "gloss"), max(of(tool, "gloss_peak"))
        print(f"{'':32} {statistics.median(seconds):9.2f} s ({min(seconds):.2f} to {max(seconds):.2f}), {memory:.0f} MiB: {words}")
        print(f"{'':32} {ratio:.1f} times, wanted {WANTED[tool]}{scaled}")
        same = lists[tool]
        causes = ", ".join(f"{n} {why}" for why, n in sorted(same["causes"].items())) or "none"
        print(f"{'':32} same contexts {same['share']:.5f} of {same['contexts']}, wanted 0.99; others: {causes}")
    compared = {"whole": f"{s['whole']} contexts without split characters", "all": "all contexts"}
    for name, what in (compared | {"mended": "all contexts, its token ends mended"}).items() if patterns else ():
        rows = patterns[name]["patterns"]
        differ = [r for r in rows if r["differs"]]
        found = sum(r["matches"] > 0 for r in rows)
        print(f"codebook-features, {what}: {len(rows) - len(differ)} of {len(rows)} patterns equal, {found} of them with matches")
        for r in differ:
            print(f"    {r['pattern']}: {r['differs']}")
        if name == "whole":
            for r in (r for r in rows if r["unwrapped"] and not r["differs"]):
                print(f"    as it is, without a group put around it, {r['pattern']}: {r['unwrapped']}")


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("GLOSS_DATA") or ROOT / "demo/data")
    p.add_argument("--data", type=Path, default=data, help="folder of a dump with tokens and tokenizer.json")
    p.add_argument("--sae", type=Path, help="a TopK SAE in SAELens's layout; else one is trained")
    p.add_argument("--features", type=int, default=4608)
    p.add_argument("--k", type=int, default=32)
    p.add_argument("--rounds", type=int, default=3, help="turns; SAEDashboard runs in the first only")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--dashboard-features", type=int, default=0, help="features SAEDashboard does (default: all)")
    p.add_argument("--tools", type=lambda s: s.split(","), default=list(VERSIONS), help="some of " + ",".join(VERSIONS))
    p.add_argument("--gloss", type=Path, default=ROOT / "build/release/gloss")
    p.add_argument("--venv", type=Path, default=ROOT / "build/venv-peers")
    p.add_argument("--venv-dashboard", type=Path, default=ROOT / "build/venv-dashboard")
    p.add_argument("--out", type=Path, default=ROOT / "build/peers-store", help="folder for stores, rows and logs")
    p.add_argument("--timeout", type=float, default=14400, help="seconds after which a run counts as failed")
    p.add_argument("--json", type=Path, help="write everything measured to this file")
    o = p.parse_args()
    for name in ("venv", "venv_dashboard", "out", "data", "gloss"):
        setattr(o, name, getattr(o, name).absolute())
    o.patterns = PATTERNS
    if unknown := set(o.tools) - set(VERSIONS):
        p.error(f"--tools: no tool is called {', '.join(sorted(unknown))}")
    if min(o.rounds, o.k, o.features, o.threads) < 1:
        p.error("--rounds, --k, --features and --threads must be at least 1")
    return o


def main():
    o = options()
    o.out.mkdir(parents=True, exist_ok=True)
    load, patterns = [os.getloadavg()[0]], None
    with open(o.out / "install.log", "w") as log:
        failed = {tool: why for tool in o.tools if (why := install(o, tool, log))}
    try:
        prepare(o)
        runs = measure(o, failed)
        lists = compare_lists(o, failed)
    except (RuntimeError, OSError) as e:
        raise SystemExit(f"peers_store: {e}")
    if CODEBOOK in o.tools and CODEBOOK not in failed:
        try:
            patterns = search_patterns(o)
        except (RuntimeError, OSError, ValueError, KeyError) as e:
            failed[CODEBOOK] = str(e)
    load.append(os.getloadavg()[0])
    print(f"{os.cpu_count()} CPUs, {o.threads} threads; load {load[0]:.1f} to {load[1]:.1f}")
    report(o, runs, lists, patterns, failed)
    if o.json:
        answer = {"versions": VERSIONS, "shape": o.shape, "load": load, "failed": failed}
        answer |= {"runs": runs, "lists": lists, "patterns": patterns}
        o.json.write_text(json.dumps(answer, indent=1) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
