# SPDX-License-Identifier: GPL-3.0-or-later
"""One module per host, each the only importer of its host."""
