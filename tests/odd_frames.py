# SPDX-License-Identifier: GPL-3.0-or-later
"""Odd input at random, and the judge of what the package makes of it."""

from __future__ import annotations

import ast
import traceback
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dask.array as da
import numpy as np
from hypothesis import strategies as st

import py4dstem_rrvae
from py4dstem_rrvae import synthetic
from py4dstem_rrvae.estimator import NOISE_FREE, NOTHING_LEARNED

PACKAGE = str(Path(py4dstem_rrvae.__file__).parent)
OUR_WARNINGS = (
    NOISE_FREE,
    NOTHING_LEARNED,
    "frames are left out of training",
    "measured origins",
    "of the circles about the beam",
    "discs or rings of the mean pattern",
    "off the centre from pattern to pattern",
    "times as bright as the median one",
    "pixels are left out",
)

DTYPES = ["?", "i1", "u1", "<i2", "<u2", ">u2", ">i4", "u4", "i8", "u8"]
DTYPES += ["f2", "<f4", ">f4", "f8", ">f8", "g"]
NO_NUMBERS = ["c8", "U3", "O", "M8[s]"]
CONTENTS = [
    "lobes",
    "disc",
    "noise",
    "smooth",
    "equal",
    "blank",
    "constant",
    "one pixel",
    "stripes",
]
HOLES = ["none", "frame", "pixel", "column", "infinite", "everywhere"]
SCALES = [0.0, 1e-300, 1e-40, 1e-12, 1e-3, 1.0, 3.7, 1e3, 1e9, 1e20, 1e36, 1e300, -1.0]
OFFSETS = [0.0, 100.0, -100.0, 1e7, -1e30, 1e36]


@dataclass(frozen=True)
class Odd:
    """Frames and their geometry, in words that make them again."""

    scan: tuple[int, ...] = (12,)
    detector: tuple[int, int] = (12, 12)
    content: str = "lobes"
    dtype: str = "f8"
    scale: float = 1.0
    offset: float = 0.0
    holes: str = "none"
    holder: str = "array"
    center: object = None
    mask: str = "none"
    matrix: object = None
    seed: int = 0

    def frames(self):
        """The frames, (*scan, H, W)."""
        rng = np.random.default_rng(self.seed)
        values = content(self.content, self.scan, self.detector, rng)
        with np.errstate(all="ignore"):
            frames = cast(values * self.scale + self.offset, self.dtype)
        return held(pierced(frames, self.holes, rng), self.holder, rng)

    def geometry(self):
        """Centre and mask, as options of `RRVAE`."""
        rng = np.random.default_rng(self.seed)
        return {
            "center": center_of(self.center, self.scan, self.detector, rng),
            "mask": mask_of(self.mask, self.detector, rng),
        }


