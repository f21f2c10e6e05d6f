# SPDX-License-Identifier: GPL-3.0-or-later
"""The command that simulates a case and writes its file."""

import argparse
from pathlib import Path

import numpy as np

from ..datasets import check_absent, counts, save
from .cases import CASES
from .multislice import intensities


def main(arguments: list[str] | None = None) -> None:
    """Simulate a case, draw counts and write the file."""
    parser = argparse.ArgumentParser(prog="python -m py4dstem_rrvae.simulate")
    parser.add_argument("case", choices=sorted(CASES))
    parser.add_argument("--out", type=Path, required=True, help="HDF5 file to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--electrons", type=float, help="per pattern; default: the case's own")
    parser.add_argument("--overwrite", action="store_true")
    options = parser.parse_args(arguments)
    # Before the minutes of simulation, not after them.
    check_absent(options.out, overwrite=options.overwrite)
    electrons = CASES[options.case].electrons if options.electrons is None else options.electrons
    simulation = intensities(options.case, random_state=options.seed)
    drawn = counts(simulation, electrons, random_state=np.random.default_rng((options.seed, 1)))
    save(options.out, simulation, drawn, electrons=electrons, overwrite=options.overwrite)


if __name__ == "__main__":
    main()
