# SPDX-License-Identifier: GPL-3.0-or-later
"""Scans walked block by block: arrays and files here, dask arrays wherever their chunks are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..progress import dask_progress, progress_bar

T = TypeVar("T")
Positions = NDArray[np.intp]
Task = Callable[[NDArray[Any], Positions], T]
"""What is done with patterns (n, H, W) at the flat scan positions (n,)."""

BLOCK_BYTES = 32 * 2**20
CLOSED = "the file behind the patterns is closed: open it again, and read the patterns from there"
# What h5py says of one.
CLOSED_FILE = (
    "identifier is not of specified type",
    "Not a dataset",
    "Invalid location identifier",
    "Not a location",
    "not a dataset",
)
# Larger intensities would overflow single precision when they are squared.
MOST_INTENSITY = 1e15
# A file's chunk is read as a whole even where it is larger than a block, up to this size.
CHUNK_BYTES = 256 * 2**20


def check_open(patterns: Any) -> None:
    """Refuse a dataset whose file is closed.

    Raises
    ------
    ValueError
    """
    if not getattr(getattr(patterns, "id", None), "valid", True):
        raise ValueError(CLOSED)


def walk(
    patterns: Any,
    task: Task[T],
    positions: Positions | None = None,
    progress: str | None = None,
    kept: NDArray[np.bool_] | None = None,
) -> Iterator[tuple[Positions, T]]:
    """Do a task on every block of a scan, each read once.

    Parameters
    ----------
    patterns : array-like, shape (..., H, W)
        NumPy array, memmap or ``h5py.Dataset``: read here, one block after the other. Dask array:
        done by its scheduler, on the workers where a `dask.distributed.Client` is active. An object
        with a method ``walk_blocks(work, positions, progress)`` sees to it itself: that yields
        positions and what ``work`` returned for their block and them.
    task
        For dask it must pickle; it is sent to each worker once.
    positions
        Flat scan indices to visit, ascending; None for all.
    progress
        What a progress bar says; None shows none.
    kept : ndarray of bool, shape (H, W), or None
        Pixels that a mask leaves. The others, and frames that were never recorded (NaN throughout),
        are read as zero.

    Yields
    ------
    positions : ndarray, shape (n,)
    result
        What the task returned for them.

    Raises
    ------
    ValueError
        If a pattern visited holds NaN, infinity or more than 1e15 in some of its pixels.
    """
    if hasattr(patterns, "walk_blocks"):
        work = partial(on_block, task, kept=kept)
        yield from patterns.walk_blocks(work, positions, progress)
        return
    if hasattr(patterns, "to_delayed"):
        yield from _walk_dask(patterns, task, positions, progress, kept)
        return
    total = math.prod(patterns.shape[:-2]) if positions is None else len(positions)
    with progress_bar(progress, total=total, unit="pattern") as bar:
        for where, block in _ahead(_blocks(patterns, positions)):
            yield where, task(_finite(block, kept), where)
            bar.update(len(where))


def _ahead(blocks: Iterator[T]) -> Iterator[T]:
    """The same, each read while something is done with the one before."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = reader.submit(next, blocks, None)
            yield block


