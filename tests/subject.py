"""Checks of demo/subject_server.py against transformers with the same weights: subject.py FOLDER URL, the model's folder and where it
is served. See docs/subject.md."""
import base64
import json
import sys
import threading
import urllib.error
import urllib.request

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

folder, url = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(folder).eval()
tokenizer = AutoTokenizer.from_pretrained(folder)
TEXTS = ["A gloss is a short note in the margin of a book.", "naïve 日本語\n\ttext", "x"]
PREFIX = "Each of the following texts was picked at random.\n\nText:\n"


def post(of, path="/subject"):
    body = of if isinstance(of, bytes) else json.dumps(of).encode()
    request = urllib.request.Request(url + path, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as r:
            return r.status, json.load(r)
    except urllib.error.HTTPError as e:
        return e.code, json.load(e)


def ask(**of):
    status, reply = post(of)
    assert status == 200 and reply["object"] == "subject", (status, reply)
    return reply


def refused(words, status=400, path="/subject", **of):
    got, reply = post(of.pop("raw", None) or of, path)
    message = reply["error"]["message"]
    assert got == status and words in message and "\n" not in message, (of, got, message)


def rows(reply):
    return torch.frombuffer(bytearray(base64.b64decode(reply["f32"])), dtype=torch.float32).reshape(reply["shape"])


def steer(layer, vector, scale=1.0, on="last"):
    return {"layer": layer, "vector": vector, "scale": scale, "on": on}


@torch.inference_mode()
def direct_logprobs(prefix, text):
    a, b = tokenizer(prefix)["input_ids"], tokenizer(text, add_special_tokens=False)["input_ids"]
    logp = model(torch.tensor([a + b])).logits[0].log_softmax(-1)
    return [logp[len(a) - 1 + i, t].item() for i, t in enumerate(b)]


info = ask(do="info")
assert info["layers"] == 3 and info["width"] == 48, info
assert ask(do="info", model=info["model"])["model"] == info["model"]

# log-probabilities: of each token, whatever else is in the request
items = [{"prefix": p, "text": t} for t in TEXTS for p in (PREFIX, PREFIX + "more ")]
worst = 0.0
for item, got in zip(items, ask(do="logprobs", items=items)["items"]):
    want = direct_logprobs(item["prefix"], item["text"])
    assert len(got["logprobs"]) == len(want) == len(got["ids"])
    worst = max(worst, max(abs(a - b) for a, b in zip(got["logprobs"], want)))
assert worst <= 1e-3, worst
by_ids = ask(do="logprobs", items=[{"prefix": tokenizer(PREFIX)["input_ids"], "text": tokenizer(TEXTS[0])["input_ids"]}])["items"][0]["logprobs"]
assert max(abs(a - b) for a, b in zip(by_ids, direct_logprobs(PREFIX, TEXTS[0]))) <= 1e-3

# steering: the residual after the block shifts by the vector on every token, the blocks before are as they were
torch.manual_seed(3)
vector = torch.randn(48)
packed = base64.b64encode(vector.numpy().tobytes()).decode()
error = 0.0
for layer in range(3):
    for on in "all", "last":
        at = {k: rows(ask(do="residual", text=TEXTS[0], layer=k)) for k in range(3)}
        steered = {k: rows(ask(do="residual", text=TEXTS[0], layer=k, steer=steer(layer, packed, 2.5, on))) for k in range(3)}
        shift = steered[layer] - at[layer]
        from_here = 0 if on == "all" else len(shift) - 1
        error = max(error, ((shift[from_here:] - 2.5 * vector).norm(dim=-1) / (2.5 * vector).norm()).max().item())
        assert (shift[:from_here] == 0).all()
        assert all((steered[k] == at[k]).all() for k in range(layer)), "a block before it changed"
        assert layer == 2 or (steered[2] != at[2]).any()
assert error <= 0.01, error
as_list = rows(ask(do="residual", text=TEXTS[0], layer=1, steer=steer(1, vector.tolist(), 2.5, "all")))
assert torch.equal(as_list, rows(ask(do="residual", text=TEXTS[0], layer=1, steer=steer(1, packed, 2.5, "all"))))

# KL of next-token distributions, against hooks of one's own
blocks = max((m for m in model.modules() if isinstance(m, torch.nn.ModuleList)), key=len)


@torch.inference_mode()
def direct(ids, layer, add):
    """Logits with `add` (tokens, d) at the output of a block."""
    handle = blocks[layer].register_forward_hook(lambda m, i, y: (y[0] + add, *y[1:]) if isinstance(y, tuple) else y + add)
    logits = model(torch.tensor([ids])).logits[0]
    handle.remove()
    return logits


kls = ask(do="kl", prompts=TEXTS + [PREFIX], steer=steer(1, packed, 0.7))["kl"]
for text, kl in zip(TEXTS + [PREFIX], kls):
    ids = tokenizer(text)["input_ids"]
    add = torch.zeros(len(ids), 48)
    p = direct(ids, 1, add)[-1].log_softmax(-1)
    add[-1] = 0.7 * vector
    q = direct(ids, 1, add)[-1].log_softmax(-1)
    assert abs(kl - (p.exp() * (p - q)).sum().item()) <= 1e-4 * max(1, kl), (text, kl)
assert max(ask(do="kl", prompts=TEXTS, steer=steer(1, packed, 0.0))["kl"]) <= 1e-9

# what steering raises: the largest differences of probability, by hand
raised = ask(do="raised", prompts=TEXTS, steer=steer(1, packed, 0.7), top=4)["items"]
for text, item in zip(TEXTS, raised):
    ids = tokenizer(text)["input_ids"]
    add = torch.zeros(len(ids), 48)
    p = direct(ids, 1, add)[-1].softmax(-1)
    add[-1] = 0.7 * vector
    q = direct(ids, 1, add)[-1].softmax(-1)
    want = (q - p).topk(4)
    assert [t["id"] for t in item["tokens"]] == want.indices.tolist(), (text, item)
    for t, rise in zip(item["tokens"], want.values):
        assert abs(t["after"] - t["before"] - rise) <= 1e-5 and t["text"] == tokenizer.decode([t["id"]])
still = ask(do="raised", prompts=TEXTS, steer=steer(1, packed, 0.0), top=3)["items"]
assert all(0 < t["after"] - t["before"] <= 1e-6 for i in still for t in i["tokens"])

# generation: greedy as by hand, with and without steering from the last prompt token on; by seed, and no two alike
for scale in 0.0, 1.5:
    got = ask(do="generate", prompts=TEXTS[:2], max_tokens=6, steer=steer(1, packed, scale))["items"]
    for text, item in zip(TEXTS, got):
        ids = tokenizer(text)["input_ids"]
        start = len(ids) - 1
        for token in item["ids"]:
            add = torch.zeros(len(ids), 48)
            add[start:] = scale * vector
            assert direct(ids, 1, add)[-1].argmax().item() == token
            ids.append(token)
        assert item["text"] == tokenizer.decode(item["ids"])
draw = lambda seed: [i["ids"] for i in ask(do="generate", prompts=TEXTS[:1] * 3, max_tokens=8, temperature=1.0, seed=seed)["items"]]
assert draw(1) == draw(1) != draw(2) and draw(1)[0] != draw(1)[1] and draw(1)[1] == draw(2)[0]

# several at once do not disturb each other
wrong = []
work = [threading.Thread(target=lambda: wrong.extend([1] * (ask(do="logprobs", items=items[:1]) != ask(do="logprobs", items=items[:1])))) for _ in range(3)]
work += [threading.Thread(target=lambda: ask(do="kl", prompts=TEXTS, steer=steer(0, packed)))]
[t.start() for t in work], [t.join() for t in work]
assert not wrong

# completions that echo: the tokens spell the prompt, each with its log-probability, the likeliest in its place, and its own among them
def echoed(prompt, top):
    status, reply = post({"prompt": prompt, "max_tokens": 0, "temperature": 0, "echo": True, "logprobs": top, "model": info["model"]}, "/completions")
    assert status == 200 and reply["object"] == "text_completion" and reply["usage"]["completion_tokens"] == 0, (status, reply)
    got = reply["choices"][0]["logprobs"]
    assert len(got["tokens"]) == len(got["token_logprobs"]) == len(got["top_logprobs"]) == reply["usage"]["prompt_tokens"]
    assert got["token_logprobs"][0] is None and got["top_logprobs"][0] is None
    return got, reply["choices"][0]["text"]


prompt = PREFIX + TEXTS[1] + "\n 1\tunknown\n"
got, text = echoed(prompt, 15)
ids = tokenizer(prompt)["input_ids"]
with torch.inference_mode():
    logp = model(torch.tensor([ids])).logits[0].log_softmax(-1)
assert text == prompt and got["tokens"] == [tokenizer.decode([i]) for i in ids]
for at, (own, top) in enumerate(zip(got["token_logprobs"][1:], got["top_logprobs"][1:])):
    best = logp[at].topk(15)
    want = dict(reversed([(tokenizer.decode([i]), p) for i, p in zip([*best.indices.tolist(), ids[at + 1]], [*best.values.tolist(), logp[at, ids[at + 1]].item()])]))
    assert abs(own - logp[at, ids[at + 1]].item()) <= 1e-3 and set(top) == set(want) and max(abs(top[k] - want[k]) for k in want) <= 1e-3, (at, top, want)
got, text = echoed(PREFIX + TEXTS[0], 0)
assert "".join(got["tokens"]) == text == PREFIX + TEXTS[0] and all(len(t) == 1 for t in got["top_logprobs"][1:])
assert echoed(tokenizer(TEXTS[0])["input_ids"], 0)[1] == TEXTS[0]

# what gets no answer
echo = {"path": "/completions", "prompt": "a b", "max_tokens": 0, "echo": True, "logprobs": 1}
refused("echo true, max_tokens 0", **echo | {"max_tokens": 16})
refused("echo true, max_tokens 0", **echo | {"echo": False})
refused("logprobs is 65", **echo | {"logprobs": 65})
refused("logprobs is missing", **echo | {"logprobs": None})
refused("prompt is missing", **echo | {"prompt": None})
refused("prompt has no token", **echo | {"prompt": ""})
refused("prompt is neither a text nor a list", **echo | {"prompt": ["a", "b"]})
refused("the model takes", **echo | {"prompt": "a " * 3000})
refused("the model here is", 404, **echo | {"model": "another"})
refused("no JSON object", path="/completions", raw=b"[]")
good = {"do": "kl", "prompts": TEXTS}
refused("not JSON", raw=b"{")
refused("no JSON object", raw=b"[]")
refused("not JSON", raw=b"[" * 100000)
refused("do is missing", prompts=TEXTS)
refused("there are info, logprobs", do="dance")
refused("the model here is", 404, do="info", model="another")
refused("POST /v1/subject", 404, path="/chat/completions", do="info")
refused("the body is 9000000 bytes", 413, raw=b" " * 9000000)
refused("items has 257 members", do="logprobs", items=[{"text": "a"}] * 257)
refused("item 0: text is missing", do="logprobs", items=[{"prefix": "a"}])
refused("item 0: nothing stands before", do="logprobs", items=[{"text": "a"}])
refused("item 0: prefix: a token id is beyond", do="logprobs", items=[{"prefix": [49152], "text": "a"}])
refused("neither a text nor a list", do="logprobs", items=[{"prefix": [1.5], "text": "a"}])
refused("the model takes", do="logprobs", items=[{"prefix": "a", "text": "a " * 3000}])
refused("prompts is missing", do="kl")
refused("prompt 1 has no token", do="kl", prompts=["a", []], steer=steer(1, packed))
refused("steer is missing", **good)
refused("steer is missing", do="raised", prompts=TEXTS, top=1)
refused("top is 65", do="raised", prompts=TEXTS, top=65, steer=steer(1, packed))
refused("layer is 3, 0 to 2", **good, steer=steer(3, packed))
refused("has 47 numbers, the model's blocks put out 48", **good, steer=steer(1, vector.tolist()[:47]))
refused("neither a list of numbers nor the base64", **good, steer=steer(1, packed[:-3]))
refused("no finite number", **good, steer=steer(1, [float("nan")] * 48))
refused("scale is nan", **good, steer=steer(1, packed, float("nan")))
refused("there are all, last", **good, steer=steer(1, packed, 1.0, "some"))
refused("max_tokens is 257", do="generate", prompts=TEXTS, max_tokens=257)
refused("seed is of the wrong type", do="generate", prompts=TEXTS, max_tokens=1, seed=1.5)
refused("temperature is -1", do="generate", prompts=TEXTS, max_tokens=1, temperature=-1)
print(f"subject: log-probabilities to {worst:.1g}, steering to {error:.1g} of the vector")
