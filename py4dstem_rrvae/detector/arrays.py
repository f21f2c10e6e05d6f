# SPDX-License-Identifier: GPL-3.0-or-later
"""Types of arrays that the room has in common."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
AnyArray = NDArray[np.generic]
Index = NDArray[np.intp]
Point = tuple[float, float]
Mask = NDArray[np.bool_]
