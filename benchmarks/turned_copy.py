# SPDX-License-Identifier: GPL-3.0-or-later
"""A scan and its copy, turned by 90 degrees, trained together: z must agree, the turn be 90.

``python -m benchmarks.turned_copy [FILE ...] [--seeds 3] [--cache DIR]`` does it for the shipped
graphene, three grains and MoS2 (simulated, some minutes unless `--cache` holds it), and for files
that HyperSpy reads, about the middle of their detector. This needs no truth but the turn itself.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import r2_score

from py4dstem_rrvae import RRVAE, Codes, Frames, synthetic

from . import quality

Array = NDArray[np.float64]


def doubled(patterns: NDArray[np.generic], center: tuple[float, float]) -> Frames:
    """``patterns (..., N, N)`` and, after them, their copies turned by 90 degrees: (2 n, N, N).

    Each copy has the turned centre.
    """
    size = patterns.shape[-1]
    flat = patterns.reshape(-1, size, size)
    row, col = center
    turned = size - 1 - col, row
    both = np.concatenate([flat, np.rot90(flat, 1, axes=(1, 2))])
    if np.allclose(center, turned):
        return Frames(both, center=center)
    return Frames(both, center=np.repeat([center, turned], len(flat), axis=0))


def compared(codes: Codes) -> tuple[Array, Array]:
    """R^2 of each latent between the halves (d,), and errors of the turn in degrees (m,)."""
    n = len(codes.fold) // 2
    agreement = r2_score(codes.z[:n], codes.z[n:], multioutput="raw_values")
    agreement = np.where(codes.z.std(axis=0) > 0, agreement, np.nan)
    both = (codes.fold[:n] > 0) & (codes.fold[:n] == codes.fold[n:])
    period = 2 * np.pi / codes.fold[:n][both]
    # `rot90` turns from rows towards columns, as angles count.
    off = codes.angle[n:][both] - codes.angle[:n][both] - np.pi / 2
    errors: Array = np.degrees(np.abs(np.remainder(off + period / 2, period) - period / 2))
    return agreement, errors


def scans(files: list[Path], cache: Path | None) -> Iterator[tuple[str, Frames]]:
    """Scans with their copies, by name."""
    from py4dstem_rrvae import datasets

    shipped = datasets.graphene("numpy")
    yield "graphene", doubled(shipped.patterns, shipped.center)
    yield (
        "three grains",
        doubled(synthetic.polycrystal(grains=3, random_state=1).frames, (23.5,) * 2),
    )
    mos2 = quality._noisy(quality.simulated("mos2", 0.0, cache), 0)
    yield "MoS2", doubled(mos2.patterns, tuple(mos2.center))
    for file in files:
        import hyperspy.api as hs

        data = hs.load(file).data
        yield file.stem, doubled(data, ((data.shape[-1] - 1) / 2,) * 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    print("| scan | seed | R2 of z | turn's error, median, 90 % (degrees) | angle defined |")
    print("|---|---|---|---|---|")
    for name, both in scans(options.files, options.cache):
        for seed in range(options.seeds):
            codes = RRVAE(random_state=seed, progress=False).fit(both).encode(both)
            agreement, errors = compared(codes)
            told = " ".join("off" if math.isnan(r) else f"{r:.3f}" for r in agreement)
            median, most = np.quantile(errors, [0.5, 0.9]) if len(errors) else (np.nan, np.nan)
            share = 2 * len(errors) / len(both)
            print(
                f"| {name} | {seed} | {told} | {median:.3f}, {most:.3f} | {share:.2f} |", flush=True
            )


if __name__ == "__main__":
    main()
