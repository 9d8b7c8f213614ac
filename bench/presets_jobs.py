"""The jobs of presets.py, each a process of its own inside the virtual environment: presets_jobs.py JOB-AS-JSON

A job trains one recipe by the tool it comes from, or by the reference here, and measures it on the rows held out with the tool's own
inference. The last line of the output is the answer as JSON.

The references are written from the papers' formulas: float64, gradients by autograd of the loss as it is printed there, the textbook's
Adam. They share nothing with Gloss.
"""
import json
import math
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from feed import Batches, Feed, RowModel


def prepare(job):
    """Rows that count, scaled to a mean norm of sqrt(d), as a dump of F32 shards; and as rows.npy, which the tools map."""
    shards = [load_file(p) for p in sorted(Path(job["data"]).glob("*.safetensors"))]
    x = torch.cat([t["activations"].float() for t in shards if "activations" in t])
    norms = torch.linalg.vector_norm(x, dim=1)
    x = x[torch.isfinite(norms) & (norms <= 10 * norms[torch.isfinite(norms)].median())]
    if job.get("take"):  # so many rows to train on, drawn by seed, and 8,192 that are held out
        x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[: job["take"] + 8192]]
    n_train = job.get("take") or len(x) - int(job["holdout"] * len(x))
    x = x * (x.shape[1] ** 0.5 / torch.linalg.vector_norm(x[:n_train], dim=1).double().mean().float())
    Path(job["dump"]).mkdir(parents=True, exist_ok=True)
    save_file({"activations": x.contiguous()}, Path(job["dump"]) / "acts-00000-of-00001.safetensors")
    np.save(job["rows"], x.numpy())
    return {"rows": len(x), "train": n_train, "d": x.shape[1]}


def directions(job):
    """Of the encoder rows of a folder that Gloss saved after a step of no size."""
    rows = load_file(Path(job["sae"]) / "sae_weights.safetensors")["W_enc"].T
    np.save(job["start"], (rows / rows.norm(dim=1, keepdim=True)).numpy())
    return {}


def same_start(job, weights):
    """Matrices (F, d) or (d, F) take the directions of Gloss's rows, with the norms that they have."""
    for w in weights:
        if w.dim() == 2:
            rows = w.data if len(w) == job["features"] else w.data.T
            rows.copy_(torch.from_numpy(np.load(job["start"])).to(w) * rows.norm(dim=1, keepdim=True))


# ---- The tools: each returns x -> (reconstruction, codes), as the tool itself encodes when it is used ----


def sae_lens(job):
    from sae_lens.config import SAETrainerConfig
    from sae_lens.saes import jumprelu_sae, topk_sae
    from sae_lens.training.sae_trainer import SAETrainer

    module, name = {"topk": (topk_sae, "TopK"), "jumprelu": (jumprelu_sae, "JumpReLU")}[job["arch"]]
    own = {"k": job["k"]} if job["arch"] == "topk" else {}
    torch.manual_seed(job["seed"])
    sae = getattr(module, f"{name}TrainingSAE")(
        getattr(module, f"{name}TrainingSAEConfig")(d_in=job["d"], d_sae=job["features"], **own)
    )
    same_start(job, sae.parameters())
    cfg = SAETrainerConfig(
        job["steps"] * job["batch"], train_batch_size_samples=job["batch"], lr=3e-4, lr_end=3e-5,
        dead_feature_window=job["dead_steps"], feature_sampling_window=2 * job["dead_steps"],
    )  # fmt: skip
    SAETrainer(cfg, sae, data_provider=Feed(job, job["train"])).fit()
    sae.eval()

    def run(x):
        codes = sae.encode(x)
        return sae.decode(codes), codes

    return run


def sparsify(job):
    from sparsify import SparseCoderConfig, TrainConfig, Trainer

    feed = Feed(job, job["train"])
    coder = SparseCoderConfig(num_latents=job["features"], k=job["k"])
    cfg = TrainConfig(
        coder, batch_size=1, hookpoints=["rows"], init_seeds=[job["seed"]], save_every=job["steps"] + 2, log_to_wandb=False,
        dead_feature_threshold=job["dead_tokens"],
    )  # fmt: skip
    trainer = Trainer(cfg, Batches(job, feed), RowModel(feed))
    trainer.save = lambda: None
    same_start(job, trainer.saes["rows"].parameters())
    trainer.fit()
    for optimizer in trainer.optimizers:  # schedule-free: what is used is the average
        getattr(optimizer, "eval", lambda: None)()
    sae = trainer.saes["rows"]

    def run(x):
        out = sae.encode(x)
        codes = torch.zeros(len(x), job["features"]).scatter_(1, out.top_indices, out.top_acts)
        return sae.decode(out.top_acts, out.top_indices), codes

    return run


