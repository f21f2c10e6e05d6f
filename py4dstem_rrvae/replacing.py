# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that take the place of earlier ones only once they are complete.

Whenever a process is killed or a disk is full, the earlier file is whole, or the new one is.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows, where what a killed process leaves stays
    fcntl = None  # type: ignore[assignment]

# Folders beside the files, in which new ones are written; locked as long as their process lives.
PREFIX, SUFFIX = ".rrvae-", ".part"
EARLIER = "earlier"
# Of Linux's renameat2: give a name only where none has it; give two names to each other's files.
AT_FDCWD, RENAME_NOREPLACE, RENAME_EXCHANGE = -100, 1, 2


@contextmanager
def replacing(path: str | Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Path for a new file or folder that is moved to `path` at the end of the block.

    If the block raises, or the process is killed in it, `path` is as it was. What a killed process
    left is removed by the next that writes to the same folder.

    Parameters
    ----------
    path
        Of the file, or of the folder that a store is; a link is followed.
    overwrite
        Whether what has this name at the end of the block may go: another process may have written
        it since the caller looked.

    Raises
    ------
    FileExistsError
        If it exists in the end, and may not go.
    OSError
        If it cannot be written.
    """
    path = Path(os.path.realpath(path))
    try:
        _tidy(path.parent)
        folder, lock = _own_folder(path.parent)
    except OSError as error:
        raise _unwritten(path, error) from error
    try:
        yield folder / path.name
        if path.is_file():
            shutil.copymode(path, folder / path.name)
        _to_disk(folder / path.name)
        _move(folder / path.name, path, overwrite)
        _sync(path.parent)
    except (OSError, RuntimeError) as error:  # the second is what HDF5 makes of a full disk
        raise _unwritten(path, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _unwritten(path: Path, error: OSError | RuntimeError) -> OSError:
    told = re.search(r"error message = '([^']+)'", str(error))
    first = (str(error).splitlines() or [type(error).__name__])[0]
    reason = told[1] if told else getattr(error, "strerror", None) or first
    kind = type(error) if isinstance(error, OSError) else OSError
    return kind(f"{path} could not be written: {reason}")


def _own_folder(parent: Path) -> tuple[Path, int | None]:
    """A new folder in `parent`, and the descriptor that holds its lock."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, suffix=SUFFIX, dir=parent))
        lock = _locked(folder)
        if folder.is_dir():  # else another process has tidied it up before it was locked
            return folder, lock


def _locked(folder: Path) -> int | None:
    """Descriptor that holds the lock of a folder; None where it is held, or there are no locks."""
    if fcntl is None:
        return None
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _tidy(parent: Path) -> None:
    """Remove what killed processes left in `parent`."""
    for folder in parent.glob(f"{PREFIX}*{SUFFIX}"):
        lock = _locked(folder)
        if lock is None:
            continue
        with suppress(OSError):
            for earlier in (folder / EARLIER).glob("*"):
                if not (parent / earlier.name).exists():
                    earlier.replace(parent / earlier.name)
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _move(part: Path, path: Path, overwrite: bool) -> None:
    """Give a complete file or folder the name `path`; what had it may be left beside `part`."""
    if not overwrite:
        if _renamed(part, path, RENAME_NOREPLACE):
            return
        if path.exists():
            raise FileExistsError("another process wrote a file of this name meanwhile")
    if path.is_dir() and not part.is_dir():
        raise IsADirectoryError("it is a folder")
    if not (part.is_dir() and path.exists()):
        part.replace(path)
    elif not _renamed(part, path, RENAME_EXCHANGE):
        # For a moment neither has the name; `_tidy` knows what to do if that is the last one.
        (part.parent / EARLIER).mkdir()
        path.replace(part.parent / EARLIER / path.name)
        part.replace(path)


def _renamed(one: Path, other: Path, flag: int) -> bool:
    """Whether Linux's renameat2 did what the flag says in one step."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None) if os.name == "posix" else None
    names = os.fsencode(one), os.fsencode(other)
    return rename is not None and not rename(AT_FDCWD, names[0], AT_FDCWD, names[1], flag)


def _to_disk(path: Path) -> None:
    """Have a file, or all of a folder, written to the disk, so that a power cut leaves it whole."""
    for folder, _, names in os.walk(path):
        for name in names:
            _sync(Path(folder) / name)
        _sync(Path(folder))
    if path.is_file():
        _sync(path)


def _sync(path: Path) -> None:
    if os.name != "posix" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
