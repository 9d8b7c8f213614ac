"""The jobs of peers.py, each a process of its own inside the virtual environment: peers_jobs.py JOB-AS-JSON

The last line of the output is the answer as JSON.
"""
import json
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from feed import Batches, Feed, RowModel


def prepare_rows(job):
    """Write the rows that count, scaled to a mean norm of sqrt(d), as F32 that every peer maps: rows.npy, mean.npy."""
    shards = sorted(Path(job["data"]).glob("*.safetensors"))
    # one shard in memory at a time, read twice; shards without activations are something else (an unembedding, say)
    tensors = lambda: (t["activations"] for t in map(load_file, shards) if "activations" in t)
    norms = [torch.linalg.vector_norm(t.float(), dim=1) for t in tensors()]
    if not norms:
        raise SystemExit(f"no tensor 'activations' in {job['data']}/*.safetensors")
    every = torch.cat(norms)
    limit = job["max_norm_ratio"] * float(np.median(every[torch.isfinite(every)].numpy()))
    kept = [torch.isfinite(n) & (n <= limit) for n in norms]
    n_kept = int(sum(k.sum() for k in kept))
    n_train = n_kept - int(job["holdout"] * n_kept)
    scale, rows, at = None, None, 0
    for t, keep in zip(tensors(), kept):
        if rows is None:
            d = t.shape[1]
            scale = d**0.5 / float(every[torch.cat(kept)][:n_train].double().mean())
            rows = np.lib.format.open_memmap(job["rows"], "w+", np.float32, (n_kept, d))
        part = t[keep].float() * scale
        rows[at : at + len(part)] = part.numpy()
        at += len(part)
    rows.flush()
    np.save(job["mean"], rows[:n_train].mean(axis=0, dtype=np.float64).astype(np.float32))
    return {"all": len(every), "kept": n_kept, "train": n_train, "held_out": n_kept - n_train, "d": d, "scale": scale}


def train_sae_lens(job, feed):
    """SAELens: SAETrainer.fit(). b_dec starts at the mean (its own start is 0); decoder norms are folded as it does at saving."""
    from sae_lens.config import SAETrainerConfig
    from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig
    from sae_lens.training.sae_trainer import SAETrainer

    torch.manual_seed(job["seed"])
    sae = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=job["d"], d_sae=job["features"], k=job["k"]))
    sae.b_dec.data = torch.from_numpy(np.load(job["mean"]))
    samples = job["steps"] * job["batch"]
    cfg = SAETrainerConfig(samples, train_batch_size_samples=job["batch"], lr=job["lr"], lr_end=job["lr"])
    SAETrainer(cfg, sae, data_provider=feed).fit()
    feed.asked.append(time.perf_counter())
    sae.fold_W_dec_norm()
    return {"W_enc": sae.W_enc.T, "b_enc": sae.b_enc, "W_dec": sae.W_dec, "b_dec": sae.b_dec}


def train_eai_sparsify(job, feed):
    """sparsify: Trainer.fit() on a 'model' whose one module hands it the rows that the token ids name. Adam at a constant rate."""
    from sparsify import SparseCoderConfig, TrainConfig, Trainer

    cfg = TrainConfig(
        SparseCoderConfig(num_latents=job["features"], k=job["k"]), batch_size=1, optimizer="adam", lr=job["lr"],
        lr_warmup_steps=0, hookpoints=["rows"], init_seeds=[job["seed"]], save_every=job["steps"] + 2, log_to_wandb=False,
    )  # fmt: skip
    trainer = Trainer(cfg, Batches(job, feed), RowModel(feed))
    trainer.lr_schedulers.clear()  # its schedule falls to 0; here the rate is constant
    trainer.save = lambda: None  # would write the optimiser's state too
    trainer.fit()
    feed.asked.append(time.perf_counter())
    sae = trainer.saes["rows"]
    return {"W_enc": sae.encoder.weight, "b_enc": sae.encoder.bias, "W_dec": sae.W_dec, "b_dec": sae.b_dec}


