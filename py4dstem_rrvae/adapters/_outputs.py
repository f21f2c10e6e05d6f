# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that the hosts write; imports nothing of theirs, so that a command can check them first."""

from __future__ import annotations

from pathlib import Path

ENDINGS = {
    "py4dstem": (".h5", ".hdf5", ".emd", ".py4dstem"),
    "hyperspy": (".hspy", ".zspy"),
}
"""What the names of a host's own files end in."""


def check(path: Path, host: str, *, overwrite: bool) -> None:
    """Refuse a name that the host would not read again, and a file that exists.

    Raises
    ------
    ValueError
        If the name has another ending.
    FileExistsError
        If the file exists and `overwrite` is false.
    """
    if path.suffix.lower() not in ENDINGS[host]:
        raise ValueError(f"the file's name must end in {', '.join(ENDINGS[host])}; got {path.name}")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; pass overwrite=True (--overwrite) to replace it")
