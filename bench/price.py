#!/usr/bin/env python3
"""What a feature costs to label and to score, by detection and fuzzing, against delphi's layout: same windows, label, tokenizer, prices.

    build/venv-peers/bin/python bench/price.py STORE TOKENIZER.json       # 50 features
    ... --prices FILE --gate NAME                                          # by other rates

`gloss explain` and `gloss score` run against a server on loopback that gives the shortest right answers; their real bodies are read
from the request log. delphi's requests are made of the same windows by delphi's own classes. Needs eai-delphi (the environment of
peers_store.py); what of its imports only a model needs is left out. Ends with 1 where
the ratio is over --limit. "windows alone": texts without numbers or instructions, a pair of marks in each that fuzzing shows, a
token an answer, nothing else.
"""
import argparse
import importlib.abc
import importlib.machinery
import json
import os
import random
import re
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import MagicMock

ROOT = Path(__file__).resolve().parent.parent
LABEL = "words that name a kind of building or a place where people gather, in the plural and mostly after an adjective"


# ---- Answers as short as they may be -------------------------------------------------------------------------------------------


def answer_to(body):
    """What a model that obeys says; every second window fits."""
    user = body["messages"][-1]["content"]
    if '{"ok": true}' in user:
        return '{"ok": true}'
    n = len(re.findall(r"^\[\d+\] ", user, re.M))
    if not n:
        return json.dumps({"label": LABEL, "short_label": "buildings, places", "sure": 0.8})
    names = ("right", "wrong") if "Judge the marks" in user else ("fires", "silent")
    return json.dumps({name: list(range(1 + i, n + 1, 2)) for i, name in enumerate(names)}, separators=(",", ":"))