def _blocks(patterns: Any, positions: Positions | None) -> Iterator[tuple[Positions, NDArray[Any]]]:
    scan, detector = patterns.shape[:-2], patterns.shape[-2:]
    size = math.prod(detector) * patterns.dtype.itemsize
    if isinstance(patterns, np.ndarray) and positions is not None:
        per_block = max(1, BLOCK_BYTES // size)
        for start in range(0, len(positions), per_block):
            where = positions[start : start + per_block]
            yield (
                where,
                np.asarray(patterns[np.unravel_index(where, scan)] if scan else patterns[None]),
            )
        return
    chunks = getattr(patterns, "chunks", None) or (1,) * len(patterns.shape)
    shape = block_shape(scan, chunks[: len(scan)], size)
    for corner in np.ndindex(*(-(-n // b) for n, b in zip(scan, shape, strict=True))):
        index = tuple(
            slice(k * b, min((k + 1) * b, n)) for k, b, n in zip(corner, shape, scan, strict=True)
        )
        where, picked = _pick(index, scan, positions)
        if len(where):
            block = np.asarray(patterns[index]).reshape(-1, *detector)
            yield where, block if picked is None else block[picked]


def block_shape(
    scan: tuple[int, ...], chunks: tuple[int, ...], pattern_bytes: int
) -> tuple[int, ...]:
    """Scan positions per block: whole chunks, as many along the last axes as a block holds."""
    shape = [min(c, n) for c, n in zip(chunks, scan, strict=True)]
    # Chunks that split the detector hold more positions than fit; then each is read in parts.
    for axis in range(len(shape)):
        most = CHUNK_BYTES // (pattern_bytes * math.prod(shape[axis + 1 :]))
        shape[axis] = max(1, min(shape[axis], most))
    for axis in reversed(range(len(shape))):
        fit = BLOCK_BYTES // (pattern_bytes * math.prod(shape))
        if fit < 2:
            break
        shape[axis] = min(shape[axis] * fit, scan[axis])
        if shape[axis] < scan[axis]:
            break
    return tuple(shape)


def _pick(
    index: tuple[slice, ...], scan: tuple[int, ...], positions: Positions | None
) -> tuple[Positions, Positions | None]:
    """Flat positions of a block, and where in the block they lie (None: all in order)."""
    axes = np.ix_(*(np.arange(s.start, s.stop) for s in index))
    flat = np.ravel_multi_index(axes, scan).ravel() if scan else np.zeros(1, dtype=np.intp)
    if positions is None:
        return flat, None
    picked = np.flatnonzero(np.isin(flat, positions, assume_unique=True))
    return flat[picked], picked


def _finite(block: NDArray[Any], kept: NDArray[np.bool_] | None = None) -> NDArray[Any]:
    if block.dtype.kind != "f":
        return block
    most = min(MOST_INTENSITY, float(np.finfo(block.dtype).max))
    # NaN is neither above nor below.
    usable = (block <= most) & (block >= -most)
    if usable.all():
        return block
    seen = (usable if kept is None else usable[:, kept]).reshape(len(block), -1)
    found = (block if kept is None else block[:, kept]).reshape(len(block), -1)
    recorded = np.isfinite(found).any(axis=1)
    bad = int(np.size(seen[recorded]) - seen[recorded].sum())
    if bad:
        frames = int((recorded & ~seen.all(axis=1)).sum())
        raise ValueError(
            f"patterns must be finite, and below {MOST_INTENSITY:g}; got {bad} pixels in {frames} "
            "frames of a block that are NaN, infinite or larger. Pixels that are never good are "
            "left out by mask= (True = keep), single ones have to be filled"
        )
    return np.where(usable, block, block.dtype.type(0))


def _walk_dask(
    patterns: Any,
    task: Task[T],
    positions: Positions | None,
    progress: str | None,
    kept: NDArray[np.bool_] | None,
) -> Iterator[tuple[Positions, T]]:
    import dask

    scan = patterns.shape[:-2]
    patterns = _whole_patterns(patterns)
    # One object in the graph, sent once to each worker and made again where a worker was lost.
    shared = dask.delayed(task, traverse=False)
    apply = dask.delayed(on_block, pure=False)
    edges = [np.cumsum((0, *sizes)) for sizes in patterns.chunks[:-2]]
    parts, visited = [], []
    for corner, block in np.ndenumerate(patterns.to_delayed()[..., 0, 0]):
        index = tuple(slice(e[k], e[k + 1]) for k, e in zip(corner, edges, strict=True))
        where, picked = _pick(index, scan, positions)
        if len(where):
            parts.append(apply(shared, block, where, picked, kept))
            visited.append(where)
    yield from zip(visited, _compute(parts, progress), strict=True)


def _whole_patterns(patterns: Any) -> Any:
    """Chunks that hold whole patterns, and enough of them to be worth a task."""
    scan, chunks = patterns.shape[:-2], patterns.chunksize
    size = math.prod(patterns.shape[-2:]) * patterns.dtype.itemsize
    split = chunks[-2:] != patterns.shape[-2:]
    if split or size * math.prod(chunks[:-2]) < BLOCK_BYTES // 4:
        nav = block_shape(scan, chunks[:-2], size)
        patterns = patterns.rechunk((*nav, -1, -1))
    return patterns


def on_block(
    task: Task[T],
    block: NDArray[Any],
    where: Positions,
    picked: Positions | None = None,
    kept: NDArray[np.bool_] | None = None,
) -> T:
    """Do a task on a block, (..., H, W), or on the patterns picked from it; see `walk`."""
    block = np.asarray(block).reshape(-1, *block.shape[-2:])
    return task(_finite(block if picked is None else block[picked], kept), where)


def _compute(parts: list[Any], progress: str | None) -> list[Any]:
    """Results of delayed `parts`, from an active cluster or from threads here."""
    import dask
    from dask.base import get_scheduler

    client = getattr(get_scheduler(), "__self__", None)
    if client is not None:
        from distributed import as_completed

        futures = client.compute(parts)
        done = as_completed(futures)
        for _ in progress_bar(progress, iterable=done, total=len(futures)):
            pass
        return list(client.gather(futures))
    with dask_progress(progress):
        try:
            return list(dask.compute(*parts))
        except (ValueError, RuntimeError, KeyError, OSError) as error:
            if any(words in str(error) for words in CLOSED_FILE):
                raise ValueError(CLOSED) from error
            raise
