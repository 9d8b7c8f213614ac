#!/usr/bin/env python3
"""Made tests/data/simulation.json: replies of a completion server with fixed log-probabilities, and what simulation makes of them.

    python3 tests/data/make_simulation.py >tests/data/simulation.json

The formulas are written down here once more, with NumPy, from ../../docs/explain.md alone: expected value over "0".."10" among the
15 likeliest tokens, true activations floor(10 * relu(a) / max), Pearson's correlation by numpy.corrcoef, explained variance
against the mean and against 0, absolute deviation. No code of Gloss is involved.
"""
import json
import math

import numpy as np

rng = np.random.default_rng(20261128)
STRONGEST = 7.25
FEW_SHOT = 5  # places with "unknown" before the window's


def top_of(fused, about):
    """Alternatives of one place, 1 to 15: numbers, likelier near `about`, and tokens that are none."""
    names = [str(k) for k in rng.permutation(11)[: rng.integers(1, 12)]]
    others = [" 3", "11", "00", "-1", "unknown", "x", "zero", "1.0", "07", "\n"]
    names += [others[k] for k in rng.permutation(len(others))[: rng.integers(0, 16 - len(names) if len(names) < 15 else 1)]]
    logits = rng.normal(0, 1.5, len(names))
    logits -= [1.2 * abs(int(n) - about) if n.isdecimal() and n != "00" else 0 for n in names]
    logprobs = logits - math.log(np.exp(logits).sum()) - 0.05
    if fused:
        names = ["\t" + n for n in names]
    return {n: float(v) for n, v in zip(names, logprobs)}


def expected(top, fused):
    p, k = [], []
    for name, logprob in top.items():
        name = name[1:] if fused else name
        if name in [str(i) for i in range(11)]:
            p.append(np.exp(logprob))
            k.append(int(name))
    return float(np.dot(p, k) / np.sum(p))


def window(n):
    acts = np.where(rng.random(n) < 0.3, rng.gamma(2, 2, n), 0).astype(np.float32)
    acts[rng.integers(n)] = -1.5  # as no SAE has it, but relu is in the formula
    acts = np.minimum(acts, np.float32(STRONGEST))
    tokens, values, tops, evs = ["<s>", "Some text.\n"], [None, -3.5], [None, {"x": -0.5}], []
    for i in range(FEW_SHOT + n):
        fused = bool(rng.integers(2))
        top = top_of(fused, 10 * max(0, acts[i - FEW_SHOT]) / STRONGEST if i >= FEW_SHOT else 3)
        tokens.append(f" word{i}")
        values.append(float(-rng.gamma(2, 2)))
        tops.append({f" word{i}": -0.25})
        if fused:
            tokens.append("\tunknown")
            values.append(-12.5)
            tops.append(top)
        else:
            tokens += ["\t", "unk", "nown"]
            values += [-0.1, -11.0, -0.01]
            tops += [{"\t": -0.1}, top, {"nown": -0.01, "5": -5.0}]
        tokens.append("\n")
        values.append(-0.1)
        tops.append({"\n": -0.1, "7": -4.0})
        if i >= FEW_SHOT:
            evs.append(expected(top, fused))
    reply = {"choices": [{"text": "".join(tokens[1:]), "finish_reason": "length",
                          "logprobs": {"tokens": tokens, "token_logprobs": values, "top_logprobs": tops}}]}
    return acts, np.array(evs), reply


windows = [window(n) for n in (12, 16, 7, 16, 16)]
acts = np.concatenate([w[0] for w in windows])
s = np.concatenate([w[1] for w in windows])
t = np.minimum(10, np.floor(10 * np.maximum(acts.astype(np.float64), 0) / STRONGEST))
print(json.dumps({
    "made_by": "tests/data/make_simulation.py", "strongest": STRONGEST, "n_places": [FEW_SHOT + len(w[0]) for w in windows],
    "activations": [[float(a) for a in w[0]] for w in windows], "replies": [w[2] for w in windows],
    "true": t.tolist(), "expected": s.tolist(),
    "correlation": float(np.corrcoef(t, s)[0, 1]),
    "explained_variance_centred": float(1 - np.mean((t - s) ** 2) / np.var(t)),
    "explained_variance_uncentred": float(1 - np.mean((t - s) ** 2) / np.mean(t ** 2)),
    "absolute_deviation": float(1 - np.mean(np.abs(t - s)) / np.mean(np.abs(t))),
}, indent=None, separators=(",", ":")))
