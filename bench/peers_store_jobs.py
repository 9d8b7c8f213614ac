"""The jobs of peers_store.py, each a process of its own inside a virtual environment: peers_store_jobs.py JOB-AS-JSON

The last line of the output is the answer as JSON. No model runs: each peer is handed a stub in its place, which gives back the
activations of the dump. They are in memory before the clock starts, and the stub's own time is in the answer.
"""
import codecs
import json
import sys
import time
import types
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

HOOK = "blocks.15.hook_resid_post"  # a name that SAEDashboard takes for a place in the residual stream


def load_rows(job):
    """(contexts, length, d) activations as F32, (contexts, length) token ids."""
    return torch.from_numpy(np.load(job["rows"])), torch.from_numpy(np.load(job["tokens"]))


def load_tokenizer(job):
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_file=job["tokenizer"])


def canonical(tokens):
    """For each context the first one of equal tokens."""
    first = {}
    return np.array([first.setdefault(t.tobytes(), i) for i, t in enumerate(tokens.numpy())])


def write_answer(job, lists):
    """Of each feature its strongest contexts: [[context, activation], ...]."""
    Path(job["answer"]).write_text(json.dumps(lists))


# ---- Rows ----------------------------------------------------------------------------------------------------------------------


def prepare(job):
    """Rows and tokens for the peers; an unembedding where the dump has none; the contexts in which no character is split over
    tokens, as a dump of its own."""
    shards = [t for t in map(load_file, sorted(Path(job["data"]).glob("*.safetensors"))) if "activations" in t]
    if not shards:
        raise SystemExit(f"no tensor 'activations' in {job['data']}/*.safetensors")
    tokens = torch.cat([t["tokens"] for t in shards])
    rows = torch.cat([t["activations"] for t in shards]).reshape(*tokens.shape, -1)
    np.save(job["rows"], rows.float().numpy())
    np.save(job["tokens"], tokens.long().numpy())
    tokens.numpy().astype("<u4").tofile(job["ids"])
    tokenizer = load_tokenizer(job)
    pieces = lambda ids: [tokenizer.convert_tokens_to_string([t]) for t in tokenizer.convert_ids_to_tokens(ids)]
    text = tokenizer.batch_decode(tokens, clean_up_tokenization_spaces=False)
    whole = torch.tensor([sum(map(len, pieces(ids.tolist()))) == len(t) for ids, t in zip(tokens, text)])
    folder = Path(job["whole"])
    folder.mkdir(exist_ok=True)
    part = {"tokens": tokens[whole].contiguous(), "activations": rows[whole].flatten(0, 1).contiguous()}
    save_file(part, folder / "acts.safetensors")
    if not Path(job["unembed"]).exists():  # the same for both sides
        w = torch.randn(len(tokenizer), rows.shape[-1], generator=torch.Generator().manual_seed(0))
        save_file({"lm_head.weight": w.half(), "norm.weight": torch.ones(rows.shape[-1])}, job["unembed"])
    return {"contexts": len(tokens), "length": tokens.shape[1], "d": rows.shape[-1], "whole": int(whole.sum())}


# ---- delphi --------------------------------------------------------------------------------------------------------------------


class RowModel(torch.nn.Module):
    """In place of a language model: the module `rows` hands out the activations, batch by batch."""

    def __init__(self, rows, batch):
        super().__init__()
        self.rows, self.device = torch.nn.Identity(), torch.device("cpu")
        self.all, self.batch, self.calls, self.seconds = rows, batch, 0, 0.0

    def forward(self, tokens):
        start = time.perf_counter()
        x = self.rows(self.all[self.calls * self.batch : (self.calls + 1) * self.batch])
        self.calls += 1
        self.seconds += time.perf_counter() - start
        return x


def sparsify_coder(job):
    """Gloss's weights in the class that delphi is made for."""
    from sparsify import SparseCoder, SparseCoderConfig

    w = load_file(Path(job["sae"]) / "sae_weights.safetensors")
    d, features = w["W_enc"].shape
    coder = SparseCoder(d, SparseCoderConfig(num_latents=features, k=job["k"]))
    with torch.no_grad():
        coder.encoder.weight.copy_(w["W_enc"].T)
        coder.encoder.bias.copy_(w["b_enc"])
        coder.W_dec.copy_(w["W_dec"])
        coder.b_dec.copy_(w["b_dec"])
    return coder


