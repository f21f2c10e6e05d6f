# SPDX-License-Identifier: GPL-3.0-or-later
"""How the model learns, and error bars that hold."""
