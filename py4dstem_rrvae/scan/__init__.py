# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrays, files and dask arrays of patterns: walked block by block, sampled and encoded."""