def delphi_lists(job, records, tokens, features):
    """Windows are whole contexts here: examples of a latent by their strongest token."""
    index = {t.tobytes(): i for i, t in reversed(list(enumerate(tokens.numpy())))}
    lists = [{} for _ in range(features)]
    for record in records:
        top = lists[record.latent.latent_index]
        for example in record.examples:
            if len(top) < job["top"]:  # Gloss counts equal texts once
                top.setdefault(int(index[example.tokens.numpy().tobytes()]), example.max_activation)
    write_answer(job, [list(top.items()) for top in lists])


def run_delphi(job):
    """LatentCache, its files, and LatentDataset with constructor and sampler over all of them."""
    from functools import partial

    from delphi.config import CacheConfig, ConstructorConfig, SamplerConfig
    from delphi.latents import LatentCache, LatentDataset
    from delphi.sparse_coders.load_sparsify import sae_dense_latents

    torch.set_num_threads(job["threads"])
    rows, tokens = load_rows(job)
    coder, tokenizer, folder = sparsify_coder(job), load_tokenizer(job), Path(job["folder"])
    batch = max(b for b in range(1, 33) if len(tokens) % b == 0)  # its own is 32, and what does not fill a batch is dropped
    model = RowModel(rows, batch)
    config = CacheConfig(batch_size=batch, cache_ctx_len=tokens.shape[1], n_tokens=tokens.numel())
    start = time.perf_counter()
    cache = LatentCache(model, {"rows": partial(sae_dense_latents, sae=coder)}, batch_size=batch)
    cache.run(tokens.numel(), tokens)
    cache.save_splits(config.n_splits, folder)
    cache.save_config(folder, config, "stub")
    cached = time.perf_counter() - start
    options = {"min_examples": job["min_examples"], "example_ctx_len": job["example_length"]}
    options |= {} if job["timed"] else {"n_non_activating": 0}
    start = time.perf_counter()
    dataset = LatentDataset(folder, SamplerConfig(), ConstructorConfig(**options), tokenizer)
    keep = [] if not job["timed"] else None
    n = 0
    for record in dataset:
        n += 1
        if keep is not None:
            keep.append(record)
    made = time.perf_counter() - start
    if keep is not None:
        delphi_lists(job, keep, tokens, coder.num_latents)
    return {"cache": cached, "construct": made, "seconds": cached + made, "stub": model.seconds, "features": n, "batch": batch}


# ---- SAEDashboard --------------------------------------------------------------------------------------------------------------


class HookedRows(torch.nn.Module):
    """In place of a HookedSAETransformer: what SaeVisRunner and the converter ask of it."""

    def __init__(self, rows, unembed, vocabulary):
        super().__init__()
        w = load_file(unembed)
        self.W_U = (w["lm_head.weight"].float() * w["norm.weight"].float()).T.contiguous()
        self.all, self.seconds = rows, 0.0
        self.hook_dict = {HOOK: types.SimpleNamespace(ctx={})}
        self.cfg = types.SimpleNamespace(d_vocab=vocabulary)

    def run_with_hooks(self, tokens, stop_at_layer=None, fwd_hooks=()):
        start = time.perf_counter()
        first = tokens.storage_offset() // tokens.shape[1]  # minibatches are slices of the one tensor of all tokens
        for name, hook in fwd_hooks:
            hook(self.all[first : first + len(tokens)], hook=self.hook_dict[name])
        self.seconds += time.perf_counter() - start


