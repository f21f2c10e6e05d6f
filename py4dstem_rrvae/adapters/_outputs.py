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
        If the name has another ending, or is that of a folder other than a .zspy store.
    FileExistsError
        If the file exists and `overwrite` is false.
    """
    if path.suffix.lower() not in ENDINGS[host]:
        raise ValueError(f"the file's name must end in {', '.join(ENDINGS[host])}; got {path.name}")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; pass overwrite=True (--overwrite) to replace it")
    if path.is_dir() and not is_store(path):
        raise ValueError(f"{path} must be a file; it is a folder")


def is_store(path: Path) -> bool:
    """Whether a folder is a .zspy store, which may be replaced, and no folder of the user's."""
    groups = (".zgroup", "zarr.json")
    return path.suffix.lower() == ".zspy" and any((path / name).is_file() for name in groups)
