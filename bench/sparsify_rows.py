"""Rows for sparsify's Trainer: a 'model' whose one module, `rows`, hands it the rows that the token ids name, and a data set in which
one 'sequence' is one batch of row ids. A feed has `rows` (NumPy) and ids(), a batch's."""

from types import SimpleNamespace

import torch


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
