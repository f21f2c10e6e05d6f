# SPDX-License-Identifier: GPL-3.0-or-later
"""The menu rrVAE of py4D-browser, which looks here for the class."""

from .plugin import RRVAEPlugin

__all__ = ["RRVAEPlugin"]
