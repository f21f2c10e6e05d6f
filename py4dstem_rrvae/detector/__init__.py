# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames of a detector as polar patterns whose noise is known. Knows no model, host or file."""
