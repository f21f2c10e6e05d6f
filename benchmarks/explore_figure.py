# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture of `docs/explore.md`: an explorer of the shipped graphene, as a browser shows it.

``python -m benchmarks.explore_figure docs/figures/explore.png`` (see `browser` for what it needs).
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from .browser import MISSING, explorer_canvas, opened, served

PAGE = """
import warnings; warnings.simplefilter("ignore")
from py4dstem_rrvae import datasets

cube = datasets.graphene()
cube.rrvae.fit(random_state=0, progress=False)
explorer = cube.rrvae.explore()
explorer._intensity.value = "less the mean"
explorer._drag.value = "box"
explorer.go_to(44, 23)
explorer.select(3.2, 8.9, -2.4, 4)
explorer
"""


def main() -> None:
    """Write the picture."""
    if MISSING:
        raise SystemExit(MISSING)
    with (
        tempfile.TemporaryDirectory() as folder,
        served(PAGE, Path(folder)) as address,
        opened(address, (990, 780)) as browser,
    ):
        explorer_canvas(browser)
        time.sleep(2)
        browser.save_screenshot(sys.argv[1])


if __name__ == "__main__":
    main()
