"""Makes the tensor files beside it with the real torch and NumPy (2.13 and 2.4 when they were made), for test_torch.c:
python3 tests/data/make_tensor_files.py. Element i of every tensor, in C order, is i / 4 - 3."""
import collections
import os

import numpy as np
import torch

os.chdir(os.path.dirname(os.path.abspath(__file__)))


def made(*shape, dtype=torch.float32):
    n = int(np.prod(shape))
    return (torch.arange(n) / 4 - 3).reshape(shape).to(dtype)


class Sae(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = torch.nn.Linear(3, 5)
        self.encoder.weight.data = made(5, 3)
        self.encoder.bias.data = made(5)
        self.decoder = torch.nn.Linear(5, 3, bias=False)
        self.decoder.weight.data = made(5, 3).clone().T  # (3, 5) in columns
        self.register_buffer("k", torch.tensor(4))


turned = made(3, 4).T.contiguous().T
assert turned.stride() == (1, 3)
wide = torch.zeros(4, 9)
wide[1:3, 2:7] = made(2, 5)
cubes = made(2, 3, 4).permute(2, 0, 1).contiguous().permute(1, 2, 0)
values = {
    "half": made(7, dtype=torch.float16),
    "bfloat": made(2, 2, dtype=torch.bfloat16),
    "double": made(3, dtype=torch.float64),
    "ints": {str(8 * t.itemsize): torch.arange(4).to(t) - 2 for t in (torch.int8, torch.int16, torch.int32, torch.int64)},
    "unsigned": {t: torch.arange(6, dtype=torch.int32).to(getattr(torch, t)).reshape(2, 3)[1:] for t in ("uint16", "uint32", "uint64")},
    "byte": torch.arange(3, dtype=torch.uint8),
    "bool": torch.tensor([True, False]),
    "parameter": torch.nn.Parameter(made(2, 3)),
    "turned": turned,
    "slice": wide[1:3, 2:7],
    "column": wide[:, 3],
    "cubes": cubes,
    "scalar": made(1)[0],
    "none": torch.zeros(0, 3),
    "nested": collections.OrderedDict(deep=[made(2), {"er": made(1)}], nothing=None),
    "k": 32, "long": -(2**40), "threshold": 0.25, "flag": True, "sizes": [1, 2, 70000], "mixed": (1, 2.5),
    "name": "TopK \u00e9",
}
torch.save(Sae().state_dict(), "state_dict.pt")
torch.save(values, "values.pt")
torch.save(values, "values_protocol4.pt", pickle_protocol=4)
torch.save(made(2, 3), "tensor.pt")
torch.save(made(2, 3), "legacy.pt", _use_new_zipfile_serialization=False)
torch.save(Sae(), "module.pt")
torch.serialization.set_crc32_options(False)
torch.save({"x": made(2)}, "no_crc.pt")
arrays = {"W": made(3, 4).numpy(), "F": np.asfortranarray(made(3, 4).numpy()), "n": np.int64(7)}
np.savez("arrays.npz", **arrays)
np.savez_compressed("arrays_compressed.npz", **arrays)
