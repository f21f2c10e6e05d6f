# SPDX-License-Identifier: GPL-3.0-or-later
"""Codes as what a person looks at: maps with units, angles without jumps, and what stands out."""

from .latent import LatentMap as LatentMap
from .latent import latent_maps as latent_maps