def dashboard_config(features):
    """That of its runner for Neuronpedia."""
    from sae_dashboard import components_config as c
    from sae_dashboard.layout import SaeVisLayoutConfig
    from sae_dashboard.sae_vis_data import SaeVisConfig

    sequences = c.SequencesConfig(
        stack_mode="stack-all", buffer=None, compute_buffer=True, n_quantiles=5, top_acts_group_size=20, quantile_group_size=5
    )
    column = c.Column(
        sequences, c.ActsHistogramConfig(), c.LogitsHistogramConfig(), c.LogitsTableConfig(), c.FeatureTablesConfig(n_rows=3)
    )
    return SaeVisConfig(
        hook_point=HOOK, features=features, minibatch_size_features=128, minibatch_size_tokens=32, quantile_feature_batch_size=64,
        device="cpu", dtype="float32", feature_centric_layout=SaeVisLayoutConfig(columns=[column]), ignore_positions=[0],
    )  # fmt: skip


def dashboard_top(data, same):
    """Of the strongest tokens of each feature: their contexts, each once. A sequence lacks its first token, which is left out."""
    for feature in data.feature_data_dict.values():
        top = {}
        for s in feature.sequence_data.seq_group_data[0].seq_data:
            at = s.qualifying_token_index
            value = s.feat_acts[at - 1] if at > 0 else 0
            if value > 0:
                top.setdefault(int(same[s.original_index]), value)
        yield list(top.items())


def run_dashboard(job):
    """The loop of its runner for Neuronpedia: SaeVisRunner for 128 features at a time, and a JSON file of each."""
    from sae_dashboard.neuronpedia.neuronpedia_converter import NeuronpediaConverter
    from sae_dashboard.neuronpedia.neuronpedia_runner_config import NeuronpediaRunnerConfig
    from sae_dashboard.sae_vis_runner import SaeVisRunner
    from sae_lens import SAE

    torch.set_num_threads(job["threads"])
    rows, tokens = load_rows(job)
    sae = SAE.load_from_disk(job["sae"], device="cpu")
    norms = sae.W_dec.norm(dim=1)
    if float(norms.max() / norms.min()) > 1.001:
        raise SystemExit("decoder norms differ: folding them makes another SAE")
    sae.fold_W_dec_norm = lambda: None  # SaeVisRunner calls it; sae-lens refuses for such a TopK SAE, and all norms are the same
    vocabulary = {i: t for t, i in load_tokenizer(job).get_vocab().items()}
    model = HookedRows(rows, job["unembed"], len(vocabulary))
    config = NeuronpediaRunnerConfig(sae_set="gloss", sae_path=job["sae"], outputs_dir=job["folder"], model_id="stub", layer=15)
    n, same = job["features"] or sae.cfg.d_sae, canonical(tokens)
    lists, seconds = [], {"run": 0.0, "write": 0.0}
    with torch.no_grad():
        for first in range(0, n, 128):
            start = time.perf_counter()
            data = SaeVisRunner(dashboard_config(list(range(first, min(n, first + 128))))).run(sae, model, tokens)
            run = time.perf_counter()
            text = NeuronpediaConverter.convert_to_np_json(model, data, config, vocabulary)
            (Path(job["folder"]) / f"batch-{first // 128}.json").write_text(text)
            seconds["run"] += run - start
            seconds["write"] += time.perf_counter() - run
            lists += dashboard_top(data, same)
            print(f"{first + 128} features, {sum(seconds.values()):.0f} s", file=sys.stderr, flush=True)
    write_answer(job, lists)
    return seconds | {"seconds": sum(seconds.values()), "stub": model.seconds, "features": n, "all": sae.cfg.d_sae}


# ---- codebook-features ---------------------------------------------------------------------------------------------------------


def code_search():
    """Its modules for code search. Those for models, which the cache's script imports too, want transformer-lens 1.7.0: not needed."""
    for name in ("models", "run_clm"):
        sys.modules[f"codebook_features.{name}"] = types.ModuleType(f"codebook_features.{name}")
        __import__("codebook_features").__dict__[name] = sys.modules[f"codebook_features.{name}"]
    from codebook_features import code_search_cache, code_search_utils

    return code_search_cache, code_search_utils


def load_codes(job, shape):
    """Of each token the features that fire, as an array (contexts, length, k): a feature that there is not stands for none."""
    npz = np.load(job["codes"])
    indptr, indices = npz["indptr"], npz["indices"]
    n_features = int(npz["shape"][1])
    counts = np.diff(indptr)
    codes = np.full((len(counts), counts.max()), n_features, np.int64)
    codes[np.arange(codes.shape[1]) < counts[:, None]] = indices
    return codes.reshape(*shape, -1), n_features


