# SPDX-License-Identifier: GPL-3.0-or-later
"""Error bars of patterns that the model cannot explain.

``python -m benchmarks.misfit [FOLDER] [--seeds 2]`` simulates patterns with a speckle of their own,
whose turn is known. With a folder that holds the two measured scans of tutorial 8, it also measures
how far their angles are from what is known: by how far a copy is turned, where the illumination
stands, in which direction from the middle of the Siemens star a pattern was recorded.
"""

from __future__ import annotations

import argparse
import bz2
import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from py4dstem_rrvae import RRVAE, Codes, Frames, synthetic

from .quality import table
from .turned_copy import doubled
from .uncertainty import angle_deviations, coverage

Array = NDArray[np.float64]
TWO = np.array([0.6827, 0.95])
KINDS: dict[str, tuple[Callable[..., synthetic.Patterns], Callable[..., Array]]] = {
    "folds": (synthetic.folds, synthetic.expected_folds),
    "twisted rings": (synthetic.twisted_rings, synthetic.expected_twisted_rings),
}
# Positions of the far-field scan nearer than this to the star's middle see many spokes at once.
WIDE_SPOKES = 95


def speckled(
    kind: str, n: int, seed: int, *, counts: float, contrast: float
) -> tuple[synthetic.Patterns, NDArray[np.int64]]:
    """Patterns of `KINDS`, and their counts under speckle of which no two have the same.

    Its logarithm has the standard deviation `contrast`, and is alike over two pixels.
    """
    draw, expected = KINDS[kind]
    truth = draw(n, counts=counts, random_state=seed)
    clean = expected(truth, counts=counts)
    rng = np.random.default_rng([seed, 9])
    speckle = gaussian_filter(rng.normal(size=clean.shape), (0, 2, 2))
    bright = np.exp(contrast * speckle / speckle.std() - contrast**2 / 2)
    return truth, rng.poisson(clean * bright)


def simulated(kind: str, seed: int, **speckle: float) -> tuple[RRVAE, Array]:
    """A model of 1,200 speckled patterns, and the angle's deviations on 600 others."""
    _, frames = speckled(kind, 1200, seed, **speckle)
    truth, fresh = speckled(kind, 600, seed + 1000, **speckle)
    model = RRVAE(random_state=seed, progress=False, device="cpu").fit(frames)
    return model, angle_deviations(truth, model.encode(fresh))


def far_field(folder: Path) -> tuple[Frames, Array]:
    """Patterns on a spiral about a Siemens star, and their places (row, col) in pixels."""
    with bz2.open(folder / "siemens-star-small.npz.bz2") as packed:
        star = np.load(io.BytesIO(packed.read()))
    patterns = np.fft.fftshift(star["data"][0], axes=(-2, -1))
    return Frames(patterns), star["scan"][0].astype(float)


def near_field(folder: Path) -> tuple[Frames, Array]:
    """Shadows of a Siemens star, 2 x 2 pixels summed, and their places (row, col) in um."""
    import h5py

    with h5py.File(folder / "PETRAIII_P25_Near_Field_Ptycho.cxi") as file:
        entry = file["entry_1"]
        shadows = entry["instrument_1/detector_1/data"][:].reshape(200, 50, 2, 50, 2).sum((2, 4))
        bad = entry["instrument_1/detector_1/mask"][:].reshape(50, 2, 50, 2).any((1, 3))
        places = -1e6 * entry["sample_1/geometry_1/translation"][:][:, 1::-1]
    # About the detector's middle, and under a mask that a quarter turn leaves as it is.
    keep = ~np.any([np.rot90(bad, k) for k in range(4)], axis=0)
    return Frames(shadows, center=(24.5, 24.5), mask=keep), places


