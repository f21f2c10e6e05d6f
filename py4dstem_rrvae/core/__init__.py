# SPDX-License-Identifier: GPL-3.0-or-later
"""Patterns in, codes out: torch, numpy and scipy alone; no microscope, no host, no file."""