class Server(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        choice = {"message": {"role": "assistant", "content": answer_to(body)}, "finish_reason": "stop"}
        reply = json.dumps({"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_):
        pass


# ---- Gloss's requests ----------------------------------------------------------------------------------------------------------


def run_gloss(o, store, features):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    common = ["-d", store, "--features", ",".join(map(str, features)), "--quiet", "--base-url",
              f"http://127.0.0.1:{server.server_port}/v1", "--model", "m"]  # fmt: skip
    score = ["--scorer", "detection,fuzz", "--positive", o.positive, "--negative", o.negative, "--hard", "0", "--baseline", "0"]
    for command in (["explain", "--examples", o.examples], ["score", *score, *o.score_args.split()]):
        subprocess.run([o.gloss, command[0], *common, *map(str, command[1:])], check=True, stdout=subprocess.DEVNULL)
    server.shutdown()


def gloss_requests(store, states=("done",)):
    """{feature: {stage: [(windows, body)]}} in the order in which they were asked, of tasks that ended so."""
    db = sqlite3.connect(store)
    db.execute("ATTACH ? AS log", (store + ".requests",))
    rows = db.execute(
        "SELECT t.feature, coalesce(j.settings ->> 'scorer', 'label'), r.example_ids, l.body FROM request r JOIN task t ON t.id = r.task_id"
        " JOIN job j ON j.id = t.job_id JOIN log.reply l ON l.key = r.key WHERE t.state IN (SELECT value FROM json_each(?)) ORDER BY t.id, r.seq",
        (json.dumps(states),),
    )
    found = {}
    for feature, stage, windows, body in rows:
        found.setdefault(feature, {}).setdefault(stage, []).append((json.loads(windows), json.loads(body)))
    return found


# ---- delphi's requests, of the same windows ------------------------------------------------------------------------------------


class Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """What delphi imports and its prompts do not need."""

    names = ("vllm", "aiofiles", "asyncer", "tiktoken", "openai", "httpx")

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        return MagicMock(name=spec.name, __path__=[], __spec__=spec, __name__=spec.name)

    def exec_module(self, module):
        pass


class Windows:
    """Tokens, texts and activations of the store's windows as delphi's examples."""

    def __init__(self, store, feature):
        self.db, self.known = sqlite3.connect(store), {}
        for context, first, values in self.db.execute(
            'SELECT context_id, first, "values" FROM example_values WHERE source_id = (SELECT min(id) FROM source) AND feature = ?', (feature,)
        ):
            self.known.setdefault(context, []).append((first, json.loads(values)))

    def text(self, context, first, length):
        tokens, text, offsets = self.db.execute("SELECT tokens, text, offsets FROM context WHERE id = ?", (context,)).fetchone()
        raw, at = text.encode(), struct.unpack(f"<{len(offsets) // 4}I", offsets)
        ids = struct.unpack(f"<{len(tokens) // 4}I", tokens)[first : first + length]
        return ids, [raw[at[i] : at[i + 1]].decode() for i in range(first, first + length)]

    def values(self, context, first, length):
        out = [0.0] * length
        for start, values in self.known.get(context, []):
            for i in range(max(start, first), min(start + len(values), first + length)):
                out[i - first] = max(out[i - first], values[i - start])
        return out

    def example(self, window, firing=True):
        import torch
        from delphi.latents.latents import ActivatingExample, NonActivatingExample

        ids, text = self.text(*window)
        values = torch.tensor(self.values(*window) if firing else [0.0] * len(ids))
        kind = ActivatingExample if firing else NonActivatingExample
        return kind(tokens=torch.tensor(ids), activations=values, str_tokens=text)


def delphi_samples(store, feature, ours, label):
    """A record of delphi's with the windows that Gloss's questions were about."""
    from delphi.latents.latents import Latent, LatentRecord
    from delphi.latents.samplers import normalize_activations

    w = Windows(store, feature)
    judged = list(dict.fromkeys(tuple(x) for windows, _ in ours["detection"] for x in windows))
    firing = [x for x in judged if max(w.values(*x)) > 0]
    record = LatentRecord(latent=Latent("l", feature), explanation=label)
    if "label" in ours:
        train = [w.example(x) for x in ours["label"][0][0]]
        record.train = normalize_activations(train, max(e.max_activation for e in train))
    record.test = [w.example(x) for x in firing]
    record.not_active = [w.example(x, False) for x in judged if x not in firing]
    return record


def delphi_requests(o, record):
    """{stage: [messages]} as the classes of delphi build them."""
    from delphi.explainers import DefaultExplainer
    from delphi.scorers import DetectionScorer, FuzzingScorer

    out = {"label": [DefaultExplainer(client=None)._build_prompt(record.train)]}
    for stage, kind in (("detection", DetectionScorer), ("fuzz", FuzzingScorer)):
        scorer = kind(client=None, n_examples_shown=o.shown)
        samples = scorer._prepare(record)
        random.Random(42).shuffle(samples)
        out[stage] = [scorer._build_prompt(record.explanation, b) for b in scorer._batch(samples)]
    return out


# ---- Tokens and prices ---------------------------------------------------------------------------------------------------------


class Bill:
    """Tokens of a tool's requests, stage by stage. A request's longest beginning that an earlier one of its stage had is cached."""

    def __init__(self, tokenizer, least):
        self.encode = lambda s: tokenizer.encode(s, add_special_tokens=False).ids
        self.last, self.least, self.rows = {}, least, {}

    def add(self, stage, messages, answer, schema=""):
        ids = self.encode(schema + "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages) + "<|im_start|>assistant\n")
        before, same = self.last.get(stage, []), 0
        while same < min(len(ids), len(before)) and ids[same] == before[same]:
            same += 1
        self.last[stage] = ids
        row = self.rows.setdefault(stage, {"requests": 0, "input": 0, "cached": 0, "output": 0})
        for name, n in (("requests", 1), ("input", len(ids)), ("cached", same if same >= self.least else 0), ("output", len(self.encode(answer)))):
            row[name] += n

    def price(self, rates, cache):
        total = 0
        for r in self.rows.values():
            cached = r["cached"] if cache else 0
            total += (r["input"] - cached) * rates["input"] + cached * rates["cached_input"] + r["output"] * rates["output"]
        return total / 1e6


def count(o, tokenizer, store, found):
    ours, theirs, windows, bare = Bill(tokenizer, o.least), Bill(tokenizer, o.least), [0, 0, 0], [0, 0]
    for feature, stages in found.items():
        for stage, requests in stages.items():
            for _, body in requests:
                schema = json.dumps(body["response_format"]["json_schema"]["schema"]) if "response_format" in body else ""
                ours.add(stage, body["messages"], answer_to(body), schema)
        record = delphi_samples(store, feature, stages, LABEL)
        windows = [windows[0] + len(record.train), windows[1] + len(record.test), windows[2] + len(record.not_active)]
        judged = record.test + record.not_active
        bare[0] += sum(len(ours.encode("".join(e.str_tokens))) for e in record.train + 2 * judged) + 2 * len(judged)
        bare[1] += len(ours.encode(LABEL)) + 2 * len(judged)
        for stage, requests in delphi_requests(o, record).items():
            for messages in requests:
                n = messages[-1]["content"].count("\nExample ")
                theirs.add(stage, messages, "[EXPLANATION]: " + LABEL if stage == "label" else str([i % 2 for i in range(n)]).replace(" ", ""))
    return ours, theirs, windows, bare


def print_bills(o, ours, theirs, bare, n):
    print(f"\n{'a feature':12}{'tool':8}{'requests':>9}{'input':>9}{'cached':>9}{'output':>8}")
    for stage in ours.rows:
        for name, bill in (("gloss", ours), ("delphi", theirs)):
            r = bill.rows[stage]
            print(f"{stage:12}{name:8}{r['requests'] / n:9.1f}{r['input'] / n:9.0f}{r['cached'] / n:9.0f}{r['output'] / n:8.0f}")
    worst = 0
    print(f"\nper 1,000 features, by the rates of {o.prices.name}; ratio: gloss / delphi")
    for model, rates in o.rates.items():
        for cache in (False, True):
            a, b = ours.price(rates, cache) / n * 1000, theirs.price(rates, cache) / n * 1000
            held = model in o.gate
            worst = max(worst, a / b if held else 0)
            note = "" if a / b <= o.limit else f"   NO: over {o.limit}" if held else "   (not held to the limit)"
            print(f"  {model:8}{'beginnings cached' if cache else 'nothing cached':20}{a:8.2f}{b:8.2f}   {a / b:.3f}{note}")
        least = (bare[0] * rates["input"] + bare[1] * rates["output"]) / n / 1000
        print(f"  {model:8}{'windows alone':20}{least:8.2f}{b:8.2f}   {least / b:.3f}   (the least any layout that sends each window with each question can reach)")
    return worst


def choose(store, o):
    """Features with enough windows of each kind, drawn by seed."""
    db = sqlite3.connect(store)
    rows = db.execute(
        "SELECT e.feature FROM example_window e JOIN context c ON c.id = e.context_id JOIN document d ON d.id = c.document_id GROUP BY 1"
        " HAVING count(DISTINCT iif(d.part = 'label', e.context_id, NULL)) >= ? AND count(DISTINCT iif(d.part = 'report', e.context_id, NULL)) >= ?",
        (o.examples + 5, o.positive + 5),
    )
    all_of_them = sorted(r[0] for r in rows)
    if len(all_of_them) < o.features:
        sys.exit(f"price: only {len(all_of_them)} features of '{store}' have enough windows")
    return sorted(random.Random(o.seed).sample(all_of_them, o.features))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("store", help="with features that fire in many contexts; it is copied")
    p.add_argument("tokenizer", help="tokenizer.json that counts for both")
    p.add_argument("--gloss", default=ROOT / "build/release/gloss", type=Path)
    p.add_argument("--prices", default=ROOT / "bench/prices.json", type=Path)
    p.add_argument("--gate", nargs="*", default=["half"], help="rows of the prices that are held to the limit")
    p.add_argument("--features", type=int, default=50)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--examples", type=int, default=40, help="windows for a label: delphi's default")
    p.add_argument("--positive", type=int, default=50)
    p.add_argument("--negative", type=int, default=50)
    p.add_argument("--shown", type=int, default=5, help="windows in a prompt of delphi's: its default")
    p.add_argument("--score-args", default="", help="more options of gloss score")
    p.add_argument("--least", type=int, default=0, help="tokens that a beginning must have to be cached (some providers: 1024)")
    p.add_argument("--limit", type=float, default=0.6)
    o = p.parse_args()
    sys.meta_path.append(Absent())
    from tokenizers import Tokenizer

    o.rates = json.loads(o.prices.read_text())
    with tempfile.TemporaryDirectory() as tmp:
        store = os.path.join(tmp, "store.db")
        shutil.copy(o.store, store)
        run_gloss(o, store, choose(store, o))
        found = {f: x for f, x in gloss_requests(store).items() if {"label", "detection", "fuzz"} <= set(x)}
        ours, theirs, windows, bare = count(o, Tokenizer.from_file(o.tokenizer), store, found)
    n = len(found)
    print(f"{n} features; a feature {windows[0] / n:.1f} windows for the label, {windows[1] / n:.1f} firing and {windows[2] / n:.1f} silent ones judged")
    if n == 0 or print_bills(o, ours, theirs, bare, n) > o.limit:
        sys.exit(1)


if __name__ == "__main__":
    main()
