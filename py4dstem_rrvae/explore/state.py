# SPDX-License-Identifier: GPL-3.0-or-later
"""What is selected in a scan, and what is read and decoded there; draws nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..codes import Codes
from ..maps import LatentMap, latent_maps
from ..scan.blocks import CLOSED, CLOSED_FILE, check_open
from .plane import Box, Plane, make_plane

if TYPE_CHECKING:
    from ..estimator import RRVAE

FloatArray = NDArray[np.float64]
REACH = 0.03
"""Radius of what counts as near in the latent plane, as a share of the plane."""
# Positions whose decoded patterns are averaged.
SAMPLE = 64


class State:
    """A position of a scan, a point of the latent plane, and a box in it.

    Parameters
    ----------
    patterns : array-like, shape (rows, cols, H, W)
        NumPy array, memmap, ``h5py.Dataset`` or dask array; one pattern is read at a time.
    codes
        What `RRVAE.encode` gave for them.
    model
        That gave the codes; None shows what was measured alone.
    maps
        To choose from, by name, in the host's convention; None: those of the codes.
    collapsed
        Of each latent, whether it carries nothing; None asks the model.
    latents
        Numbers, from 1, of the latents that span the plane; None takes the first two that carry
        something, or one and the error.
    rescale
        Whether decoded patterns are brought to the brightness of the measured one; for codes of
        another scan than the one trained on, whose dose differs.

    Attributes
    ----------
    position : (int, int)
        Row and column whose pattern is shown.
    point : (float, float) or None
        What is decoded in the plane: the codes of the position, or of any other place in the plane.
    box : (float, float, float, float) or None
        ``(left, right, bottom, top)`` in the plane.
    measured : ndarray, shape (H, W)
        The pattern at the position, less the camera's pedestal where a model knows it.
    decoded : ndarray, shape (H, W), or None
        What the model makes of the point, turned as the pattern at the position is.
    plane : Plane, or str
        A sentence where there is none.

    Raises
    ------
    ValueError
        If the patterns, maps and codes are not of one scan, the model has other latents, or the
        file behind the patterns is closed.
    """

    def __init__(
        self,
        patterns: Any,
        codes: Codes,
        *,
        model: RRVAE | None = None,
        maps: Mapping[str, LatentMap] | None = None,
        collapsed: Sequence[bool] | None = None,
        latents: Sequence[int] | None = None,
        rescale: bool = False,
    ) -> None:
        maps = latent_maps(codes) if maps is None else maps
        _check(patterns, codes, maps, model)
        if collapsed is None:
            collapsed = () if model is None else model.history_.collapsed
        self.patterns, self.codes, self.model = patterns, codes, model
        self.maps, self.collapsed = dict(maps), tuple(bool(gone) for gone in collapsed)
        self.rescale, self.factor = rescale, 1.0
        self.plane: Plane | str = make_plane(codes, self.collapsed, latents)
        self.point: tuple[float, float] | None = None
        self.box: Box | None = None
        self.decoded: FloatArray | None = None
        self.go_to(self.shape[0] // 2, self.shape[1] // 2)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the scan."""
        rows, cols = np.shape(self.codes.angle)
        return int(rows), int(cols)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Positions in the box, True, shape (rows, cols); all False while there is no box."""
        if self.box is None or isinstance(self.plane, str):
            return np.zeros(self.shape, dtype=bool)
        return self.plane.inside(self.box)

    @property
    def near(self) -> NDArray[np.bool_]:
        """Positions near the point in the plane, True, shape (rows, cols)."""
        if self.point is None or isinstance(self.plane, str):
            return np.zeros(self.shape, dtype=bool)
        return self.plane.near(self.point, REACH)

    @property
    def selection(self) -> NDArray[np.intp]:
        """Row and column of each position in the box, shape (n, 2)."""
        return np.argwhere(self.mask)

    @property
    def moved(self) -> bool:
        """Whether the point is another than that of the position."""
        return self.point is not None and self.point != self._point_of(self.position)

    @cached_property
    def mean(self) -> FloatArray | None:
        """Mean of what the model decodes at positions spread over the scan, (H, W); None without.

        Details of a bright disc show beside it. It is not rescaled.
        """
        if self.model is None:
            return None
        rows, cols = np.nonzero(np.isfinite(self.codes.z).all(axis=-1))
        if not rows.size:
            return None
        some = np.linspace(0, rows.size - 1, min(rows.size, SAMPLE)).astype(np.intp)
        mean: FloatArray = self.model.reconstruct(at(self.codes, (rows[some], cols[some]))).mean(0)
        return mean

    def go_to(self, row: int, col: int) -> None:
        """Look at a position: read its pattern, and decode its codes.

        Raises
        ------
        IndexError
            If it lies outside the scan.
        ValueError
            If the file behind the patterns is closed.
        """
        if not (0 <= row < self.shape[0] and 0 <= col < self.shape[1]):
            raise IndexError(
                f"the position must lie within the scan of {self.shape[0]} rows and "
                f"{self.shape[1]} columns; got ({row}, {col})"
            )
        position = int(row), int(col)
        pattern = _read(self.patterns, position)
        pedestal = 0.0 if self.model is None else self.model.response_.dark_level
        self.position: tuple[int, int] = position
        self.measured: FloatArray = pattern - pedestal
        self.point = self._point_of(position)
        self._decode()

    def decode_at(self, x: float, y: float) -> None:
        """Decode a point of the plane; the turn and the other codes stay those of the position.

        Raises
        ------
        ValueError
            If there is no plane, or the point is not finite.
        """
        self._needs_plane()
        if not np.isfinite([x, y]).all():
            raise ValueError(f"the point must be finite; got ({x}, {y})")
        self.point = float(x), float(y)
        self._decode()

    def select(self, left: float, right: float, bottom: float, top: float) -> None:
        """Draw a box in the plane; its corners may come in any order.

        Raises
        ------
        ValueError
            If there is no plane, or a side is not finite.
        """
        self._needs_plane()
        if not np.isfinite([left, right, bottom, top]).all():
            raise ValueError(f"the box must be finite; got {(left, right, bottom, top)}")
        (left, right), (bottom, top) = sorted((left, right)), sorted((bottom, top))
        self.box = float(left), float(right), float(bottom), float(top)

    def clear(self) -> None:
        """Take the box away."""
        self.box = None

    def _needs_plane(self) -> None:
        if isinstance(self.plane, str):
            raise ValueError(self.plane)

    def _point_of(self, position: tuple[int, int]) -> tuple[float, float] | None:
        if isinstance(self.plane, str):
            return None
        x, y = float(self.plane.x[position]), float(self.plane.y[position])
        return (x, y) if np.isfinite([x, y]).all() else None

    def _decode(self) -> None:
        self.decoded, self.factor = None, 1.0
        if self.model is None:
            return
        row, col = self.position
        here = at(self.codes, (slice(row, row + 1), col))
        if self.moved and self.point is not None and not isinstance(self.plane, str):
            z = here.z.copy()
            # Without a second latent the point's other coordinate is the error, which decodes not.
            for number, value in zip(self.plane.latents, self.point, strict=False):
                z[..., number - 1] = value
            here = replace(here, z=z)
        if np.isfinite(here.z).all():
            decoded = self.model.reconstruct(here)[0]
            total = float(decoded.sum())
            if self.rescale and total > 0:
                self.factor = max(float(self.measured.sum()), 0.0) / total
            self.decoded = self.factor * decoded


def at(codes: Codes, index: Any) -> Codes:
    """Codes of some positions, by what indexes the scan."""
    whole: dict[str, Any] = vars(codes)
    part: dict[str, Any] = {k: v if v is None else np.asarray(v)[index] for k, v in whole.items()}
    return Codes(**part)


def _read(patterns: Any, position: tuple[int, int]) -> FloatArray:
    """One pattern (H, W), with 0 where a pixel is masked or not finite."""
    check_open(patterns)
    try:
        pattern = patterns[position]
        # Of a lazy array, only the chunk that holds it is read.
        pattern = pattern.compute() if hasattr(pattern, "compute") else pattern
    except (ValueError, RuntimeError, KeyError, OSError) as error:
        if any(words in str(error) for words in CLOSED_FILE):
            raise ValueError(CLOSED) from error
        raise
    filled = np.ma.filled(np.ma.asarray(pattern).astype(float), 0.0)
    return np.nan_to_num(filled, nan=0.0, posinf=0.0, neginf=0.0)


def _check(patterns: Any, codes: Codes, maps: Mapping[str, LatentMap], model: RRVAE | None) -> None:
    check_open(patterns)
    shape = tuple(np.shape(patterns))
    if len(shape) != 4:
        raise ValueError(
            f"patterns must have shape (rows, cols, H, W), of one scan of rows and columns; got "
            f"{shape}"
        )
    if np.shape(codes.angle) != shape[:2]:
        raise ValueError(
            f"the codes must be those of this scan of {shape[:2]} positions; they are of "
            f"{np.shape(codes.angle)}"
        )
    for name, map_ in maps.items():
        if map_.values.shape != shape[:2]:
            raise ValueError(
                f"the maps must be those of this scan of {shape[:2]} positions; {name!r} is of "
                f"{map_.values.shape}"
            )
    if model is not None and model.latent_dim != codes.z.shape[-1]:
        raise ValueError(
            f"the model must be the one that gave the codes, of {codes.z.shape[-1]} latents; it "
            f"has {model.latent_dim}"
        )