def off_azimuth(angle: Array, places: Array, tried: Array, beyond: float) -> tuple[Array, Array]:
    """Angle less azimuth modulo 180 degrees, about the best of points; and where it is meant."""
    found = []
    for middle in tried:
        row, col = (places - middle).T
        phasor, meant = np.exp(2j * (angle - np.arctan2(col, row))), np.hypot(row, col) >= beyond
        off = np.angle(phasor / np.nanmean(phasor[meant])) / 2
        found.append((float(np.nanmedian(np.abs(off[meant]))), off, meant))
    _, off, meant = min(found, key=lambda one: one[0])
    return off, meant & np.isfinite(off)


def grid(rows: Array, cols: Array) -> Array:
    return np.stack(np.meshgrid(rows, cols, indexing="ij"), axis=-1).reshape(-1, 2)


def judged(off: Array, std: Array) -> dict[str, str]:
    one, two = coverage(off / std, TWO)
    return {
        "off (median, degrees)": f"{np.degrees(np.median(np.abs(off))):.2f}",
        "error bar": f"{np.degrees(np.median(std)):.2f}",
        "covered, %": f"{100 * one:.0f} / {100 * two:.0f}",
    }


def turned(model: RRVAE, frames: Frames) -> dict[str, str]:
    """Of the turn between the patterns and their copies."""
    center = tuple(model.fitted_.detector.center)
    codes = model.encode(doubled(np.asarray(frames.patterns), center))
    n = len(codes.fold) // 2
    same = (codes.fold[:n] > 0) & (codes.fold[:n] == codes.fold[n:])
    period = 2 * np.pi / codes.fold[:n][same]
    off = codes.angle[n:][same] - codes.angle[:n][same] - np.pi / 2
    std = np.hypot(codes.angle_std[:n], codes.angle_std[n:])[same]
    return judged(np.remainder(off + period / 2, period) - period / 2, std)


def measured(folder: Path, seed: int) -> Iterator[dict[str, str]]:
    """Rows of the table of measured scans."""

    def fitted(frames: Frames, **options: object) -> tuple[RRVAE, Codes]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the wandering beam, which costs nothing here
            model = RRVAE(random_state=seed, progress=False, device="cpu", **options).fit(frames)
        return model, model.encode(frames)

    frames, places = far_field(folder)
    model, codes = fitted(frames)
    off, meant = off_azimuth(codes.angle, places, grid(*[np.arange(-40, 41, 2)] * 2), WIDE_SPOKES)
    yield {"scan": "far field, azimuth"} | judged(off[meant], codes.angle_std[meant])
    yield {"scan": "far field, copy turned by 90 degrees"} | turned(model, frames)
    frames, places = near_field(folder)
    model, codes = fitted(frames, max_epochs=150)
    defined = codes.fold > 0
    off = np.angle(np.exp(1j * (codes.angle - np.nanmedian(codes.angle))))[defined]
    yield {"scan": "near field, illumination stands still"} | judged(off, codes.angle_std[defined])
    yield {"scan": "near field, copy turned by 90 degrees"} | turned(model, frames)
    _, codes = fitted(frames, max_epochs=150, background="mean")
    tried = grid(np.arange(32, 46, 0.5), np.arange(46, 60, 0.5))
    off, meant = off_azimuth(codes.angle, places, tried, 0)
    yield {"scan": "near field less its mean, azimuth"} | judged(off[meant], codes.angle_std[meant])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    rows = []
    for kind in KINDS:
        for counts, contrast in ((20_000, 0.3), (5_000, 0.3), (20_000, 0.1), (20_000, 0.0)):
            for seed in range(options.seeds):
                model, off = simulated(kind, seed, counts=counts, contrast=contrast)
                one, two = coverage(off, TWO)
                rows.append({
                    "patterns": kind, "counts": f"{counts:,}", "contrast": str(contrast),
                    "seed": str(seed), "variance": f"{model.fitted_.model.overdispersion:.1f}",
                    "covered, %": f"{100 * one:.0f} / {100 * two:.0f}",
                })  # fmt: skip
    table("Angle of speckled patterns", rows)
    if options.folder:
        table("Angle of measured patterns", [
            {"seed": str(seed)} | row
            for seed in range(options.seeds) for row in measured(options.folder, seed)
        ])  # fmt: skip


if __name__ == "__main__":
    main()