def byte_of_letter(alphabet):
    """Byte-level vocabularies write each byte as a letter: printable ones as themselves, the others from U+0100 on."""
    kept = [b for b in range(256) if chr(b) in alphabet]
    other = [b for b in range(256) if b not in kept]
    return {chr(b): b for b in kept} | {chr(256 + i): b for i, b in enumerate(other)}


def character_starts(data):
    """Text of bytes, repaired, and the byte at which each of its characters begins."""
    bad = {}

    def repair(e):
        bad[e.start] = e.end
        return "\ufffd", e.end

    codecs.register_error("mark", repair)
    text, starts, at = data.decode("utf-8", "mark"), [], 0
    for c in text:
        starts.append(at)
        at = bad[at] if at in bad else at + len(c.encode())
    return text, starts


def mended_ends(tokens, tokenizer, texts):
    """Where tokens end in the text, in characters: one split over tokens belongs to the token it begins in."""
    from tokenizers.pre_tokenizers import ByteLevel

    byte = byte_of_letter(ByteLevel.alphabet())
    special, ends = set(tokenizer.all_special_tokens), np.zeros(tokens.shape, np.int64)
    for i, (ids, text) in enumerate(zip(tokens, texts)):
        names = tokenizer.convert_ids_to_tokens(ids.tolist())
        pieces = [t.encode() if t in special else bytes(byte[c] for c in t) for t in names]
        decoded, starts = character_starts(b"".join(pieces))
        if decoded != text:
            raise SystemExit(f"context {i} is decoded in two ways")
        ends[i] = np.searchsorted(starts, np.cumsum([len(p) for p in pieces]), side="left")
    return ends


def search(utils, pattern, text, ends, codes, counts, n_features):
    """get_codes_from_pattern() with nothing cut off. {"matches", "codes": [[feature, precision, recall, firings]]} or {"error"}."""
    try:
        found, matches = utils.get_codes_from_pattern(
            pattern, text, ends, {"layer0_mlp": codes}, {"layer0": counts}, topk=n_features + 1, prec_threshold=-1
        )
    except IndexError as e:
        return {"error": f"IndexError: {e}"}
    if matches == 0:
        return {"matches": 0, "codes": []}
    kept = [[int(c), float(p), float(r), int(n)] for c, p, r, n in found["layer0"] if c < n_features]
    return {"matches": int(matches), "codes": kept}


def run_codebook(job):
    """Its cache made by its own save_cache() and counts, its own search for each pattern."""
    cache, utils = code_search()
    tokenizer = load_tokenizer(job)
    tokens = load_file(job["tensors"])["tokens"].long().numpy() if job.get("tensors") else np.load(job["tokens"])
    codes, n_features = load_codes(job, tokens.shape)
    acts = {"layer0_mlp": codes}
    start = time.perf_counter()
    _, counts = cache.get_act_counts_for_comp(layer=0, cb_at="mlp", cb_acts=acts, num_codes=n_features + 1)
    folder = Path(job["folder"])
    cache.save_cache(folder, tokens, tokenizer, {"layer0": counts}, types.SimpleNamespace(save=lambda path: None))
    cached = time.perf_counter() - start
    _, text, ends = utils.load_dataset_cache(str(folder) + "/")
    if job["mend"]:
        ends = mended_ends(tokens, tokenizer, text)
    start = time.perf_counter()
    found = [search(utils, p, text, ends, codes, counts, n_features) for p in job["patterns"]]
    searched = time.perf_counter() - start
    Path(job["answer"]).write_text(json.dumps(found))
    return {"cache": cached, "seconds": searched}


if __name__ == "__main__":
    work = json.loads(sys.argv[1])
    jobs = {"prepare": prepare, "eai-delphi": run_delphi, "sae-dashboard": run_dashboard, "codebook-features": run_codebook}
    print(json.dumps(jobs[work["do"]](work)))
