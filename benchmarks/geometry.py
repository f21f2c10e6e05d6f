# SPDX-License-Identifier: GPL-3.0-or-later
"""What the distortions of a real instrument cost, ignored and handled, on known patterns.

``python -m benchmarks.geometry [--seeds 3] [--figure FOLDER]`` prints Markdown tables: distortions,
wrong centres, other cameras, and estimates of the centre. ``--figure`` writes PNGs of the
first two and the last.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from py4dstem_rrvae import RRVAE, Codes, Frames
from py4dstem_rrvae.synthetic import Camera, Patterns, lobes

from . import centers, scores
from .quality import Row, table

Array = NDArray[np.float64]

SIZE = 48
# Single-lobed patterns have a direction, so that their angle can be held against the truth itself.
NUMBERS = (1, 3, 6)
WRONG = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)
TRAINING = {"background": "mean", "progress": False, "device": "cpu"}


@dataclass(frozen=True)
class Scores:
    """Figures of merit of one model; those of angles are per class."""

    accuracy: float
    ari: float
    deformation: float
    leak: float
    angle: list[float]
    direction: float

    @classmethod
    def of(cls, codes: Codes, truth: Patterns) -> Scores:
        """Of the codes of known patterns."""
        lopsided = truth.fold == 1
        off = np.exp(1j * (codes.angle - truth.angle)[lopsided])
        return cls(
            scores.accuracy(codes.z, truth.label),
            scores.ari(codes.z, truth.label),
            scores.deformation(codes.z, truth),
            scores.leak(codes.z, truth),
            scores.angle_error_over_bound(truth, codes.angle),
            float(np.degrees(np.median(np.abs(np.angle(off))))),
        )

    @classmethod
    def median(cls, several: list[Scores]) -> Scores:
        """Of each figure by itself."""
        names = list(cls.__dataclass_fields__)
        return cls(*(np.median([getattr(s, n) for s in several], axis=0) for n in names))

    def row(self) -> Row:
        """As cells of a table."""
        return {
            "10-NN accuracy": f"{self.accuracy:.3f}",
            "ARI": f"{self.ari:.3f}",
            "deformation R2": f"{self.deformation:.3f}",
            "turn in z": f"{self.leak:.3f}",
            "angle error / bound": " ".join(f"{a:.2f}" for a in self.angle),
            "direction off, degrees": f"{self.direction:.2f}",
        }


def rotation(degrees: float) -> Array:
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cos, -sin], [sin, cos]])


def descan(n: int, size: int = SIZE, reach: float = 2.0) -> Camera:
    """The beam drifts with the scan, by up to `reach` pixels at its corners."""
    rows = int(np.sqrt(n))
    row, col = np.divmod(np.arange(n), rows)
    ramp = np.stack([row / (row.max() or 1), col / (rows - 1)], axis=1) * 2 - 1
    return Camera((size, size), (size - 1) / 2 + reach / np.sqrt(2) * ramp)


def ellipse(size: int = SIZE, ratio: float = 1.04) -> Camera:
    """Circles become ellipses of that ratio of axes, turned by 30 degrees."""
    squeeze = rotation(30) @ np.diag([ratio**0.5, ratio**-0.5]) @ rotation(-30)
    return Camera((size, size), matrix=squeeze)


def unequal(size: int = SIZE, ratio: float = 1.2) -> Camera:
    """Pixels smaller along the columns, and more of them."""
    columns = round(ratio * size)
    return Camera((size, columns), matrix=np.diag([1.0, size / columns]))


def stopped(size: int = SIZE, hot: float = 20.0) -> Camera:
    """A beam stop, 2 % of dead pixels and 1 % of hot ones."""
    rng = np.random.default_rng(7)
    gain = centers.beam_stop((size, size), np.full(2, (size - 1) / 2), 0.5, size / 8)
    gain[rng.random(gain.shape) < 0.02] = 0.0
    dark = np.where(rng.random(gain.shape) < 0.01, hot, 0.0)
    return Camera((size, size), gain=gain, dark=dark)


def turned(size: int = SIZE, degrees: float = 30.0, flip: bool = False) -> Camera:
    """Detector turned against the scan; flipped before that, its columns run the other way."""
    return Camera((size, size), matrix=rotation(degrees) @ np.diag([1.0, -1.0 if flip else 1.0]))


def cameras(n: int, size: int = SIZE) -> dict[str, Camera]:
    return {
        "none": Camera((size, size)),
        "descan, up to 2 pixels": descan(n, size),
        "ellipse, 4 %": ellipse(size),
        "pixels 1 : 1.2": unequal(size),
        "beam stop, bad pixels": stopped(size),
        "detector turned by 30 degrees": turned(size),
        "turned by 30 degrees and flipped": turned(size, flip=True),
    }


def handled(patterns: Patterns, camera: Camera) -> Frames:
    """Patterns with the geometry that they were recorded with."""
    return Frames(patterns.frames, camera.origin, camera.matrix, camera.mask)


def ignored(patterns: Patterns, camera: Camera) -> Frames:
    """Patterns with their mean origin alone."""
    return Frames(patterns.frames, camera.origin.reshape(-1, 2).mean(axis=0))


def score(camera: Camera, know: object, seed: int, n: int, size: int = SIZE) -> Scores:
    """Train on one draw and score on another; `know` is `handled` or `ignored`."""
    assert callable(know)
    options = {"size": size, "numbers": NUMBERS, "camera": camera}
    first, second = (lobes(n, random_state=2 * seed + i, **options) for i in range(2))
    model = RRVAE(random_state=seed, **TRAINING).fit(know(first, camera))
    return Scores.of(model.encode(know(second, camera)), second)


def distortions(seeds: Iterable[int], n: int = 1000) -> dict[tuple[str, str], Scores]:
    """Median scores per distortion, ignored and handled."""
    found = {}
    for name, camera in cameras(n).items():
        ways = {"handled": handled} if name == "none" else {"ignored": ignored, "handled": handled}
        for way, know in ways.items():
            several = [score(camera, know, seed, n) for seed in seeds]
            found[name, "" if name == "none" else way] = Scores.median(several)
    return found


def wrong_centers(seeds: Iterable[int], n: int = 1000) -> dict[float, Scores]:
    """Median scores per distance in pixels of the assumed centre from the true one."""
    found = {}
    for distance in WRONG:

        def off(patterns: Patterns, camera: Camera, distance: float = distance) -> Frames:
            return Frames(patterns.frames, camera.origin + distance * rotation(25)[:, 0])

        several = [score(Camera((SIZE, SIZE)), off, seed, n) for seed in seeds]
        found[distance] = Scores.median(several)
    return found


OTHER_CAMERAS = {
    "48 x 48 pixels": Camera((48, 48)),
    "96 x 96 pixels": Camera((96, 96), matrix=np.eye(2) / 2),
    "60 x 60, camera length x 1.25": Camera((60, 60), matrix=np.eye(2) / 1.25),
    "38 x 38, camera length / 1.25": Camera((38, 38), matrix=np.eye(2) * 1.25),
}


def calibrated(patterns: Patterns, camera: Camera) -> Frames:
    return Frames(patterns.frames, camera.origin, 0.02 * camera.matrix, q_units="A^-1")


def between_cameras(seeds: Iterable[int], n: int = 1000) -> list[Row]:
    """How codes of the same specimen agree, encoded from another camera than trained on."""
    plain = "48 x 48 pixels"
    pairs = [(plain, b) for b in OTHER_CAMERAS if b != plain]
    pairs += [(b, a) for a, b in pairs]
    found: dict[tuple[str, str], list[tuple[float, Scores, Scores]]] = {p: [] for p in pairs}
    for seed in seeds:
        drawn = {
            name: [lobes(n, random_state=2 * seed + i, numbers=NUMBERS, camera=c) for i in range(2)]
            for name, c in OTHER_CAMERAS.items()
        }
        for trained, own_camera in OTHER_CAMERAS.items():
            model = RRVAE(random_state=seed, **TRAINING)
            model.fit(calibrated(drawn[trained][0], own_camera))
            own = model.encode(calibrated(drawn[trained][1], own_camera))
            for pair in (p for p in pairs if p[0] == trained):
                other = drawn[pair[1]][1]
                seen = calibrated(other, OTHER_CAMERAS[pair[1]])
                codes = model.encode(seen, background="refit")
                moved = float(np.median(np.abs(codes.z - own.z) / own.z.std(axis=0)))
                reference = Scores.of(own, drawn[trained][1])
                found[pair].append((moved, reference, Scores.of(codes, other)))
    return [_between(pair, several) for pair, several in found.items()]


def _between(pair: tuple[str, str], several: list[tuple[float, Scores, Scores]]) -> Row:
    moved, own, other = zip(*several, strict=True)
    return (
        {"trained on": pair[0], "encoded from": pair[1]}
        | {"z moved, of its spread": f"{np.median(moved):.3f}"}
        | {"angle on its own camera": Scores.median(list(own)).row()["angle error / bound"]}
        | Scores.median(list(other)).row()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--figure", type=Path, help="folder for the PNGs")
    options = parser.parse_args()
    seeds = range(options.seeds)
    costs = distortions(seeds)
    rows = [{"distortion": name, "": way} | s.row() for (name, way), s in costs.items()]
    table("Distortions", rows)
    wrong = wrong_centers(seeds)
    table("Wrong centre", [{"off, pixels": f"{d:.2f}"} | s.row() for d, s in wrong.items()])
    table("Other cameras", between_cameras(seeds))
    table("Estimated centre: error in pixels, median and worst", centers.estimates(range(10)))
    if options.figure:
        from . import geometry_figures  # which imports this module

        geometry_figures.write(options.figure, costs, wrong)


if __name__ == "__main__":
    main()