def content(kind, scan, detector, rng):
    """Patterns (*scan, H, W) of one kind, as float."""
    n, (height, width) = int(np.prod(scan)), detector
    side = max(height, width, 8)
    row, col = np.indices(detector)
    radius = np.hypot(row - (height - 1) / 2, col - (width - 1) / 2)
    if kind == "lobes":
        frames = synthetic.lobes(max(n, 1), size=side, counts=800, random_state=rng).frames
        frames = frames[:n, :height, :width].astype(float)
    elif kind in ("disc", "equal"):
        disc = 9.0 * (radius < min(detector) / 3)
        frames = rng.poisson(disc, (n, *detector)).astype(float)
        frames = np.repeat(frames[:1], n, axis=0) if kind == "equal" else frames
    elif kind == "smooth":
        frames = np.exp(-radius / 3) * (1 + 0.3 * np.sin(np.arange(n)))[:, None, None] + 0 * radius
    elif kind == "one pixel":
        frames = np.zeros((n, *detector))
        frames[:, height // 2, width // 2] = rng.poisson(100, n)
    elif kind == "stripes":
        frames = rng.poisson(5.0 * (row % 2), (n, *detector)).astype(float)
    else:
        level = {"blank": 0.0, "constant": 7.0, "noise": rng.poisson(2.0, (n, *detector))}
        frames = np.full((n, *detector), level[kind])
    return np.asarray(frames, float).reshape(*scan, *detector)


def pierced(frames, holes, rng):
    """A copy with NaN or infinity in some places, where the dtype has them."""
    if frames.dtype.kind != "f" or holes == "none" or not frames.size:
        return frames
    flat = frames.reshape(-1, *frames.shape[-2:])
    if holes == "frame":
        flat[rng.integers(len(flat))] = np.nan
    elif holes == "pixel":
        flat[rng.integers(len(flat)), flat.shape[1] // 2, 0] = np.nan
    elif holes == "column":
        flat[:, :, -1] = np.nan
    elif holes == "infinite":
        flat[:, 0, 0] = -np.inf
    else:
        flat[...] = np.nan
    return frames


def cast(frames, dtype):
    """Frames of another dtype; what it cannot hold is cut off, or infinite."""
    dtype = np.dtype(dtype)
    if dtype.kind in "ui":
        limits = np.iinfo(dtype)
        frames = np.clip(
            np.nan_to_num(np.rint(frames)), float(limits.min), float(limits.max) * 0.99
        )
    with np.errstate(all="ignore"):
        return frames.astype(dtype)


centers = st.one_of(
    st.none(),
    st.sampled_from(["refine", "followed", "middle", "list", "integers", "each", "each far"]),
    st.sampled_from(["corner", "outside", "nan", "one number", "each wrong", "word", "empty"]),
    st.tuples(st.floats(0, 9), st.floats(0, 9)),
)


def center_of(form, scan, detector, rng):
    """What a form of the centre's name stands for."""
    middle = (np.asarray(detector) - 1) / 2
    jitter = rng.normal(0, 0.4, (*scan, 2))
    known = {
        "refine": "refine",
        "followed": "each",
        "middle": tuple(middle),
        "list": middle.tolist(),
        "integers": tuple(middle.astype(int).tolist()),
        "each": middle + jitter,
        "each far": np.clip(middle + 9 * jitter, 0, 2 * middle),
        "corner": (0.0, 0.0),
        "outside": (-3.0, 400.0),
        "nan": (np.nan, 3.0),
        "one number": 4.0,
        "each wrong": (middle + jitter)[..., :1],
        "word": "middle",
        "empty": (),
    }
    return known[form] if isinstance(form, str) else form


MASKS = ["half", "random", "column", "one pixel", "nothing", "not boolean", "list", "wrong shape"]


def mask_of(form, detector, rng):
    """What a form of the mask's name stands for."""
    mask = np.ones(detector, bool)
    if form == "half":
        mask[: detector[0] // 2] = False
    elif form == "random":
        mask = rng.random(detector) < 0.6
    elif form == "column":
        mask[:, -1] = False
    elif form in ("one pixel", "nothing"):
        mask[:] = False
        mask[detector[0] // 2, detector[1] // 2] = form == "one pixel"
    elif form == "not boolean":
        return mask.astype(int)
    elif form == "list":
        return mask.tolist()
    elif form == "wrong shape":
        return mask[:-1]
    return None if form == "none" else mask


seeds = st.integers(0, 2**20)
MATRICES = [
    ((0.05, 0.0), (0.0, 0.05)),
    ((0.0, -2.0), (2.0, 0.0)),
    ((1, 0), (0, 3)),
    ((1.0, 0.9), (0.2, 1.0)),
    ((1.0, 1.0), (1.0, 1.0)),
    ((1e-30, 0.0), (0.0, 1e-30)),
    ((1e30, 0.0), (0.0, 1e30)),
    ((1.0, 0.0), (0.0, 40.0)),
    ((1.0, 0.0), (0.0, 1e9)),
    ((1e-200, 0.0), (0.0, 1e-200)),
    ((1e200, 0.0), (0.0, 1e200)),
    ((np.nan, 0.0), (0.0, 1.0)),
    ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
    "matrix",
]

scans = st.sampled_from([(12,), (3, 4), (20,), (1, 17), (9,), (2, 2, 3), (7,), (1,), (), (0,)])
detectors = st.tuples(st.integers(8, 19), st.integers(8, 19)) | st.sampled_from(
    [(8, 8), (7, 12), (8, 40), (33, 9), (12, 12), (1, 1), (16, 16)]
)
HOLDERS = ["read-only", "fortran", "strided", "dask", "dask split"]


SIDES = {
    "scan": scans,
    "detector": detectors,
    "content": st.sampled_from(CONTENTS),
    "dtype": st.sampled_from(DTYPES * 3 + NO_NUMBERS),
    "scale": st.sampled_from(SCALES),
    "offset": st.sampled_from(OFFSETS),
    "holes": st.sampled_from(HOLES),
    "holder": st.sampled_from(HOLDERS),
    "center": centers,
    "mask": st.sampled_from(MASKS),
    "matrix": st.sampled_from(MATRICES),
}


@st.composite
def odd_frames(draw, usual=(12, 12), detectors=detectors):
    """Plain frames of which up to five sides are odd."""
    chosen = draw(st.sets(st.sampled_from(sorted(SIDES)), max_size=5))
    sides = SIDES | {"detector": detectors}
    odd = {name: draw(sides[name]) for name in sorted(chosen)}
    return Odd(**{"detector": usual} | odd, seed=draw(seeds))


def held(frames, holder, rng):
    """The same frames in another kind of array."""
    if holder == "read-only":
        frames.flags.writeable = False
    elif holder == "fortran":
        frames = np.asfortranarray(frames)
    elif holder == "strided" and frames.ndim > 2 and len(frames):
        frames = np.repeat(frames, 2, axis=0)[::2]
    elif holder.startswith("dask") and 0 not in frames.shape and frames.dtype.kind in "uifb":
        chunks = tuple(int(rng.integers(1, n + 1)) for n in frames.shape[:-2])
        split = (5, 4) if holder == "dask split" else (-1, -1)
        frames = da.from_array(frames, chunks=(*chunks, *split))
    return frames


def _sentences():
    """Pieces of text that stand in the package's own code."""
    for path in Path(PACKAGE).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield from (part for part in node.value.split("{}") if len(part) > 12)


SENTENCES = frozenset(_sentences())


def words(bad):
    """Whether an exception is a sentence of ours: raised in the package, plain, one line."""
    where = traceback.extract_tb(bad.__traceback__)[-1].filename
    text = str(bad)
    plain = "\n" not in text and len(text) < 500 and "object at 0x" not in text
    ours = where.startswith(PACKAGE) and any(part in text for part in SENTENCES)
    return isinstance(bad, (ValueError, TypeError)) and plain and ours


@contextmanager
def only_our_words():
    """Raise what a library says; what the package says ends the block, and is given back."""
    said = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield said
        except Exception as bad:
            if not words(bad):
                raise
            said.append(str(bad))
    for one in caught:
        if not any(ours in str(one.message) for ours in OUR_WARNINGS):
            raise AssertionError(f"a library warns: {one.category.__name__}: {one.message}")


def fingerprint(frames):
    """Bytes of the frames, however they are held."""
    if hasattr(frames, "compute"):
        frames = frames.compute()
    return frames.tobytes() if frames.dtype.kind != "O" else repr(frames.tolist())


def assert_codes(codes, shape, latent_dim):
    """Codes of a scan are finite, in their ranges, and of its shape."""
    assert codes.z.shape == codes.z_std.shape == (*shape, latent_dim)
    for name in ("angle", "angle_std", "fold", "error"):
        assert getattr(codes, name).shape == shape, name
    for name in ("z", "z_std", "angle_std", "error"):
        assert np.isfinite(getattr(codes, name)).all(), name
    assert (codes.z_std >= 0).all() and (codes.error >= 0).all()
    known = codes.fold > 0
    assert (codes.fold >= 0).all() and (np.isnan(codes.angle) == ~known).all()
    assert (codes.angle[known] >= 0).all()
    assert (codes.angle[known] < 2 * np.pi / codes.fold[known]).all()
