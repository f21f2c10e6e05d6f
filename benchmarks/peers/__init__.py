# SPDX-License-Identifier: GPL-3.0-or-later
"""Other people's rotationally invariant autoencoders, each in an environment of their own."""
