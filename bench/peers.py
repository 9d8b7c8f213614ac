#!/usr/bin/env python3
"""Compare `gloss train` with the public trainers of TopK SAEs: same rows, same shape, same steps, each by its own trainer.

    python3 bench/peers.py                              # speed and memory: a few steps a tool, in turns, medians of rounds
    python3 bench/peers.py --features 4608,16384        # the same at two widths
    python3 bench/peers.py --arch matryoshka            # another architecture, against dictionary-learning: speed and memory
    python3 bench/peers.py --arch jumprelu              # with a penalty: --settle steps come first, so that Gloss is near L0 k
    python3 bench/peers.py --quality --seeds 0,1,2      # full runs of 253 steps: held-out FVU, end-to-end speed

Needs python3 with venv, and a network on the first run: the peers come from PyPI into --venv. bench/README.md says what is
held equal, what is each tool's own, and what the columns mean.
"""
import argparse
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH = "torch==2.13.0"
PEERS = {"sae-lens": "6.54.12", "eai-sparsify": "1.3.3", "dictionary-learning": "0.1.0"}  # package on PyPI: version
READERS = PEERS | {"llamascopium": "2.0.0b34"}  # what interop.py knows: also OpenMOSS's tool
ARCHS = {"topk": [*PEERS], "batchtopk": ["dictionary-learning"], "matryoshka": ["dictionary-learning"]}  # who trains it here
PENALTY = ("relu", "gated", "jumprelu")  # k is their target L0
ARCHS |= {arch: ["dictionary-learning"] for arch in PENALTY}
FULL_STEPS = 253
HOLDOUT, MAX_NORM_RATIO = 0.125, 10


def make_venv(folder, tools, log):
    """Install what is missing for these tools. Returns {peer: why it cannot be used} and the versions."""
    python, constraints, failed = folder / "bin/python", folder / "constraints.txt", {}
    has = lambda name: subprocess.run(
        [python, "-c", f"import importlib.metadata as m; print(m.version('{name}'))"], capture_output=True, text=True
    ).stdout.strip()  # fmt: skip

    def pip(*packages):
        line = [python, "-m", "pip", "install", "--disable-pip-version-check", "-c", constraints, *packages]
        return subprocess.run(line, stdout=log, stderr=log).returncode == 0

    if not python.exists() and subprocess.run([sys.executable, "-m", "venv", folder], stdout=log, stderr=log).returncode:
        raise SystemExit(f"peers: cannot make a virtual environment in {folder}; see {log.name}")
    constraints.write_text(TORCH + "\n")
    if not all(map(has, ("torch", "numpy", "safetensors"))) and not pip(TORCH, "numpy", "safetensors"):
        raise SystemExit(f"peers: cannot install {TORCH}; see {log.name}")
    for name, version in READERS.items():
        if name in tools and has(name) != version:
            print(f"installing {name} {version}", file=sys.stderr)
            if not pip(f"{name}=={version}"):
                failed[name] = f"cannot be installed; see {log.name}"
    # a dependency of dictionary-learning brings a torchvision that does not match a CPU-only torch and breaks transformers
    if has("torchvision") and subprocess.run([python, "-c", "import torchvision"], capture_output=True).returncode:
        subprocess.run([python, "-m", "pip", "uninstall", "-y", "torchvision"], stdout=log, stderr=log)
    return failed, {name: has(name) for name in ["torch", "numpy", *PEERS, *tools]}


def run_watched(line, env, log, timeout):
    """Run one process. Returns its output, wall seconds and the high-water mark of its anonymous memory (sampled) in MiB."""
    start, peak = time.perf_counter(), 0
    with open(log, "w") as err, subprocess.Popen(line, env=env, stdout=subprocess.PIPE, stderr=err, text=True) as process:
        try:
            while process.poll() is None:
                if time.perf_counter() - start > timeout:
                    raise RuntimeError(f"took more than {timeout:g} s")
                try:
                    status = Path(f"/proc/{process.pid}/status").read_text()
                    peak = max([peak] + [int(s.split()[1]) for s in status.splitlines() if s.startswith("RssAnon:")])
                except OSError:
                    pass  # ended meanwhile
                time.sleep(0.01)
        finally:
            process.kill()
        out, wall = process.stdout.read(), time.perf_counter() - start
    if process.returncode:
        said = [s for s in Path(log).read_text().splitlines() if s.strip() and "it/s" not in s] or ["no message"]  # no progress bars
        raise RuntimeError(f"exit {process.returncode}: {said[-1].strip()}; see {log}")
    return out, wall, peak / 1024


