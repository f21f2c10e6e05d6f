# SPDX-License-Identifier: GPL-3.0-or-later
"""Types of arrays that the room has in common."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]
