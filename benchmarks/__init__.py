# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures of merit and timings: they report and do not gate."""
