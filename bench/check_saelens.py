#!/usr/bin/env python3
"""Load a folder that `gloss train` wrote with SAELens and compare activations and reconstructions on the same rows.

    bench_codes SAE DUMP codes.safetensors 1000
    check_saelens.py SAE codes.safetensors

Architectures: topk and jumprelu (what BatchTopK training ends as); SAELens knows no GroupMax.
A row's error is the largest difference over its features divided by its largest activation. Where one side keeps a
feature that the other does not (two pre-activations nearly equal at rank k, or one nearly at its threshold), that is counted
as a swap and left out of the error; a swap's gap is the activation in question above the smallest one that both keep, or
above the feature's threshold, relative to the row's maximum. Ends with 1 when an error, of activations or of
reconstructions, is above 1e-4 or a swap is no near tie. Needs: pip install sae-lens (tried with 6.54.12).
"""
import sys

import torch
from sae_lens import SAE
from safetensors.torch import load_file

LIMIT = 1e-4


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    sae = SAE.load_from_disk(sys.argv[1], device="cpu")
    ours = load_file(sys.argv[2])
    x, n = ours["x"], len(ours["x"])
    with torch.inference_mode():
        theirs = sae.encode(x)
        hat = sae.decode(theirs)
    dense = torch.zeros_like(theirs)
    row = torch.repeat_interleave(torch.arange(n), ours["first"].diff())
    dense[row, ours["index"].long()] = ours["value"]

    swapped = (dense > 0) != (theirs > 0)
    both = (dense > 0) & (theirs > 0)
    top = theirs.amax(dim=1).clamp(min=1e-30)
    error = ((dense - theirs).abs() * both).amax(dim=1) / top
    if hasattr(sae, "threshold"):
        limit = sae.threshold.detach()[None]
    else:
        limit = torch.where(both, theirs, torch.inf).amin(dim=1, keepdim=True)
    gap = torch.where(swapped, (torch.maximum(dense, theirs) - limit).clamp(min=0) / top[:, None], 0.0)
    whole = ~swapped.any(dim=1)
    hat_error = (hat - ours["hat"]).norm(dim=1)[whole] / (x.norm(dim=1)[whole])
    lines = [
        ("architecture", sae.cfg.architecture()),
        ("d_in, d_sae, k", f"{sae.cfg.d_in}, {sae.cfg.d_sae}, {getattr(sae.cfg, 'k', 'none')}"),
        ("rows", n),
        ("features a row, least and most", f"{(dense > 0).sum(1).min()}, {(dense > 0).sum(1).max()}"),
        ("mean L0, Gloss and SAELens", f"{(dense > 0).sum(1).float().mean():.3f}, {(theirs > 0).sum(1).float().mean():.3f}"),
        ("activations: largest error / row maximum", f"{error.max():.2e}"),
        ("activations: mean over rows", f"{error.mean():.2e}"),
        ("reconstructions: largest |difference| / |x|", f"{hat_error.max():.2e}"),
        ("rows with a swap at the edge", int((~whole).sum())),
        ("features swapped", int(swapped.sum())),
        ("largest gap of a swap / row maximum", f"{gap.max():.2e}"),
    ]
    for name, value in lines:
        print(f"{name:45} {value}")
    good = bool(error.max() <= LIMIT) and bool(gap.max() <= LIMIT) and bool(hat_error.max() <= LIMIT)
    print("agrees" if good else f"DIFFERS by more than {LIMIT}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
