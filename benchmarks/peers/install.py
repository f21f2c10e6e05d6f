# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the environment that the peers run in: ``python -m benchmarks.peers.install FOLDER``.

Needs Python 3.9 to 3.11, as torchvision 0.15 and the pinned NumPy do; some 2 GB and a minute.

What it takes to import AtomAI 0.8.1 and pyroVED 0.3.0 today: NumPy below 2, `six` and `requests`
for packages of theirs that do not ask for them, and a torchvision that does not want the compiled
operators of a CUDA build. Both use its pure Python alone, so an old one without its dependencies
serves beside any torch.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import venv
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
TORCHVISION = "torchvision==0.15.2"


def python_of(folder: Path) -> Path:
    """The interpreter of an environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def install(folder: Path) -> None:
    venv.create(folder, with_pip=True)
    python = str(python_of(folder))
    pip = [python, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--requirement", str(REQUIREMENTS)], check=True)
    # A newer one comes as a dependency of AtomAI, and cannot be imported where torch has no CUDA.
    subprocess.run([*pip, "--no-deps", TORCHVISION], check=True)
    subprocess.run([python, "-c", "import atomai, pyroved"], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    install(folder)
    print(f"set PEERS_PYTHON={python_of(folder.absolute())}")


if __name__ == "__main__":
    main()
