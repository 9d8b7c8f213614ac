#!/usr/bin/env python3
"""Serve what scorers need of the model that an SAE was trained on: token log-probabilities and steering, on loopback; and the
prompts of completions with log-probabilities, for `gloss score --scorer simulation --logprobs`.

The protocol is in docs/subject.md. Any causal language model of transformers from a local folder, in F32; nothing is downloaded.
Prints its address, for --subject of `gloss score` and `gloss explain`, and serves until it is stopped.
Needs: pip install torch transformers (and gguf for --gguf).

    subject_server.py --model FOLDER --port 8091
    subject_server.py --model FOLDER --gguf FILE.gguf
"""
import argparse
import base64
import hashlib
import json
import math
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # whatever a folder's files refer to

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

BODY_MAX = 8 << 20  # bytes
ITEMS_MAX = 256  # texts or prompts in a request
TOP_MAX = 64  # tokens of a prompt whose probability rose
NEW_MAX = 256  # tokens generated for a prompt
RESIDUAL_MAX = 4096  # rows in a reply
PASS_MAX = 1024  # tokens in one forward pass: its logits are held for all of them
PATHS = "POST /v1/subject or /v1/completions"
CLEAN_MAX = 256  # distributions kept of prompts, for searches over strengths


def fail(message):
    sys.exit(f"subject_server.py: {message}")


def parse():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", type=Path, required=True, help="folder of a transformers model")
    ap.add_argument("--gguf", help="file of that folder to take weights and tokenizer from")
    ap.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0: a free one")
    ap.add_argument("--name", help="what the model is called; the folder's name and the weights' hash if not given")
    ap.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return ap.parse_args()


class Refused(Exception):
    """A request that gets no answer: status and one line."""

    def __init__(self, message, status=400):
        super().__init__(message)
        self.status = status


def field(of, name, kinds, where="", default=None):
    value = of.get(name, default)
    if value is None:
        raise Refused(f"{where}{name} is missing")
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise Refused(f"{where}{name} is of the wrong type")
    return value


def whole(of, name, least, most, default=None):
    n = field(of, name, int, default=default)
    if not least <= n <= most:
        raise Refused(f"{name} is {n}, {least} to {most} is allowed")
    return n


def real(of, name, least, most, default=None):
    x = field(of, name, (int, float), default=default)
    if not least <= x <= most:  # neither for NaN
        raise Refused(f"{name} is {x}, {least:g} to {most:g} is allowed")
    return float(x)


def list_of(of, name):
    items = field(of, name, list)
    if not 1 <= len(items) <= ITEMS_MAX:
        raise Refused(f"{name} has {len(items)} members, 1 to {ITEMS_MAX} are allowed")
    return items


def weights_hash(folder, gguf):
    names = [folder / gguf] if gguf else sorted(f for f in folder.iterdir() if f.suffix in (".safetensors", ".bin"))
    digest = hashlib.sha256()
    for path in names:
        with open(path, "rb") as f:
            while block := f.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


class Steering:
    """Adds scale * vector to the output of a block: on every token, or from the last one of the prompt on."""

    def __init__(self, subject, of):
        if not isinstance(of, dict):
            raise Refused("steer is no object")
        self.block = subject.blocks[whole(of, "layer", 0, len(subject.blocks) - 1)]
        self.scale = real(of, "scale", -1e9, 1e9, 1.0)
        self.everywhere = field(of, "on", str, "steer.", "last") == "all"
        if of.get("on", "last") not in ("all", "last"):
            raise Refused(f"steer.on is '{of['on'][:20]}': there are all, last")
        self.vector = self.read(of.get("vector"), subject.width) * self.scale
        self.rows = None

    @staticmethod
    def read(v, width):
        try:
            x = torch.frombuffer(bytearray(base64.b64decode(v, validate=True)), dtype=torch.float32) if isinstance(v, str) else torch.tensor(v, dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError):
            raise Refused("steer.vector is neither a list of numbers nor the base64 of F32") from None
        if x.ndim != 1 or len(x) != width:
            raise Refused(f"steer.vector has {x.numel()} numbers, the model's blocks put out {width}")
        if not torch.isfinite(x).all():
            raise Refused("steer.vector holds what is no finite number")
        return x

    def at(self, first, length):
        """For a pass over (rows, length) tokens: `first`, of each row the last token of its prompt, or 0 when that is over."""
        here = torch.arange(length)[None, :] >= torch.tensor(first)[:, None]
        self.rows = torch.ones_like(here) if self.everywhere else here

    def hook(self, module, inputs, output):
        x = output[0] if isinstance(output, tuple) else output
        x = x + self.rows.to(x.device)[..., None] * self.vector.to(x)
        return (x, *output[1:]) if isinstance(output, tuple) else x


