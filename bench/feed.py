"""Rows for the trainers of other tools. For sparsify's Trainer: a 'model' whose one module, `rows`, hands it the rows that the token
ids name, and a data set in which one 'sequence' is one batch of row ids."""

import time
from types import SimpleNamespace

import numpy as np
import torch

from gloss_order import pass_order


class Feed:
    """Batches of training rows in the order in which `gloss train --shuffle rows --order-seed SEED` reads them; a loop over it begins
    anew. A trainer asks for its next batch when it is done with the one before, so the times between two requests are its steps."""

    def __init__(self, job, n):
        self.rows, self.n, self.batch, self.seed = np.load(job["rows"], mmap_mode="r"), n, job["batch"], job["seed"]
        self.asked = []
        iter(self)

    def ids(self):
        self.asked.append(time.perf_counter())
        while len(self.left) < self.batch:
            self.left = np.concatenate([self.left, pass_order(self.n, self.rows.shape[1], self.seed, self.passes)])
            self.passes += 1
        ids, self.left = self.left[: self.batch], self.left[self.batch :]
        return ids

    def __iter__(self):
        self.left, self.passes = np.empty(0, np.int64), 0
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