# dictionary_learning: module, trainer and what only this one is told
DICTIONARY_LEARNING = {
    "topk": ("top_k", "TopKTrainer", lambda job: {"k": job["k"]}),
    "batchtopk": ("batch_top_k", "BatchTopKTrainer", lambda job: {"k": job["k"]}),
    "matryoshka": (
        "matryoshka_batch_top_k", "MatryoshkaBatchTopKTrainer",
        lambda job: {"k": job["k"], "group_fractions": [1 / 16, 1 / 16, 1 / 8, 1 / 4, 1 / 2]},
    ),
    "relu": ("standard", "StandardTrainer", lambda job: {"sparsity_warmup_steps": None}),
    "gated": ("gdm", "GatedSAETrainer", lambda job: {"sparsity_warmup_steps": None}),
    "jumprelu": ("jumprelu", "JumpReluTrainer", lambda job: {"sparsity_warmup_steps": None, "target_l0": job["k"]}),
}  # fmt: skip


def train_dictionary_learning(job, feed):
    """dictionary_learning: trainSAE() with its trainer for the architecture."""
    import importlib

    from dictionary_learning.training import trainSAE

    module, trainer, own = DICTIONARY_LEARNING[job["arch"]]
    trainer = getattr(importlib.import_module(f"dictionary_learning.trainers.{module}"), trainer)
    folder = Path(job["weights"]).with_suffix(".folder")
    config = dict(
        trainer=trainer, steps=job["steps"], activation_dim=job["d"], dict_size=job["features"], layer=0,
        lm_name="rows", lr=job["lr"], warmup_steps=0, seed=job["seed"], device="cpu", **own(job),
    )  # fmt: skip
    trainSAE(feed, [config], steps=job["steps"], save_dir=str(folder), device="cpu")
    state = torch.load(folder / "trainer_0" / "ae.pt")
    shutil.rmtree(folder)
    if "W_enc" in state:
        return {name: w.T if name == "W_enc" else w for name, w in state.items() if name in ("W_enc", "b_enc", "W_dec", "b_dec")}
    of = lambda *names: next(state[name] for name in names if name in state)
    return {
        "W_enc": state["encoder.weight"], "b_enc": of("encoder.bias", "mag_bias"), "W_dec": state["decoder.weight"].T,
        "b_dec": of("b_dec", "bias", "decoder_bias"),
    }  # fmt: skip


def train_peer(job):
    torch.set_num_threads(job["threads"])
    feed = Feed(job, job["n_train"])
    train = {"sae-lens": train_sae_lens, "eai-sparsify": train_eai_sparsify, "dictionary-learning": train_dictionary_learning}
    weights = train[job["tool"]](job, feed)
    save_file({name: w.detach().contiguous() for name, w in weights.items()}, job["weights"])
    asked = feed.asked[: job["steps"] + 1]
    kernels = f"torch {torch.backends.cpu.get_cpu_capability().lower()}" + "+MKL" * torch.backends.mkl.is_available()
    return {"seconds": [b - a for a, b in zip(asked, asked[1:])], "kernels": kernels}


def measure(job):
    """Held-out FVU of any tool's weights: sum of squared error / sum of squared distance from the held-out mean."""
    torch.set_num_threads(job["threads"])
    w = load_file(job["weights"])
    if job["tool"] == "gloss":  # SAELens's folder, meant for rows as they are in the dump: (d, F) encoder
        w["W_enc"] = w["W_enc"].T.contiguous()
    held = np.load(job["rows"], mmap_mode="r")[job["n_train"] :]
    unscale = np.float32(1 / job["scale"] if job["tool"] == "gloss" else 1)
    mean = torch.from_numpy(held.mean(axis=0, dtype=np.float64)) * float(unscale)
    error = spread = active = 0.0
    fired = torch.zeros(len(w["b_enc"]), dtype=torch.bool)
    for at in range(0, len(held), 1024):
        x = torch.from_numpy(held[at : at + 1024] * unscale)
        values, ids = ((x - w["b_dec"]) @ w["W_enc"].T + w["b_enc"]).relu().topk(job["k"], dim=1)
        codes = torch.zeros(len(x), len(fired)).scatter_(1, ids, values)
        error += float((x - w["b_dec"] - codes @ w["W_dec"]).double().square().sum())
        spread += float((x.double() - mean).square().sum())
        active += float((codes > 0).sum())
        fired |= (codes > 0).any(dim=0)
    return {"fvu": error / spread, "l0": active / len(held), "silent": 1 - float(fired.float().mean())}


if __name__ == "__main__":
    work = json.loads(sys.argv[1])
    print(json.dumps({"rows": prepare_rows, "train": train_peer, "measure": measure}[work["do"]](work)))