class Hooked:
    """The steering's hook while a pass runs; nothing where there is none."""

    def __init__(self, steering):
        self.steering, self.handle = steering, None

    def __enter__(self):
        if self.steering:
            self.handle = self.steering.block.register_forward_hook(self.steering.hook)

    def __exit__(self, *_):
        if self.handle:
            self.handle.remove()


class Subject:
    def __init__(self, args):
        if not args.model.is_dir():
            fail(f"'{args.model}' is no folder of a model; nothing is downloaded")
        source = {"gguf_file": args.gguf} if args.gguf else {}
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(args.model, local_files_only=True, **source)
            self.model = AutoModelForCausalLM.from_pretrained(args.model, local_files_only=True, dtype=torch.float32, **source)
            self.name = args.name or f"{args.model.resolve().name}-{weights_hash(args.model, args.gguf)[:12]}"
        except (OSError, ValueError, ImportError) as e:
            fail(f"cannot load '{args.model}': {str(e).strip().splitlines()[0]}")
        self.model.to(args.device).eval()
        self.device = args.device
        self.blocks = max((m for m in self.model.modules() if isinstance(m, torch.nn.ModuleList)), key=len)
        config = self.model.config.get_text_config()
        self.width, self.context = config.hidden_size, getattr(config, "max_position_embeddings", None) or 1 << 20
        self.words = self.model.get_input_embeddings().weight.shape[0]
        self.lock = threading.Lock()
        self.clean, self.spellings = {}, {}
        self.anchor = self.tokenizer("a", add_special_tokens=False)["input_ids"]

    # ---- What is asked about ----

    def ids(self, x, where, begins):
        """Token ids of a text, or of a list of them; a text that begins the input gets what the tokenizer puts before one."""
        if isinstance(x, str):
            return self.tokenizer(x, add_special_tokens=begins, verbose=False)["input_ids"]
        if not isinstance(x, list) or not all(isinstance(i, int) and not isinstance(i, bool) for i in x):
            raise Refused(f"{where} is neither a text nor a list of token ids")
        if x and not 0 <= min(x) <= max(x) < self.words:
            raise Refused(f"{where}: a token id is beyond the model's {self.words}")
        return x

    def fits(self, n, where):
        if n > self.context:
            raise Refused(f"{where} is {n} tokens, the model takes {self.context}")

    def prompts(self, of, more=0):
        out = [self.ids(p, f"prompt {i}", True) for i, p in enumerate(list_of(of, "prompts"))]
        for i, p in enumerate(out):
            if not p:
                raise Refused(f"prompt {i} has no token")
            self.fits(len(p) + more, f"prompt {i} with what follows")
        return out

    def steering(self, of):
        return Steering(self, of["steer"]) if of.get("steer") is not None else None

    # ---- Passes ----

    def batches(self, rows):
        """Indices of rows that go through the model together: of like length, so that little is padded."""
        order, at = sorted(range(len(rows)), key=lambda i: len(rows[i])), 0
        while at < len(order):
            n = 1
            while at + n < len(order) and (n + 1) * len(rows[order[at + n]]) <= PASS_MAX:
                n += 1
            yield order[at : at + n]
            at += n

    def logits(self, rows, steering, first):
        """(rows, longest, words); rows are padded behind, which a causal model does not see. first: as Steering.at()."""
        longest = max(map(len, rows))
        ids = torch.tensor([r + [0] * (longest - len(r)) for r in rows], device=self.device)
        if steering:
            steering.at(first, longest)
        with Hooked(steering):
            return self.model(input_ids=ids, use_cache=False).logits

    def last_logprobs(self, prompts, steering):
        """[(words)] in F64: of the token behind each prompt."""
        out = [None] * len(prompts)
        for batch in self.batches(prompts):
            rows = [prompts[i] for i in batch]
            logits = self.logits(rows, steering, [len(r) - 1 for r in rows])
            for row, i in enumerate(batch):
                out[i] = logits[row, len(prompts[i]) - 1].double().log_softmax(-1).cpu()
        return out

    def clean_logprobs(self, prompts):
        missing = [p for p in {tuple(p) for p in prompts} if p not in self.clean]
        if len(self.clean) + len(missing) > CLEAN_MAX:
            self.clean, missing = {}, list({tuple(p) for p in prompts})
        self.clean |= dict(zip(missing, self.last_logprobs([list(p) for p in missing], None)))
        return [self.clean[tuple(p)] for p in prompts]

    # ---- What is answered ----

    def info(self, of):
        return {"layers": len(self.blocks), "width": self.width, "words": self.words, "context": self.context}, 0, 0

    def logprobs(self, of):
        rows, before, items = [], [], []
        for i, item in enumerate(list_of(of, "items")):
            if not isinstance(item, dict):
                raise Refused(f"item {i} is no object")
            prefix = self.ids(item.get("prefix", ""), f"item {i}: prefix", True)
            text = self.ids(field(item, "text", (str, list), f"item {i}: "), f"item {i}: text", False)
            if not prefix:
                raise Refused(f"item {i}: nothing stands before the first token, so it has no probability: give a prefix")
            self.fits(len(prefix) + len(text), f"item {i}")
            rows.append(prefix + text)
            before.append(len(prefix))
            items.append({"ids": text, "logprobs": []})
        steering = self.steering(of)
        for batch in self.batches(rows):
            logits = self.logits([rows[i] for i in batch], steering, [before[i] - 1 for i in batch])
            for row, i in enumerate(batch):
                logp = logits[row, before[i] - 1 : len(rows[i]) - 1].log_softmax(-1)
                items[i]["logprobs"] = logp.gather(-1, torch.tensor(items[i]["ids"], device=logp.device, dtype=torch.long)[:, None])[:, 0].tolist()
        return {"items": items}, sum(map(len, rows)), 0

    def kl(self, of):
        prompts, steering = self.prompts(of), self.steering(of)
        if not steering:
            raise Refused("steer is missing")
        kls = [(p.exp() * (p - q)).sum().item() for p, q in zip(self.clean_logprobs(prompts), self.last_logprobs(prompts, steering))]
        if not all(map(math.isfinite, kls)):
            raise Refused("steered so, the model's probabilities are not finite")
        return {"kl": kls}, sum(map(len, prompts)), 0

    def raised(self, of):
        prompts, steering, top = self.prompts(of), self.steering(of), whole(of, "top", 1, TOP_MAX)
        if not steering:
            raise Refused("steer is missing")
        items = []
        for clean, steered in zip(self.clean_logprobs(prompts), self.last_logprobs(prompts, steering)):
            p, q = clean.exp(), steered.exp()
            if not torch.isfinite(q).all():
                raise Refused("steered so, the model's probabilities are not finite")
            ids = (q - p).topk(min(top, len(p))).indices.tolist()
            items.append({"tokens": [{"id": i, "text": self.tokenizer.decode([i]), "before": p[i].item(), "after": q[i].item()} for i in ids if q[i] > p[i]]})
        return {"items": items}, sum(map(len, prompts)), 0

    def generate(self, of):
        n, seed = whole(of, "max_tokens", 1, NEW_MAX), whole(of, "seed", 0, 2**63 - 1, 0)
        temperature = real(of, "temperature", 0, 100, 0.0)
        prompts, steering = self.prompts(of, n), self.steering(of)
        new = [self.continued(p, n, temperature, seed + i, steering) for i, p in enumerate(prompts)]
        items = [{"ids": ids, "text": self.tokenizer.decode(ids)} for ids in new]
        return {"items": items}, sum(map(len, prompts)), sum(map(len, new))

    def continued(self, prompt, n, temperature, seed, steering):
        draw = torch.Generator().manual_seed(seed % 2**63)
        ends = self.model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        ids, cache, new = prompt, None, []
        with Hooked(steering):
            while len(new) < n:
                if steering:
                    steering.at([len(ids) - 1], len(ids))
                out = self.model(input_ids=torch.tensor([ids], device=self.device), past_key_values=cache, use_cache=True)
                logits, cache = out.logits[0, -1].double().cpu(), out.past_key_values
                if temperature > 0 and torch.isfinite(logits).all():
                    token = torch.multinomial((logits / temperature).softmax(-1), 1, generator=draw).item()
                else:
                    token = logits.argmax().item()
                new.append(token)
                ids = [token]
                if token in ends:
                    break
        return new

    def spelt(self, i):
        """What a token adds to a text; alone, some tokenizers drop the space it begins with. A part of a character is U+FFFD."""
        if i not in self.spellings:
            before, both = (self.tokenizer.decode(ids, clean_up_tokenization_spaces=False) for ids in (self.anchor, [*self.anchor, i]))
            self.spellings[i] = both[len(before) :]
        return self.spellings[i]

    def echo(self, of):
        """A completion of nothing: the tokens of its prompt, as vLLM tells them."""
        if of.get("echo") is not True or of.get("max_tokens") != 0:
            raise Refused("prompts are echoed here and nothing is generated: echo true, max_tokens 0")
        prompt, top = field(of, "prompt", (str, list)), whole(of, "logprobs", 0, TOP_MAX)
        ids = self.ids(prompt, "prompt", True)
        if not ids:
            raise Refused("prompt has no token")
        self.fits(len(ids), "prompt")
        logp = self.logits([ids], None, [0])[0, :-1].log_softmax(-1)
        own = logp.gather(-1, torch.tensor(ids[1:], device=logp.device, dtype=torch.long)[:, None])[:, 0].tolist()
        best, likeliest = logp.topk(min(top, self.words)), []
        for i, ranked, values in zip(range(len(own)), best.indices.tolist(), best.values.tolist()):
            likeliest.append({})
            for token, value in [*zip(ranked, values), (ids[i + 1], own[i])]:
                likeliest[i].setdefault(self.spelt(token), value)  # of two that spell the same the likelier
        tokens = [self.spelt(i) for i in ids]
        logprobs = {"tokens": tokens, "token_logprobs": [None, *own], "top_logprobs": [None, *likeliest]}
        text = prompt if isinstance(prompt, str) else "".join(tokens)
        return {"choices": [{"index": 0, "text": text, "logprobs": logprobs, "finish_reason": "length"}]}, len(ids), 0

    def residual(self, of):
        ids = self.ids(of.get("text", of.get("ids")), "text", True)
        layer, steering = whole(of, "layer", 0, len(self.blocks) - 1), self.steering(of)
        if not 1 <= len(ids) <= RESIDUAL_MAX:
            raise Refused(f"{len(ids)} tokens are asked about, 1 to {RESIDUAL_MAX} are allowed")
        self.fits(len(ids), "text")
        seen = []
        with Hooked(steering):  # first, so that a hook on the same block sees what it has added
            handle = self.blocks[layer].register_forward_hook(lambda m, i, y: seen.append(y[0] if isinstance(y, tuple) else y))
            if steering:
                steering.at([len(ids) - 1], len(ids))
            try:
                self.model(input_ids=torch.tensor([ids], device=self.device), use_cache=False)
            finally:
                handle.remove()
        x = seen[0].reshape(len(ids), -1).float().cpu().contiguous()
        return {"ids": ids, "shape": list(x.shape), "f32": base64.b64encode(x.numpy().tobytes()).decode()}, len(ids), 0

    DOES = {"info": info, "logprobs": logprobs, "kl": kl, "raised": raised, "generate": generate, "residual": residual}

    @torch.inference_mode()
    def answer(self, path, of):
        if path not in ("/v1/subject", "/v1/completions"):
            raise Refused(f"nothing is at '{path[:80]}': {PATHS}", 404)
        if not isinstance(of, dict):
            raise Refused("the body is no JSON object")
        kind, do = ("subject", self.DOES.get(field(of, "do", str))) if path == "/v1/subject" else ("text_completion", Subject.echo)
        if not do:
            raise Refused(f"do is '{of['do'][:40]}': there are {', '.join(self.DOES)}")
        if of.get("model", self.name) != self.name:
            raise Refused(f"the model here is '{self.name}', not '{str(of['model'])[:80]}'", 404)
        with self.lock:
            reply, n_in, n_out = do(self, of)
        return {"object": kind, "model": self.name} | reply | {"usage": {"prompt_tokens": n_in, "completion_tokens": n_out}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 600
    subject = None

    def log_message(self, *_):
        pass

    def send(self, status, reply):
        body = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status != 200:
            self.send_header("Connection", "close")
            self.close_connection = True  # a body may not have been read
        self.end_headers()
        self.wfile.write(body)

    def body(self):
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise Refused("Content-Length is missing", 411)
        if int(length) > BODY_MAX:
            left = min(int(length), 8 * BODY_MAX)  # whoever still sends would not hear why
            while left > 0 and (got := self.rfile.read(min(left, 65536))):
                left -= len(got)
            raise Refused(f"the body is {length} bytes, {BODY_MAX} are allowed", 413)
        try:
            return json.loads(self.rfile.read(int(length)), parse_constant=lambda c: float(c.replace("Infinity", "inf")))
        except (ValueError, RecursionError):
            raise Refused("the body is not JSON") from None

    def do_POST(self):
        try:
            reply = self.subject.answer(self.path, self.body())
        except Refused as e:
            return self.send(e.status, {"error": {"message": str(e)}})
        except Exception as e:  # the model's own trouble; the server goes on
            return self.send(500, {"error": {"message": f"{type(e).__name__}: {(str(e).splitlines() or [''])[0][:200]}"}})
        return self.send(200, reply)

    def do_GET(self):
        self.send(405, {"error": {"message": PATHS}})

    do_PUT = do_DELETE = do_HEAD = do_GET


def main():
    args = parse()
    Handler.subject = Subject(args)
    try:
        server = ThreadingHTTPServer(("127.0.0.1", args.port), Handler)
    except (OSError, OverflowError) as e:
        fail(f"cannot serve on port {args.port}: {e}")
    server.daemon_threads = True
    print(f"http://127.0.0.1:{server.server_port}/v1", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
