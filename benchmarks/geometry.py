# SPDX-License-Identifier: GPL-3.0-or-later
"""What the distortions of a real instrument cost, ignored and handled, on known patterns.

``python -m benchmarks.geometry [--seeds 3] [--figure FOLDER]`` prints Markdown tables: distortions,
wrong centres, other cameras, and estimates of the centre. ``--figure`` writes PNGs of the
first two and the last.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from py4dstem_rrvae import RRVAE, Frames
from py4dstem_rrvae.synthetic import Camera, Patterns, lobes

from . import centers, geometry_figures
from .distorted import NUMBERS, SIZE, Scores, cameras, rotation
from .quality import Row, table

Array = NDArray[np.float64]

WRONG = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)
TRAINING = {"progress": False, "device": "cpu"}


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
        geometry_figures.write(options.figure, costs, wrong)


if __name__ == "__main__":
    main()
