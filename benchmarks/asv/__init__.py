# SPDX-License-Identifier: GPL-3.0-or-later
"""Times that airspeed velocity follows from commit to commit: ``asv run`` in the root folder."""
