# SPDX-License-Identifier: GPL-3.0-or-later
"""Symmetry scores of patterns, without learning."""
