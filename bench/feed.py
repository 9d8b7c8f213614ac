"""Rows for the trainers of other tools. For sparsify's Trainer: a 'model' whose one module, `rows`, hands it the rows that the token
ids name, and a data set in which one 'sequence' is one batch of row ids."""

import time
from types import SimpleNamespace

import numpy as np
import torch


class Feed:
    """Batches of training rows, a fresh permutation each epoch, the last partial one dropped. A trainer asks for its next batch
    when it is done with the one before, so the times between two requests are its steps."""

    def __init__(self, job, n):
        self.rows, self.n, self.batch = np.load(job["rows"], mmap_mode="r"), n, job["batch"]
        self.rng, self.order, self.at, self.asked = np.random.default_rng(job["seed"]), [], 0, []

    def ids(self):
        self.asked.append(time.perf_counter())
        if self.at + self.batch > len(self.order):
            self.order, self.at = self.rng.permutation(self.n), 0
        self.at += self.batch
        return self.order[self.at - self.batch : self.at]

    def __iter__(self):
        return self

    def __next__(self):
        return torch.from_numpy(self.rows[self.ids()])


class RowModel(torch.nn.Module):
    def __init__(self, feed):
        super().__init__()
        self.feed, self.rows = feed, torch.nn.Identity()
        self.device, self.config = torch.device("cpu"), SimpleNamespace(num_hidden_layers=1)
        self.dummy_inputs = {"input_ids": torch.zeros(1, 1, dtype=torch.long)}

    base_model = property(lambda self: self)

    def forward(self, input_ids):
        return self.rows(torch.from_numpy(self.feed.rows[input_ids.numpy()]))


class Batches:
    def __init__(self, job, feed):
        self.job, self.feed = job, feed

    def __len__(self):
        return self.job["steps"]

    def __getitem__(self, i):
        return {"input_ids": torch.from_numpy(self.feed.ids())}
