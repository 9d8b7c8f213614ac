#!/usr/bin/env python3
"""Serve a sentence encoder of transformers on loopback as /v1/embeddings: mean of the last layer over a text's tokens, as MiniLM has it.

    encoder_server.py FOLDER            # prints its base URL, serves until it is stopped
"""
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch
from transformers import AutoModel, AutoTokenizer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    tokenizer = model = None

    @torch.inference_mode()
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
        tokens = self.tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
        mask = tokens["attention_mask"][..., None]
        vectors = (self.model(**tokens).last_hidden_state * mask).sum(1) / mask.sum(1)
        data = [{"object": "embedding", "index": i, "embedding": v.tolist()} for i, v in enumerate(vectors)]
        reply = {"object": "list", "model": asked["model"], "data": data, "usage": {"prompt_tokens": int(mask.sum()), "total_tokens": int(mask.sum())}}
        body = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    Handler.tokenizer = AutoTokenizer.from_pretrained(sys.argv[1], local_files_only=True)
    Handler.model = AutoModel.from_pretrained(sys.argv[1], local_files_only=True).eval()
    torch.set_num_threads(1)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_port}/v1", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
