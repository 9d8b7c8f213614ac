"""The order of rows of `gloss train --shuffle rows`, as sae/shuffle.c and base/hash.c make it, so that another trainer can be given the same."""

import numpy as np

GROUP_BYTES, GROUP_ROWS_MIN, GROUP_ROWS_MAX = 128 << 20, 8192, 1 << 20


def scramble(x):
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ x >> 30) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ x >> 27) * np.uint64(0x94D049BB133111EB)
    return x ^ x >> 31


def mix(seed, counter):
    """hash64_mix() of numbers or arrays of them, as an array."""
    seed, counter = (np.atleast_1d(np.asarray(v, dtype=np.uint64)) for v in (seed, counter))  # arrays overflow in silence
    return scramble(scramble(scramble(seed) ^ counter))


def permute(n, key):
    """hash64_permute() of 0 to n - 1."""
    half = 0
    while 4**half < n:
        half += 1
    at = np.arange(n, dtype=np.uint64)
    out = np.arange(n)  # places whose number is not yet below n
    while half and len(out):
        left, right = at[out] >> half, at[out] & (2**half - 1)
        for i in range(12 if half <= 6 else 6):
            left, right = right, left ^ mix(key, right << 8 | i) >> (64 - half)
        at[out] = left << half | right
        out = out[at[out] >= n]
    return at.astype(np.int64)


def pass_order(n, d, seed, number):
    """The rows of pass `number` over n rows of d floats."""
    key = mix(seed, number)
    rows, group = permute(n, key), min(max(GROUP_BYTES // (4 * d), GROUP_ROWS_MIN), GROUP_ROWS_MAX)
    groups = [np.sort(rows[at : at + group]) for at in range(0, n, group)]  # in memory they lie in the order of the file
    return np.concatenate([g[permute(len(g), mix(key, ~np.uint64(i)))] for i, g in enumerate(groups)])
