#!/usr/bin/env python3
"""How well a real model judges by Gloss's layout of detection and by delphi's: same features, labels and windows.

    build/venv-peers/bin/python bench/judge.py STORE URL [--model NAME] [--features 8]

URL: an OpenAI-compatible server (demo/llm_server.py runs one on loopback). Labels are those of the lexical explainer. Gloss judges by
`gloss score`; delphi's prompts are made by its own class, and its replies read by its own parser. Prints how often each was right on
firing and on silent windows, with Wilson's interval, how many windows got no answer, and the difference of the balanced accuracies with
its 95 % interval (Newcombe's; windows as if independent); once over answered windows, once with those that got no answer as half right.
"""
import argparse
import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

from price import ROOT, Absent, choose, delphi_samples, gloss_requests


def wilson(hits, n, z=1.96):
    """Rate, low, high."""
    if n == 0:
        return 0.5, 0.0, 1.0
    p, d = hits / n, 1 + z * z / n
    middle, half = (p + z * z / (2 * n)) / d, z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5 / d
    return p, middle - half, middle + half


def combined(a, b, sign, weight=1.0):
    """weight * (a + sign * b) of two (value, low, high) that do not hang together, by Newcombe (1998)."""
    if sign < 0:
        b = (b[0], b[2], b[1])
    value = a[0] + sign * b[0]
    low, high = (((a[i] - a[0]) ** 2 + (b[i] - b[0]) ** 2) ** 0.5 for i in (1, 2))
    return weight * value, weight * (value - low), weight * (value + high)


def balanced(tp, p, tn, n):
    return combined(wilson(tp, p), wilson(tn, n), 1, 0.5)


def filled(counts, asked):
    """With `asked` windows of each kind, those without an answer half right."""
    tp, p, tn, n = counts
    return [tp + (asked - p) / 2, asked, tn + (asked - n) / 2, asked]


def put(x):
    return f"{x[0]:.3f} [{x[1]:.3f}, {x[2]:.3f}]"


def ask_gloss(o, store, features):
    line = [o.gloss, "explain", "-d", store, "--features", ",".join(map(str, features)), "--quiet"]
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
    line = [o.gloss, "score", *line[2:], "--positive", str(o.windows), "--negative", str(o.windows), "--hard", "0", "--baseline", "0", "--base-url", o.url,
            "--model", o.model, "--concurrency", "2", "--timeout", "600"]  # fmt: skip
    subprocess.run(line, stdout=subprocess.DEVNULL)  # ends with 1 where some features got no answer
    rows = sqlite3.connect(store).execute(
        "SELECT sum(details ->> 'true_positive'), sum(n_positive), sum(details ->> 'true_negative'), sum(n_negative) FROM score"
    )
    return [x or 0 for x in rows.fetchone()]


class Client:
    """What delphi's scorer asks; generate() as its clients have it."""

    def __init__(self, o):
        from delphi.clients.client import Response

        self.o, self.Response = o, Response

    async def generate(self, messages, **kwargs):
        body = json.dumps({"model": self.o.model, "messages": messages, "temperature": 0, "max_tokens": 100}).encode()
        request = urllib.request.Request(self.o.url + "/chat/completions", body, {"Content-Type": "application/json"})
        reply = json.load(urllib.request.urlopen(request, timeout=600))
        return self.Response(text=reply["choices"][0]["message"]["content"])


def ask_delphi(o, store, found):
    from delphi.scorers import DetectionScorer

    right, n, none = [0, 0], [0, 0], 0
    labels = dict(sqlite3.connect(store).execute("SELECT feature, text FROM label"))
    for feature, stages in found.items():
        record = delphi_samples(store, feature, stages, labels[feature])
        scorer = DetectionScorer(client=Client(o), n_examples_shown=o.shown)
        for row in asyncio.run(scorer(record)).score:
            if row.prediction is None:
                none += 1
                continue
            n[row.activating] += 1
            right[row.activating] += row.prediction == row.activating
    return [right[1], n[1], right[0], n[0]], none


def show(name, counts, none, seconds):
    tp, p, tn, n = counts
    rates = f"firing {put(wilson(tp, p))} of {p}   silent {put(wilson(tn, n))} of {n}"
    print(f"{name:8} balanced accuracy {put(balanced(*counts))}   {rates}   without an answer {none}   {seconds:.0f} s")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("store", help="it is copied")
    p.add_argument("url")
    p.add_argument("--model", default="smollm2-135m")
    p.add_argument("--gloss", default=ROOT / "build/release/gloss", type=Path)
    p.add_argument("--features", type=int, default=8)
    p.add_argument("--windows", type=int, default=20, help="firing ones a feature, and as many silent ones")
    p.add_argument("--shown", type=int, default=5)
    p.add_argument("--seed", type=int, default=0)
    o = p.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    sys.meta_path.append(Absent())
    with tempfile.TemporaryDirectory() as tmp:
        store = os.path.join(tmp, "store.db")
        shutil.copy(o.store, store)
        features = choose(store, SimpleNamespace(features=o.features, seed=o.seed, examples=20, positive=o.windows))
        started = time.time()
        ours = ask_gloss(o, store, features)
        asked = o.windows * o.features
        show("gloss", ours, 2 * asked - ours[1] - ours[3], time.time() - started)
        started = time.time()
        found = {f: {"detection": s["detection"]} for f, s in gloss_requests(store, ("done", "failed")).items() if "detection" in s}
        theirs, none = ask_delphi(o, store, found)
        show("delphi", theirs, none, time.time() - started)
        print(f"{len(found)} features of {o.features}; gloss - delphi {put(combined(balanced(*ours), balanced(*theirs), -1))};"
              f" all windows of these, none answered as half right: {put(combined(balanced(*filled(ours, o.windows * len(found))), balanced(*filled(theirs, o.windows * len(found))), -1))}")  # fmt: skip


if __name__ == "__main__":
    main()