def run_job(o, job):
    """A job in the virtual environment; its answer is the last line of its output."""
    env = dict(os.environ, SPARSIFY_DISABLE_TRITON="1", WANDB_MODE="disabled", HF_HUB_OFFLINE="1", CUDA_VISIBLE_DEVICES="")
    env.update({name: str(o.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")})
    if o.kernels:  # torch, MKL, oneDNN
        env |= {"ATEN_CPU_CAPABILITY": o.kernels, "MKL_ENABLE_INSTRUCTIONS": o.kernels.upper()}
        env["ONEDNN_MAX_CPU_ISA"] = {"avx2": "AVX2", "avx512": "AVX512_CORE"}[o.kernels]
    line = [str(o.venv / "bin/python"), str(ROOT / "bench/peers_jobs.py"), json.dumps(job)]
    out, wall, peak = run_watched(line, env, o.out / f"{job['do']}-{job.get('tool', 'rows')}.log", o.timeout)
    return json.loads(out.splitlines()[-1]) | {"wall": wall, "peak": peak}


def run_gloss(o, job):
    folder = o.out / "sae"
    line = [o.gloss, "train", o.data, "-o", folder, "--force", "--json", "--split", "tail", "--holdout", HOLDOUT, "--decay", 0]
    line += ["--arch", o.arch, "--max-norm-ratio", MAX_NORM_RATIO, "--warmup", 0, "--log-every", 1, "--dead-tokens", FULL_STEPS * job["batch"] // 10]
    for name in ("features", "batch", "lr", "seed", "threads"):
        line += [f"--{name}", job[name]]
    settle = o.settle if o.arch in PENALTY else 0
    line += ["--target-l0" if o.arch in PENALTY else "--k", job["k"], "--steps", job["steps"] + settle]
    line += ["--kernels", o.kernels] if o.kernels else []
    out, wall, peak = run_watched([str(w) for w in line + shlex.split(o.gloss_args)], None, o.out / "train-gloss.log", o.timeout)
    answer = json.loads(out)
    steps = [s for s in map(json.loads, (folder / "train.jsonl").read_text().splitlines()) if "seconds" in s and "step" in s]
    took = [s["seconds"] for s in steps][settle:]
    l0s = [s["l0"] for s in steps][settle + o.warm :]
    job["weights"] = str(folder / "sae_weights.safetensors")
    rows = {name: answer["rows"][name] for name in ("all", "kept", "train", "held_out")}
    if rows != (ours := {name: o.rows[name] for name in rows}):
        raise RuntimeError(f"trained on other rows than the peers: {rows} against {ours}")
    began = steps[settle - 1]["seconds"] if settle else 0
    return {
        "seconds": [b - a for a, b in zip([began] + took, took)], "kernels": answer["kernels"], "wall": wall, "peak": peak,
        "timed_l0": statistics.mean(l0s),
    }  # fmt: skip


def run_tool(o, tool, features, seed):
    lr = o.lr or 2e-4 / (features / 2**14) ** 0.5
    job = {"do": "train", "tool": tool, "arch": o.arch, "features": features, "k": o.k, "batch": o.batch, "steps": o.steps, "lr": lr, "seed": seed}
    job |= {"threads": o.threads, "rows": str(o.out / "rows.npy"), "mean": str(o.out / "mean.npy"), "n_train": o.rows["train"]}
    job |= {"d": o.rows["d"], "scale": o.rows["scale"], "weights": str(o.out / f"{tool}.safetensors")}
    result = run_gloss(o, job) if tool == "gloss" else run_job(o, job)
    if len(result["seconds"]) != o.steps:
        raise RuntimeError(f"made {len(result['seconds'])} steps, not {o.steps}")
    result |= {"seed": seed, "tokens_per_s": o.batch * (o.steps - o.warm) / sum(result["seconds"][o.warm :])}
    result["end_to_end"] = o.batch * o.steps / result["wall"]
    if o.quality:
        result |= {name: v for name, v in run_job(o, job | {"do": "measure"}).items() if name in ("fvu", "l0", "silent")}
    return result


def compare(o, features, failed):
    """Every tool once a round (a seed, with --quality), in turns. Returns {tool: summary or failure}."""
    runs, failed = {tool: [] for tool in o.tools}, dict(failed)
    for turn, seed in enumerate(o.seeds if o.quality else [o.seeds[0]] * o.rounds):
        for tool in o.tools:
            if tool in failed:
                continue
            try:
                runs[tool].append(run_tool(o, tool, features, seed))
                print(f"F {features}, turn {turn + 1}, {tool}: {runs[tool][-1]['tokens_per_s']:.0f} tokens/s", file=sys.stderr)
            except (RuntimeError, OSError, ValueError, KeyError, IndexError) as e:
                failed[tool] = str(e)
                print(f"F {features}, turn {turn + 1}, {tool}: {e}", file=sys.stderr)
    summary = {tool: {"failed": why} for tool, why in failed.items() if tool in runs}
    for tool in runs.keys() - failed.keys():
        of = lambda name: [r[name] for r in runs[tool]]
        s = {"kernels": of("kernels")[0], "tokens_per_s": statistics.median(of("tokens_per_s"))}
        s |= {"spread": max(of("tokens_per_s")) / min(of("tokens_per_s")), "peak": max(of("peak"))}
        if o.quality:
            s |= {"end_to_end": statistics.median(of("end_to_end")), "fvu": statistics.mean(of("fvu"))}
            s |= {"fvus": of("fvu"), "l0": statistics.mean(of("l0")), "silent": statistics.mean(of("silent"))}
        summary[tool] = s | {"runs": runs[tool]}
    return {tool: summary[tool] for tool in o.tools}


def table(o, summary, versions):
    ours = summary.get("gloss", {})

    def ratio(s, name):  # speeds in pairs of one turn, so that a slow spell of the machine weighs on both sides
        if s is ours or "failed" in ours or not ours:
            return "-"
        if name in ("tokens_per_s", "end_to_end"):
            return f"{statistics.median(a[name] / b[name] for a, b in zip(ours['runs'], s['runs'])):.2f}"
        return f"{ours[name] / s[name]:.2f}"

    head = ["tool", "version", "kernels", "tokens/s", "gloss/peer", "max/min", "peak MiB", "gloss/peer"]
    head += ["end to end", "gloss/peer", "FVU", "gloss/peer", "FVU by seed", "L0", "silent"] if o.quality else []
    lines = [head]
    for tool, s in summary.items():
        if "failed" in s:
            lines.append([tool, versions.get(tool) or "-", "failed: " + s["failed"]])
            continue
        line = [tool, versions[tool], s["kernels"], f"{s['tokens_per_s']:.0f}", ratio(s, "tokens_per_s"), f"{s['spread']:.2f}"]
        line += [f"{s['peak']:.0f}", ratio(s, "peak")]
        if o.quality:
            line += [f"{s['end_to_end']:.0f}", ratio(s, "end_to_end"), f"{s['fvu']:.4f}", ratio(s, "fvu")]
            line += [" ".join(f"{v:.4f}" for v in s["fvus"]), f"{s['l0']:.1f}", f"{100 * s['silent']:.1f} %"]
        lines.append(line)
    whole = [line for line in lines if len(line) == len(head)]
    widths = [max(len(line[i]) for line in (lines if i < 2 else whole)) for i in range(len(head))]
    for line in lines:
        print("  ".join([cell.ljust(width) for cell, width in zip(line[:-1], widths)] + line[-1:]))


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = lambda s: [int(n) for n in s.split(",")]
    p.add_argument("--data", type=Path, default=Path(os.environ.get("GLOSS_DATA") or ROOT / "demo/data"), help="folder of a dump")
    p.add_argument("--quality", action="store_true", help=f"runs of {FULL_STEPS} steps and their held-out FVU, one a seed")
    p.add_argument("--features", type=numbers, default=[4608], help="one or several widths: 4608,16384")
    p.add_argument("--steps", type=int, help=f"steps a run (default: 8; {FULL_STEPS} with --quality)")
    p.add_argument("--warm", type=int, default=2, help="steps at the start of each run that are not timed")
    p.add_argument("--rounds", type=int, default=5, help="turns of the speed comparison")
    p.add_argument("--seeds", type=numbers, default=[0, 1, 2], help="with --quality; else the first one is used")
    p.add_argument("--k", type=int, default=32, help="or, with a penalty, the target L0")
    p.add_argument("--settle", type=int, default=60, help="with a penalty: Gloss's steps before all others, until it is near the target")
    p.add_argument("--batch", type=int, default=4096)
    p.add_argument("--lr", type=float, help="constant; 2e-4 / sqrt(features / 16384) if not given")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--kernels", choices=["avx2", "avx512"], help="hold every tool to this instruction set")
    p.add_argument("--arch", choices=ARCHS, default="topk", help="architecture; only topk with --quality")
    p.add_argument("--tools", type=lambda s: s.split(","), help="some of gloss," + ",".join(PEERS))
    p.add_argument("--gloss", type=Path, default=ROOT / "build/release/gloss")
    p.add_argument("--gloss-args", default="", help="more options for `gloss train`, in one argument: --gloss-args='--shuffle rows'")
    p.add_argument("--venv", type=Path, default=ROOT / "build/venv-peers")
    p.add_argument("--out", type=Path, default=ROOT / "build/peers", help="folder for rows, weights and logs")
    p.add_argument("--timeout", type=float, default=7200, help="seconds after which a run counts as failed")
    p.add_argument("--json", type=Path, help="write everything measured to this file")
    o = p.parse_args()
    o.tools = o.tools or ["gloss", *ARCHS[o.arch]]
    o.steps = o.steps or (FULL_STEPS if o.quality else 8)
    o.venv, o.out = o.venv.absolute(), o.out.absolute()
    if unknown := set(o.tools) - {"gloss", *ARCHS[o.arch]}:
        p.error(f"--tools: none is called {', '.join(sorted(unknown))}, or it is not set up for {o.arch}")
    if o.quality and o.arch != "topk":
        p.error("--quality is for topk")
    if not 0 <= o.warm < o.steps or min(o.rounds, o.k, o.batch, o.threads, *o.features) < 1 or not o.seeds:
        p.error("--warm must be below --steps, and --rounds, --k, --batch, --threads and --features at least 1")
    return o


def main():
    o = options()
    o.out.mkdir(parents=True, exist_ok=True)
    with open(o.out / "install.log", "w") as log:
        failed, versions = make_venv(o.venv, o.tools, log)
    try:
        versions["gloss"] = subprocess.check_output([o.gloss, "--version"], text=True).split()[-1]
    except (OSError, subprocess.CalledProcessError) as e:
        raise SystemExit(f"peers: cannot run '{o.gloss}' (build it, or name another with --gloss): {getattr(e, 'strerror', None) or e}")
    job = {"do": "rows", "data": str(o.data), "holdout": HOLDOUT, "max_norm_ratio": MAX_NORM_RATIO}
    try:
        o.rows = run_job(o, job | {"rows": str(o.out / "rows.npy"), "mean": str(o.out / "mean.npy")})
    except RuntimeError as e:
        raise SystemExit(f"peers: cannot read the dump '{o.data}': {e}")
    if o.rows["train"] < o.batch:
        raise SystemExit(f"peers: {o.data} has {o.rows['train']} training rows, fewer than a batch of {o.batch}")
    info = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = {line.split(":")[0].strip(): line.split(":")[-1].strip() for line in info if ":" in line}
    isa = [f for f in ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16") if f in cpu.get("flags", "").split()]
    about = {"cpu": cpu.get("model name"), "isa": isa, "cpus": os.cpu_count(), "python": sys.version.split()[0], "versions": versions}
    about |= {"options": {k: str(v) if isinstance(v, Path) else v for k, v in vars(o).items()}, "load": [os.getloadavg()[0]]}
    results = {features: compare(o, features, failed) for features in o.features}
    about["load"].append(os.getloadavg()[0])
    load = " to ".join(f"{n:.1f}" for n in about["load"])
    print(f"{about['cpu']}, {about['cpus']} CPUs ({' '.join(isa)}), {o.threads} threads; load {load}")
    print(f"{o.data}: {o.rows['train']} rows to train on, {o.rows['held_out']} held out, d {o.rows['d']}")
    print(f"torch {versions['torch']}, numpy {versions['numpy']}, python {about['python']}")
    for features, summary in results.items():
        turns = f"seeds {','.join(map(str, o.seeds))}" if o.quality else f"{o.rounds} rounds"
        print(f"\n{o.arch}, F {features}, k {o.k}, batch {o.batch}, {o.steps} steps of which {o.warm} not timed, {turns}")
        table(o, summary, versions)
        for run in summary.get("gloss", {}).get("runs", []) if o.arch in PENALTY else []:
            print(f"gloss: L0 of the timed steps {run['timed_l0']:.1f}, after {o.settle} steps; dense in tiles over {features // 12} entries a row, those of the band that do not fire as a quarter")
    if o.json:
        o.json.write_text(json.dumps(about | {"results": results}, indent=1) + "\n")
    return 1 if any("failed" in s for summary in results.values() for s in summary.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
