"""What interop.py runs inside the virtual environment: DUMP WORK BUILD ROWS FEATURES TOOL..."""
import json
import logging
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

LIMIT = 1e-4
D_OUT = 77  # of transcoders whose output is another size
K_KINDS = ("topk", "batchtopk", "groupmax", "matryoshka")


class Case:
    """An SAE as a tool has it: `sae` with encode(x) -> (n, F) and decode(f, x) -> (n, d_out)."""

    def __init__(self, tool, name, save, load, target, threshold=None, trained=None, options="", rows="rows"):
        self.tool, self.name, self.save, self.load, self.target, self.threshold = tool, name, save, load, target, threshold
        self.trained, self.options = trained, options.split()  # by Gloss, with this architecture and these options
        self.rows = rows  # what it is given


def trained(tool, load, target, arch, what="", options="", rows="rows"):
    return Case(tool, f"gloss train, {arch}{what}", None, load, target, None, arch, options, rows)


def run(*line):
    out = subprocess.run(list(map(str, line)), capture_output=True, text=True)
    if out.returncode:
        raise RuntimeError(out.stderr.strip().splitlines()[-1])
    return out.stdout


class Bench:
    def __init__(self, dump, work, build, rows, features):
        self.work, self.build, self.f = Path(work), Path(build), features
        torch.manual_seed(0)
        torch.set_num_threads(2)
        self.dump, self.bad = dump, 0
        print(f"{'tool':19} {'architecture':30} {'dir':4} {'L0':>6} {'error':>8} {'hat':>8} {'swaps':>6} {'gap':>8}")
        self.x = self.real_rows(rows)
        self.d = self.x.shape[1]
        self.weights()
        # targets that are no linear map of the rows, and a second input
        self.y, self.narrow = (self.x / self.x.std()).tanh() @ self.square_skip.T, self.x.relu() @ self.skip.T
        for name in ("y", "narrow"):
            save_file({"activations": getattr(self, name)}, self.work / f"{name}.safetensors")
        self.inputs = {"rows": self.x, "both": torch.cat([self.x, self.y], 1)}
        for name, rows in self.inputs.items():
            save_file({"activations": rows}, self.work / f"{name}.safetensors")

    def real_rows(self, n):
        """The first rows of the dump of no massive norm."""
        shards = sorted(Path(self.dump).glob("*.safetensors")) if Path(self.dump).is_dir() else [Path(self.dump)]
        tensors = (load_file(s) for s in shards)
        x = next(t["activations"] for t in tensors if "activations" in t).float()
        x = x.reshape(-1, x.shape[-1])
        norm = x.norm(dim=1)
        return x[norm < 10 * norm.median()][:n].contiguous()

    def weights(self):
        f, d, x = self.f, self.d, self.x
        self.mean = x.mean(0)
        centred = x - self.mean
        pick = torch.randint(len(x), (f,))
        dec = centred[pick] + centred.norm(dim=1).mean() / d**0.5 * torch.randn(f, d)
        self.dec = dec / dec.norm(dim=1, keepdim=True)
        self.enc = self.dec + 0.1 * torch.randn(f, d) / d**0.5  # (F, d)
        pre = centred @ self.enc.T
        self.b_enc = -pre.quantile(0.9, dim=0)  # about a tenth of the rows, or 100 features a row
        self.threshold = 0.2 * pre.std(dim=0) * (1 + torch.rand(f))
        self.to = torch.randn(f, D_OUT) / D_OUT**0.5
        self.b_to = torch.randn(D_OUT)
        self.skip = torch.randn(D_OUT, d) / d
        self.square_skip = torch.randn(d, d) / d

    def ours(self, case, folder):
        out = self.work / "codes.safetensors"
        run(self.build / "bench_codes", folder, self.work / f"{case.rows}.safetensors", out, len(self.x))
        t = load_file(out)
        dense = torch.zeros(len(self.x), self.f)
        row = torch.repeat_interleave(torch.arange(len(self.x)), t["first"].diff())
        index = t["index"].long()
        dense[row, index % self.f] = torch.where(index < self.f, t["value"], -t["value"])  # an abstopk's other half
        return dense, t["hat"]

    def compare(self, tool, name, direction, ours, theirs, edge):
        """edge: threshold (F), None for the smallest kept value of a row, or k for the largest of each of k groups."""
        (a, a_hat), (b, b_hat) = ours, theirs
        swapped, both = (a != 0) != (b != 0), (a != 0) & (b != 0)
        top = b.abs().amax(1)
        top = top.clamp(min=max(0.01 * top.median().item(), 1e-30))
        error = (((a - b).abs() * both).amax(1) / top).max().item()
        if isinstance(edge, int):
            limit = b.unflatten(1, (edge, -1)).amax(2, keepdim=True).expand(-1, -1, self.f // edge).flatten(1)
        else:
            limit = edge[None] if edge is not None else torch.where(both, b, torch.inf).amin(1, keepdim=True)
        gap = torch.where(swapped, (torch.maximum(a, b) - limit).clamp(min=0) / top[:, None], 0.0).max().item()
        whole = ~swapped.any(1)
        hat = ((a_hat - b_hat).norm(dim=1) / b_hat.norm(dim=1).clamp(min=1e-30))[whole].max().item()
        l0 = (b != 0).sum(1).float().mean().item()
        good = error <= LIMIT and gap <= LIMIT and hat <= LIMIT and 0 < l0
        self.bad += not good
        print(
            f"{tool:19} {name:30} {direction:4} {l0:6.1f} {error:8.1e} {hat:8.1e} {int(swapped.sum()):6} {gap:8.1e}"
            f"{'' if good else '  DIFFERS'}",
            flush=True,
        )

    def theirs(self, case, folder):
        sae, x = case.load(folder), self.inputs[case.rows]
        with torch.inference_mode():
            f = sae.encode(x)
            return f, sae.decode(f, x)

    def train(self, case, folder):
        rows, arch = self.work / "rows.safetensors", case.trained
        size = ["--features", self.f] + (["--k", 44 if self.f % 44 == 0 else 1] if arch in K_KINDS else ["--target-l0", 32])
        options = [self.work / f"{o}.safetensors" if o in ("y", "narrow") else o for o in case.options]
        run(self.build / "gloss", "train", rows, "-o", folder, "--arch", arch, *size, *options, *"--batch 250 --steps 40 --holdout 0".split())

    def edge(self, arch, folder):
        """compare()'s, of an SAE that Gloss trained."""
        if arch == "groupmax":
            return 44 if self.f % 44 == 0 else 1
        weights = load_file(folder / "sae_weights.safetensors")
        return weights.get("threshold", torch.zeros(self.f) if arch in ("relu", "panneal") else None)

    def case(self, case):
        folder, back = self.work / "theirs", self.work / "back"
        for old in (folder, back):
            subprocess.run(["rm", "-rf", old])
        try:
            if case.trained:
                self.train(case, folder)
            else:
                case.save(folder)
                self.compare(case.tool, case.name, "in", self.ours(case, folder), self.theirs(case, folder), case.threshold)
            if case.target is None:
                return
            run(self.build / "gloss", "export", folder, "--to", case.target, "-o", back)
            theirs, edge = self.theirs(case, back), case.threshold
            if case.trained:
                edge = self.edge(case.trained, folder)
            self.compare(case.tool, case.name, "out", self.ours(case, folder), theirs, edge)
        except Exception as e:  # a line of the table, and the rest goes on
            self.bad += 1
            print(f"{case.tool:19} {case.name:30} FAILED: {e}", flush=True)


class Loaded:
    def __init__(self, encode, decode):
        self.encode, self.decode = encode, decode


# ---- sae-lens


def sae_lens_cases(b):
    from sae_lens import SAE, TrainingSAE

    logging.disable(logging.WARNING)
    values = {"W_enc": b.enc.T, "W_dec": b.dec, "b_enc": b.b_enc, "b_dec": b.mean, "threshold": b.threshold}
    values |= {"b_mag": b.b_enc, "b_gate": b.b_enc + 0.2 * b.b_enc.std(), "r_mag": 0.3 * torch.rand(b.f) - 0.1}
    values |= {"W_skip": b.skip, "topk_threshold": b.threshold.mean().double()}

    def fill(sae, change):
        for name, tensor in sae.state_dict().items():
            value = change.get(name, values[name])
            if tensor.dim() and value.shape != tensor.shape and name in ("W_dec", "b_dec"):
                value = b.to if name == "W_dec" else b.b_to
            tensor.copy_(value)
        return sae

    def load(folder):
        sae = SAE.load_from_disk(folder)
        skip = getattr(sae, "W_skip", None)

        def decode(f, x):
            out = sae.decode(f)  # also undoes the normalisation that encode() did
            return out if skip is None else out + x @ skip.T

        return Loaded(sae.encode, decode)

    def load_training(folder):
        config = json.loads((folder / "cfg.json").read_text())
        if config["architecture"] == "jumprelu":
            return load(folder)
        sae = TrainingSAE.from_dict(config)
        sae.load_weights_from_checkpoint(folder)
        limit = sae.topk_threshold.item()
        norm = sae.W_dec.norm(dim=1) if sae.cfg.rescale_acts_by_decoder_norm else torch.ones(b.f)

        def encode(x):  # as the jumprelu that SAELens saves at the end of a run
            pre = ((x - sae.b_dec) @ sae.W_enc + sae.b_enc) * norm
            return torch.where(pre > limit, pre.relu(), 0)

        return Loaded(encode, lambda f, x: f / norm @ sae.W_dec + sae.b_dec)

    def case(name, config, change={}, label=None, threshold=None, training=False, target="saelens"):
        config = {"architecture": name, "d_in": b.d, "d_sae": b.f, **config}

        def save(folder):
            with torch.no_grad():
                if training:
                    fill(TrainingSAE.from_dict(config), change).save_model(folder)
                else:
                    fill(SAE.from_dict(config), change).save_model(folder)

        return Case("sae-lens", label or name, save, load_training if training else load, target, threshold)

    off = {"apply_b_dec_to_input": False, "d_out": D_OUT}
    zero = torch.zeros(b.f)
    no_bias = {"b_enc": zero}
    yield case("standard", {}, threshold=zero)
    yield case("standard", {"apply_b_dec_to_input": False}, label="standard, b_dec not taken off", threshold=zero)
    yield case("topk", {"k": 32}, no_bias)
    yield case("topk", {"k": 1}, no_bias, label="topk, k 1")
    yield case("topk", {"k": 32, "normalize_activations": "layer_norm"}, no_bias | {"b_dec": 0 * b.mean}, "topk, layer norm")
    yield case("topk", {"k": 32, "normalize_activations": "constant_norm_rescale"}, no_bias, "topk, constant norm")
    long = {"W_dec": b.dec * (0.5 + torch.rand(b.f, 1))}
    yield case("topk", {"k": 32, "rescale_acts_by_decoder_norm": True}, no_bias | long, "topk, decoder norms")
    yield case("abstopk", {"k": 32}, no_bias, target=None)  # out, it is a topk of 2 F
    yield case("jumprelu", {}, threshold=b.threshold)
    e = values["r_mag"].exp()
    gate = (values["b_mag"] - e * values["b_gate"]).clamp(min=0)
    yield case("gated", {}, threshold=gate)
    yield case("gated", {}, label="gated as gated", threshold=gate, target="saelens-gated")
    small = {"b_dec": 0 * b.mean, "b_mag": -torch.rand(b.f), "b_gate": -1 - torch.rand(b.f)}
    limit = (small["b_mag"] - e * small["b_gate"]).clamp(min=0)
    for norm in ("layer_norm", "constant_norm_rescale"):
        yield case("gated", {"normalize_activations": norm}, small, f"gated as gated, {norm[:13]}", limit, target="saelens-gated")
    yield case("jumprelu", {}, label="jumprelu as gated", threshold=b.threshold, target="saelens-gated")
    limit = values["topk_threshold"].float() + zero
    yield case("batchtopk", {"k": 32}, no_bias, "batchtopk checkpoint", limit, True)
    widths = {"k": 32, "matryoshka_widths": [b.f // 5, b.f // 2]}
    yield case("matryoshka_batchtopk", widths, no_bias | long, "matryoshka checkpoint", limit, True)
    yield case("matching_pursuit", {"max_iterations": 40, "residual_threshold": 60.0})
    yield case("transcoder", off, {"b_enc": b.b_enc - b.enc @ b.mean}, threshold=zero)
    yield case("skip_transcoder", off, {"b_enc": b.b_enc - b.enc @ b.mean}, threshold=zero)
    yield case("jumprelu_transcoder", off, {"b_enc": b.b_enc - b.enc @ b.mean}, threshold=b.threshold)
    yield case("jumprelu_skip_transcoder", off, {"b_enc": b.b_enc - b.enc @ b.mean}, threshold=b.threshold)
    yield from gemma_cases(b)
    for arch in ("topk", "batchtopk", "matryoshka", "relu", "gated", "jumprelu"):
        yield trained("sae-lens", load, "saelens", arch)
    yield trained("sae-lens", load, "saelens-gated", "gated", " as gated")
    for norm in ("layer", "whiten"):
        yield trained("sae-lens", load, "saelens-gated", "gated", f" as gated, {norm}", f"--normalize {norm}")
    for arch in ("relu", "panneal", "gated", "jumprelu", "batchtopk", "matryoshka"):
        yield trained("sae-lens", load, "saelens", arch, " transcoder", "--target narrow")
        yield trained("sae-lens", load, "saelens", arch, " skip", "--target narrow --skip")


def gemma_cases(b):
    """Gemma Scope's two formats, by the loaders that sae-lens has for them (without the hub, and without its list of models)."""
    import numpy
    from sae_lens import SAE
    from sae_lens.loading import pretrained_sae_loaders as loaders

    tensors = {"w_enc": b.enc.T, "w_dec": b.dec, "b_enc": b.b_enc - b.enc @ b.mean, "b_dec": b.mean, "threshold": b.threshold}

    def load(loader, config, function):
        def by_loader(folder):
            loaders.hf_hub_download = lambda repo_id, filename, **rest: str(folder / filename)
            setattr(loaders, config, lambda *rest, **more: {"finetuning_scaling_factor": False})
            _, state, _ = getattr(loaders, loader)("repo", "layer_5")
            with torch.device("cpu"):
                sae = SAE.from_dict({"architecture": function, "d_in": b.d, "d_sae": b.f, "d_out": D_OUT, "apply_b_dec_to_input": False})
            sae.load_state_dict(state, assign=True)
            skip = state.get("W_skip")
            return Loaded(sae.encode, lambda f, x: sae.decode(f) if skip is None else sae.decode(f) + x @ skip.T)

        return by_loader

    def save_npz(folder):
        folder.mkdir()
        numpy.savez(folder / "params.npz", **{k.replace("w_", "W_"): v.numpy() for k, v in tensors.items()})

    def save(folder, to=None):
        folder.mkdir()
        config = {"architecture": "jump_relu", "hf_hook_point_in": "a", "hf_hook_point_out": "b" if to else "a"}
        (folder / "config.json").write_text(json.dumps(config | {"affine_connection": bool(to)}))
        save_file({k: v.contiguous() for k, v in (tensors | (to or {})).items()}, folder / "params.safetensors")

    to = {"w_dec": b.to, "b_dec": b.b_to, "affine_skip_connection": b.skip.T}
    one = load("gemma_2_sae_huggingface_loader", "get_gemma_2_config_from_hf", "jumprelu")
    two = load("gemma_3_sae_huggingface_loader", "get_gemma_3_config_from_hf", "jumprelu")
    skip = load("gemma_3_sae_huggingface_loader", "get_gemma_3_config_from_hf", "jumprelu_skip_transcoder")
    yield llama_scope_case(b, loaders)
    yield Case("sae-lens", "Gemma Scope", save_npz, one, "gemma-scope", b.threshold)
    yield Case("sae-lens", "Gemma Scope 2", save, two, "gemma-scope-2", b.threshold)
    yield trained("sae-lens", skip, "gemma-scope-2", "jumprelu", ", Gemma 2", "--target narrow --skip")
    yield Case("sae-lens", "Gemma Scope 2 transcoder", lambda f: save(f, to), skip, "gemma-scope-2", b.threshold)


def llama_scope_case(b, loaders):
    """Llama Scope (unit decoder rows), by sae-lens's loader and what its from_pretrained() does after it."""
    from sae_lens import SAE

    in_, limit = b.x.norm(dim=1).mean().item(), b.threshold.mean().item()
    scale = b.d**0.5 / in_

    def save(folder):
        (folder / "checkpoints").mkdir(parents=True)
        config = {"d_model": b.d, "d_sae": b.f, "act_fn": "jumprelu", "jump_relu_threshold": limit, "norm_activation": "dataset-wise"}
        config |= {"dataset_average_activation_norm": {"in": in_, "out": in_}, "sparsity_include_decoder_norm": True}
        config |= {"hook_point_in": "blocks.5.hook_resid_post", "hook_point_out": "blocks.5.hook_resid_post", "use_decoder_bias": True}
        (folder / "hyperparams.json").write_text(json.dumps(config | {"apply_decoder_bias_to_pre_encoder": False}))
        bias = (b.b_enc - b.enc @ b.mean) * scale
        tensors = {"encoder.weight": b.enc, "encoder.bias": bias, "decoder.weight": b.dec.T, "decoder.bias": b.mean * scale}
        save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "checkpoints/final.safetensors")

    def load(folder):
        loaders.hf_hub_download = lambda repo_id, filename, subfolder="", **rest: str(folder / Path(subfolder).name / filename.removeprefix("layer/"))
        config, state, _ = loaders.llama_scope_sae_huggingface_loader("repo", "layer", cfg_overrides={"dtype": "float32"})
        sae = SAE.from_dict({"architecture": "jumprelu", "d_in": b.d, "d_sae": b.f, "apply_b_dec_to_input": False})
        sae.load_state_dict(state, assign=True)
        sae.fold_activation_norm_scaling_factor(b.d**0.5 / in_)
        return Loaded(sae.encode, lambda f, x: sae.decode(f))

    return Case("sae-lens", "Llama Scope", save, load, None, scale * limit + torch.zeros(b.f))


# ---- eai-sparsify


def sparsify_cases(b):
    from sparsify import SparseCoder, SparseCoderConfig

    def load(folder):
        sae = SparseCoder.load_from_disk(folder)
        assert sae.num_latents == b.f

        def encode(x):
            top = sae.encode(x)
            return torch.zeros(len(x), b.f).scatter_(1, top.top_indices, top.top_acts)

        def decode(f, x):
            out = f @ sae.W_dec + sae.b_dec
            return out if sae.W_skip is None else out + x @ sae.W_skip.mT

        return Loaded(encode, decode)

    def case(name, **config):
        cfg = SparseCoderConfig(num_latents=b.f, **config)

        def save(folder):
            sae = SparseCoder(b.d, cfg)
            with torch.no_grad():
                sae.encoder.weight.copy_(b.enc)
                sae.encoder.bias.copy_(-b.enc @ b.mean if cfg.transcode else torch.zeros(b.f))
                sae.W_dec.copy_(b.dec)
                sae.b_dec.copy_(b.mean)
                if sae.W_skip is not None:
                    sae.W_skip.copy_(b.square_skip)
            sae.save_to_disk(folder)

        return Case("eai-sparsify", name, save, load, "sparsify")

    yield case("topk", k=32)
    yield case("topk, k 1", k=1)
    yield case("groupmax", k=44, activation="groupmax") if b.f % 44 == 0 else case("groupmax", k=1, activation="groupmax")
    yield case("topk skip", k=32, skip_connection=True)
    yield case("topk transcoder", k=32, transcode=True)
    yield case("topk skip transcoder", k=32, transcode=True, skip_connection=True)
    for arch in ("topk", "groupmax"):
        yield trained("eai-sparsify", load, "sparsify", arch)
        yield trained("eai-sparsify", load, "sparsify", arch, " transcoder", "--target y")
        yield trained("eai-sparsify", load, "sparsify", arch, " skip transcoder", "--target y --skip")


# ---- dictionary-learning


def dictionary_learning_cases(b):
    from dictionary_learning import dictionary as dl
    from dictionary_learning.trainers.batch_top_k import BatchTopKSAE
    from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKSAE
    from dictionary_learning.trainers.top_k import AutoEncoderTopK
    from dictionary_learning.utils import load_dictionary

    limit = b.threshold.mean()
    values = {"bias": b.mean, "b_dec": b.mean, "decoder_bias": b.mean, "decoder.bias": b.mean}
    values |= {"encoder.weight": b.enc, "decoder.weight": b.dec.T, "W_enc": b.enc.T, "W_dec": b.dec}
    values |= {"encoder.bias": b.b_enc, "b_enc": b.b_enc, "threshold": limit, "k": torch.tensor(32)}
    values |= {"r_mag": 0.3 * torch.rand(b.f) - 0.1, "mag_bias": b.b_enc, "gate_bias": b.b_enc + 0.2 * b.b_enc.std()}
    groups = [b.f // 4, b.f // 4, b.f - 2 * (b.f // 4)]
    values["group_sizes"] = torch.tensor(groups)

    def load(folder):
        sae, _ = load_dictionary(str(folder), "cpu")
        return Loaded(sae.encode, lambda f, x: sae.decode(f))

    def case(name, make, change={}, threshold=None):
        def save(folder):
            sae = make()
            with torch.no_grad():
                for key, tensor in sae.state_dict().items():
                    tensor.copy_(change.get(key, values[key]))
            folder.mkdir()
            torch.save(sae.state_dict(), folder / "ae.pt")
            trainer = {"dict_class": name, "activation_dim": b.d, "dict_size": b.f, "k": 32, "layer": 15, "lm_name": "m"}
            (folder / "config.json").write_text(json.dumps({"trainer": trainer, "buffer": {"ctx_len": 128}}))

        return Case("dictionary-learning", name, save, load, "dictionary-learning", threshold)

    zero = torch.zeros(b.f)
    none = {"encoder.bias": zero, "b_enc": zero}
    apart = {"b_enc": b.b_enc - b.enc @ b.mean, "threshold": b.threshold, "encoder.bias": b.b_enc - b.enc @ b.mean}
    e = values["r_mag"].exp()
    yield case("AutoEncoder", lambda: dl.AutoEncoder(b.d, b.f), threshold=zero)
    yield case("AutoEncoderNew", lambda: dl.AutoEncoderNew(b.d, b.f), apart, zero)
    gate = (values["mag_bias"] - e * values["gate_bias"]).clamp(min=0)
    yield case("GatedAutoEncoder", lambda: dl.GatedAutoEncoder(b.d, b.f), threshold=gate)
    yield case("AutoEncoderTopK", lambda: AutoEncoderTopK(b.d, b.f, 32), none)
    yield case("BatchTopKSAE", lambda: BatchTopKSAE(b.d, b.f, 32), none, limit + zero)
    yield case("MatryoshkaBatchTopKSAE", lambda: MatryoshkaBatchTopKSAE(b.d, b.f, 32, groups), none, limit + zero)
    yield case("JumpReluAutoEncoder", lambda: dl.JumpReluAutoEncoder(b.d, b.f), apart, b.threshold)


# ---- llamascopium (OpenMOSS; formerly lm-saes)


def llamascopium_cases(b):
    """What its model gives for raw rows: normalised as its trainer does before encode(), and back behind decode()."""
    from llamascopium import SAEConfig, SparseAutoEncoder, SparseDictionary

    norms = {"a": b.x.norm(dim=1).mean().item(), "b": 0.5 * b.x.norm(dim=1).mean().item()}

    def load(folder):
        sae = SparseDictionary.from_pretrained(str(folder))
        to = sae.cfg.hook_point_out
        if sae.cfg.norm_activation == "dataset-wise":
            saved = load_file(folder / "sae_weights.safetensors")
            sae.set_dataset_average_activation_norm({h: saved[f"dataset_average_activation_norm.{h}"].item() for h in {"a", to}})

        def factor(x, hook):
            return sae.compute_norm_factor(x, hook)

        def encode(x):
            f = sae.encode(x * factor(x, sae.cfg.hook_point_in))
            if sae.cfg.act_fn == "topk" and sae.cfg.sparsity_include_decoder_norm:  # in Gloss the values have the norms of raw rows
                f = f * sae.decoder_norm() / factor(x, to)
            return f

        def decode(f, x):
            plain = sae.encode(x * factor(x, sae.cfg.hook_point_in))
            return sae.decode(plain) / factor(x, to)

        return Loaded(encode, decode)

    def case(name, act_fn="relu", change={}, threshold=None, norm="inference", by_norm=False, to="a"):
        scale = b.d**0.5 / norms["a"] if norm != "inference" else 1.0
        values = {"W_E": b.enc.T / scale, "W_D": b.dec, "b_E": b.b_enc - b.enc @ b.mean, "b_D": b.mean}
        values |= {"activation_function.log_jumprelu_threshold": b.threshold.log()} | change

        def save(folder):
            cfg = SAEConfig(
                sae_type="sae", hook_point_in="a", hook_point_out=to, d_model=b.d, expansion_factor=b.f / b.d, act_fn=act_fn, top_k=32,
                norm_activation=norm, sparsity_include_decoder_norm=by_norm, use_decoder_bias="b_D" in values,
            )  # fmt: skip
            assert cfg.d_sae == b.f
            sae = SparseAutoEncoder(cfg)
            with torch.no_grad():
                for key, tensor in sae.state_dict().items():
                    tensor.copy_(values[key])
            if norm == "dataset-wise":
                sae.set_dataset_average_activation_norm({h: norms[h] for h in {"a", to}})
            sae.save_pretrained(folder)
            cfg.save_hyperparameters(folder)

        return Case("llamascopium", name, save, load, "openmoss", threshold)

    zero = torch.zeros(b.f)
    long = {"W_D": b.dec * (0.5 + torch.rand(b.f, 1))}
    limit = b.threshold / long["W_D"].norm(dim=1)
    yield case("relu", threshold=zero)
    yield case("relu, dataset-wise", norm="dataset-wise", threshold=zero)
    yield case("relu transcoder, dataset-wise", norm="dataset-wise", to="b", threshold=zero)
    yield case("topk", "topk")
    yield case("topk, decoder norms", "topk", long, by_norm=True)
    yield case("topk, norms, dataset-wise", "topk", long, by_norm=True, norm="dataset-wise")
    yield case("topk, token-wise", "topk", norm="token-wise")
    yield case("jumprelu", "jumprelu", threshold=b.threshold)
    yield case("jumprelu, decoder norms", "jumprelu", long, limit, by_norm=True)
    yield case("jumprelu, norms, dataset-wise", "jumprelu", long, limit, by_norm=True, norm="dataset-wise")
    yield trained("llamascopium", load, "openmoss", "batchtopk")
    for arch in ("relu", "topk", "jumprelu"):
        yield trained("llamascopium", load, "openmoss", arch, " transcoder", "--target y")

    def load_cross(folder):
        sae = SparseDictionary.from_pretrained(str(folder))
        apart = lambda x: x.unflatten(1, (2, b.d))

        def encode(x):
            f = sae.encode(apart(x))
            assert torch.allclose(f[:, 0], f[:, 1], rtol=1e-4)
            return f[:, 0]

        return Loaded(encode, lambda f, x: sae.decode(f[:, None].expand(-1, 2, -1)).flatten(1))

    yield trained("llamascopium", load_cross, "openmoss", "relu", " crosscoder", "--cross y", "both")


CASES = {"sae-lens": sae_lens_cases, "eai-sparsify": sparsify_cases, "dictionary-learning": dictionary_learning_cases, "llamascopium": llamascopium_cases}


def main():
    dump, work, build, rows, features = sys.argv[1:6]
    b = Bench(dump, work, build, int(rows), int(features))
    for tool in sys.argv[6:]:
        for case in CASES[tool](b):
            b.case(case)
    print(f"{len(b.x)} rows of {b.d}, F {b.f}: " + ("all agree" if not b.bad else f"{b.bad} lines DIFFER or failed"))
    return b.bad > 0


if __name__ == "__main__":
    sys.exit(main())
