# SPDX-License-Identifier: GPL-3.0-or-later
"""The generative model: what a pattern is (z), how it is turned, and how surely."""
