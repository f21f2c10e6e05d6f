# SPDX-License-Identifier: GPL-3.0-or-later
"""What training leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..detector.arrays import FloatArray
from ..detector.bin_operator import BinOperator
from ..detector.bins import Detector, Grid
from ..detector.fine_mean import FineMean
from ..detector.intensity import Intensity
from ..detector.response import Response
from ..model.base import LatentModel

# Splines of a higher degree would give each pixel to more than 36 others.
MOST_DEGREE = 5


@dataclass(frozen=True)
class Fitted:
    """Everything that training leaves behind and a model file holds.

    Attributes
    ----------
    model
        Trained networks, background and noise.
    detector, q_units
        Geometry of the scan trained on.
    grid
        Bins, in `q_units`.
    intensity
        Intensity scale, with the gain of the scan trained on.
    response
        Of the camera.
    dose : float
        Mean summed intensity per pattern.
    angle_offset : float
        Added to the model's turn so that it agrees with the centre-of-mass direction on average.
    mean : FineMean or None
        Of the scan trained on, where the beam wandered.
    seed : int or None
        With which the same training can be had again; None where a generator was given.
    n_features : int or None
        Pixels of a row, where rows of pixels were trained on.
    """

    model: LatentModel
    detector: Detector
    q_units: str
    grid: Grid
    intensity: Intensity
    response: Response
    dose: float
    angle_offset: float
    mean: FineMean | None = None
    seed: int | None = None
    n_features: int | None = None

    @cached_property
    def renderer(self) -> BinOperator:
        """What spreads decoded bins over the pixels of the whole detector; made on first use."""
        return BinOperator(replace(self.detector, mask=None), self.grid)

    def grid_for(self, matrix: FloatArray) -> Grid:
        """The bins, for a camera with pixels of another size, ``matrix (2, 2)`` as of `Detector`.

        A spline smooths by (degree + 1) / 12 of a pixel's area; that degree is taken which smooths
        most nearly as much as what the model was trained on.
        """
        area, trained_on = (abs(np.linalg.det(m)) for m in (matrix, self.detector.matrix))
        degree = round((self.grid.degree + 1) * trained_on / area) - 1
        return replace(self.grid, degree=min(max(degree, 0), MOST_DEGREE))

    def __getstate__(self) -> dict[str, Any]:
        """The renderer is large, and made again where it is wanted."""
        return {name: value for name, value in vars(self).items() if name != "renderer"}
