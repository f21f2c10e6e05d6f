# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of files of any format that HyperSpy reads: a fit, or the sentence that refuses it.

``python -m benchmarks.formats FOLDER`` tries every file below a folder, lazily and not.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from pathlib import Path

from py4dstem_rrvae.adapters import hyperspy

QUICK = {"max_epochs": 1, "progress": False, "random_state": 0, "device": "cpu"}
NAMED = {".xml": "EMPAD", ".h5": "EMD", ".hdf5": "EMD"}
"""Formats that HyperSpy cannot tell from the ending alone."""


def tried(path: Path, lazy: bool) -> str:
    """One line on what a file gave."""
    try:
        signal = hyperspy.read(path, lazy=lazy, file_format=NAMED.get(path.suffix))
        maps = hyperspy.fit(signal, show_progressbar=False, **QUICK)
        return f"{signal} -> {maps['z1']}"
    except (ValueError, TypeError) as refusal:
        return str(refusal)[:300]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    # Companions that are read through another file.
    for path in sorted(parser.parse_args().folder.rglob("*")):
        if path.is_file() and path.suffix not in (".hdr", ".raw"):
            for lazy in (False, True):
                print(f"{path.name}, {'lazy' if lazy else 'eager'}: {tried(path, lazy)}")


if __name__ == "__main__":
    main()