# dictionary_learning: module, trainer and what only this one is told
DICTIONARY_LEARNING = {
    "topk": ("top_k", "TopKTrainer", lambda job: {"k": job["k"]}),
    "batchtopk": ("batch_top_k", "BatchTopKTrainer", lambda job: {"k": job["k"]}),
    "matryoshka": (
        "matryoshka_batch_top_k", "MatryoshkaBatchTopKTrainer",
        lambda job: {"k": job["k"], "group_fractions": [1 / 16, 1 / 16, 1 / 8, 1 / 4, 1 / 2]},
    ),
    "relu": ("standard", "StandardTrainer", lambda job: {}),
    "april": ("standard", "StandardTrainerAprilUpdate", lambda job: {}),
    "gated": ("gdm", "GatedSAETrainer", lambda job: {}),
    "jumprelu": ("jumprelu", "JumpReluTrainer", lambda job: {}),
    "panneal": ("p_anneal", "PAnnealTrainer", lambda job: {"anneal_start": job["steps"] // 2, "p_end": 0.05}),
}  # fmt: skip


def dictionary_learning(job):
    import importlib

    from dictionary_learning.training import trainSAE

    module, name, own = DICTIONARY_LEARNING[job["arch"]]
    trainer = getattr(importlib.import_module(f"dictionary_learning.trainers.{module}"), name)
    penalty = "k" not in own(job)
    kept = []

    class Kept(trainer):
        def __init__(self, **config):
            super().__init__(**config)
            kept.append(self)
            same_start(job, self.ae.parameters())
            if job["arch"] in ("relu", "april", "panneal"):  # else nn.Linear's random ones, by which half the features never fire
                self.ae.encoder.bias.data.zero_()
            if hasattr(self, "dead_feature_threshold"):
                self.dead_feature_threshold = job["dead_tokens"]
            if hasattr(self, "threshold_start_step"):
                self.threshold_start_step = job["warmup"]

    config = dict(
        trainer=Kept, steps=job["steps"], activation_dim=job["d"], dict_size=job["features"], layer=0, lm_name="rows",
        warmup_steps=job["warmup"], seed=job["seed"], device="cpu", **own(job),
    )  # fmt: skip
    config |= {"sparsity_warmup_steps": job["sparsity_warmup"]} if penalty else {}
    trainSAE(Feed(job, job["train"]), [config], steps=job["steps"], normalize_activations=True, device="cpu")
    ae = kept[0].ae

    def run(x):
        codes = ae.encode(x)
        return ae.decode(codes), codes

    return run


# ---- References ----


class Step(torch.autograd.Function):
    """H(z - theta); the threshold's gradient by a rectangle of this width, and the input's too if asked (Rajamanoharan and others 2024)."""

    @staticmethod
    def forward(ctx, z, theta, width, to_input):
        ctx.save_for_backward(z, theta)
        ctx.width, ctx.to_input = width, to_input
        return (z > theta).to(z.dtype)

    @staticmethod
    def backward(ctx, g):
        z, theta = ctx.saved_tensors
        band = ((z - theta).abs() < ctx.width / 2).to(z.dtype) / ctx.width
        return (g * band if ctx.to_input else None), -(g * band).sum(0), None, None


class Jump(torch.autograd.Function):
    """z H(z - theta), likewise."""

    @staticmethod
    def forward(ctx, z, theta, width, to_input):
        ctx.save_for_backward(z, theta)
        ctx.width, ctx.to_input = width, to_input
        return z * (z > theta)

    @staticmethod
    def backward(ctx, g):
        z, theta = ctx.saved_tensors
        band = theta / ctx.width * ((z - theta).abs() < ctx.width / 2)
        return g * (z > theta) + (g * band if ctx.to_input else 0), -(g * band).sum(0), None, None


def unit_rows(w):
    return w / w.norm(dim=1, keepdim=True)


def adam(params, step, lrs, b1, b2, eps, state):
    for i, p in enumerate(params):
        m, v = state.setdefault(i, (torch.zeros_like(p), torch.zeros_like(p)))
        m.mul_(b1).add_(p.grad, alpha=1 - b1)
        v.mul_(b2).addcmul_(p.grad, p.grad, value=1 - b2)
        p.data -= lrs[i] * (m / (1 - b1**step)) / ((v / (1 - b2**step)).sqrt() + eps)
        p.grad = None


def cut(params, norm):
    total = math.sqrt(sum(float(p.grad.square().sum()) for p in params))
    for p in params:
        p.grad *= min(1, norm / total)


def geometric_median(x, rounds=100):
    m = x.mean(0)
    for _ in range(rounds):
        w = 1 / (x - m).norm(dim=1).clamp_min(1e-12)
        last, m = m, (w[:, None] * x).sum(0) / w.sum()
        if (m - last).norm() < 1e-5 * m.norm():
            break
    return m


def reference(job):
    """A recipe of a paper. `r`: what differs between them."""
    r, d, F = job["recipe"], job["d"], job["features"]
    torch.manual_seed(job["seed"])
    torch.set_default_dtype(torch.float64)
    feed = Feed(job, job["train"])
    sample = torch.from_numpy(feed.rows[: min(job["train"], 32768)]).double()
    scale = {"mean-norm": math.sqrt(d) / sample.norm(dim=1).mean(), "mean-square": 1 / sample.square().sum(1).mean().sqrt(), "layer": 1}[r["rows"]]

    def rows(x):
        x = x.double()
        if r["rows"] == "layer":
            x = x - x.mean(1, keepdim=True)
            return x / x.std(1, unbiased=False, keepdim=True).clamp_min(1e-5)
        return x * scale

    if r["start"] == "uniform":  # U(-1/sqrt d, 1/sqrt d), encoder d / F of it transposed (Anthropic 2025)
        W_dec = (torch.rand(F, d) * 2 - 1) / math.sqrt(d)
        W_enc = d / F * W_dec if r.get("shrunk") else W_dec.clone()
    else:
        W_dec = unit_rows(torch.randn(F, d)) * r.get("dec_norm", 1)
        W_enc = W_dec.clone()
    if r["start"] in ("he", "unit"):  # uniform decoder rows with norm 1, encoder their transpose
        W_dec = unit_rows((torch.rand(F, d) * 2 - 1) * math.sqrt(6 / d))
        W_enc = W_dec.clone()
    same_start(job, [W_enc, W_dec])
    b_dec = geometric_median(rows(sample)) if r.get("median") else torch.zeros(d)
    if r["start"] == "openai":  # encoder rows divided by the mean norm of what is rebuilt of random unit vectors
        u = unit_rows(torch.randn(256, d))
        codes = u @ W_enc.T
        top = codes.topk(job["k"], 1)
        made = torch.zeros_like(codes).scatter_(1, top.indices, top.values.relu()) @ W_dec
        W_enc = W_enc / made.norm(dim=1).mean()
    params = [W_enc, torch.zeros(F), W_dec, b_dec]
    log_theta = None
    if r.get("theta"):
        params.append(torch.full((F,), math.log(r["theta"]) if r.get("log") else r["theta"]))
    for p in params:
        p.requires_grad_()
    W_enc, b_enc, W_dec, b_dec = params[:4]
    log_theta = params[4] if len(params) > 4 else None
    if r.get("fire"):  # biases where each feature fires on this share of tokens
        z = (rows(sample[:4096]) - (b_dec if r["centers"] else 0)) @ W_enc.T
        b_enc.data = r["theta"] - z.kthvalue(int((1 - r["fire"]) * len(z)), dim=0).values.detach()
    silent, state = torch.zeros(F), {}

    def theta():
        return log_theta.exp() if r.get("log") else log_theta

    def encode(x, topk=r.get("topk")):
        z = (x - b_dec if r["centers"] else x) @ W_enc.T + b_enc
        if log_theta is not None:
            return z, Jump.apply(z, theta(), r["width"], r.get("to_input", False))
        if topk:
            top = z.topk(job["k"], 1)
            return z, torch.zeros_like(z).scatter(1, top.indices, top.values.relu())
        return z, z.relu()

    for step in range(1, job["steps"] + 1):
        x = rows(next(feed))
        z, f = encode(x)
        e = x - f @ W_dec - b_dec
        norms = W_dec.norm(dim=1)
        dead = silent >= job["dead_tokens"]
        grow = min(1, step / job["sparsity_warmup"])
        if r["loss"] == "l1":
            loss = e.square().sum(1).mean() + grow * r["coef"] * (f * norms).sum(1).mean()
        elif r["loss"] == "l0":
            loss = e.square().sum(1).mean() + grow * r["coef"] * Step.apply(z, theta(), r["width"], False).sum(1).mean()
        elif r["loss"] == "tanh":
            loss = e.square().sum(1).mean() + grow * r["coef"] * torch.tanh(r["tanh"] * f * norms).sum(1).mean()
            if r.get("preact"):
                loss = loss + r["preact"] * ((theta() - z).relu() * norms)[:, dead].sum(1).mean()
        else:  # normalised error and AuxK (Gao and others 2024)
            loss = e.square().mean() / (x - x.mean(0)).square().mean()
            if dead.any():
                k_aux = min(r["k_aux"], int(dead.sum()))
                top = z.masked_fill(~dead, -math.inf).topk(k_aux, 1)
                aux = torch.zeros_like(z).scatter(1, top.indices, top.values.relu()) @ W_dec
                want = e.detach()
                part = (aux - want).square().mean() / (want - want.mean(0)).square().mean()
                loss = loss + r["aux"] * part.nan_to_num(0)
        loss.backward()
        if r.get("unit"):
            W_dec.grad -= (W_dec.grad * W_dec.data).sum(1, keepdim=True) * W_dec.data
        if r.get("clip"):
            cut(params, r["clip"])
        lr = r["lr"]
        if r.get("warmup") == "cosine":  # from a tenth
            t = min(1, step / job["warmup"])
            lr *= 0.1 + 0.9 * (1 - math.cos(math.pi * t)) / 2
        elif r.get("warmup") == "linear":
            lr *= min(1, step / job["warmup"])
        if r.get("decay"):  # over the last share of the steps
            left = (job["steps"] - step) / (r["decay"] * job["steps"])
            lr *= r.get("floor", 0) + (1 - r.get("floor", 0)) * min(1, left)
        adam(params, step, [lr * r.get("theta_lr", 1) if i == 4 else lr for i in range(len(params))], r["b1"], 0.999, r["eps"], state)
        if r.get("unit"):
            W_dec.data = unit_rows(W_dec.data)
        if log_theta is not None and not r.get("log"):
            log_theta.data.clamp_min_(0)
        silent = torch.where((f > r.get("fired", 0)).any(0), 0.0, silent + len(x))

    def run(x):
        y = rows(x)
        with torch.no_grad():
            _, f = encode(y)
            back = f @ W_dec + b_dec
        x = x.double()
        if r["rows"] == "layer":
            mean = x.mean(1, keepdim=True)
            return back * (x - mean).std(1, unbiased=False, keepdim=True) + mean, f
        return back / scale, f

    return run


def train(job):
    torch.set_num_threads(job["threads"])
    of = {"sae-lens": sae_lens, "eai-sparsify": sparsify, "dictionary-learning": dictionary_learning, "reference": reference}
    run = of[job["tool"]](job)
    held = np.load(job["rows"], mmap_mode="r")[job["train"] :]
    mean = torch.from_numpy(held.mean(axis=0, dtype=np.float64))
    error = spread = active = 0.0
    fired = torch.zeros(job["features"], dtype=torch.bool)
    with torch.no_grad():
        for at in range(0, len(held), 1024):
            x = torch.from_numpy(held[at : at + 1024])
            y, codes = run(x)
            error += float((x.double() - y.double()).square().sum())
            spread += float((x.double() - mean).square().sum())
            active += float((codes != 0).sum())
            fired |= (codes != 0).any(dim=0)
    return {"fvu": error / spread, "l0": active / len(held), "n_dead": int((~fired).sum())}


if __name__ == "__main__":
    work = json.loads(sys.argv[1])
    print(json.dumps({"prepare": prepare, "directions": directions, "train": train}[work["do"]](work)))
