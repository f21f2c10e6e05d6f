# SPDX-License-Identifier: GPL-3.0-or-later
"""Latent maps by LiberTEM: a UDF, and training on a sample that LiberTEM's workers draw.

LiberTEM's navigation axes are the scan's and its signal axes the detector's, both slowest first, so
angles count from the rows (y) towards the columns (x), as everywhere in the package.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from os import PathLike
from typing import Any

import numpy as np
from libertem.api import Context
from libertem.io.dataset.base import DataSet
from libertem.udf import UDF
from numpy.typing import NDArray

from ..codes import Codes
from ..estimator import RRVAE
from ..maps.latent import LatentMap, latent_maps
from ..scan.adoption import ScanBackground
from ..scan.blocks import BLOCK_BYTES, Positions, on_block
from ..scan.frames import Frames
from ..threads import one_thread
from . import _models

__all__ = ["LatentUDF", "Maps", "codes", "encode", "fit", "frames", "maps"]

# Patterns that a worker gathers before it works on them.
MOST_PATTERNS = 256

Work = Callable[[NDArray[Any], Positions], Any]


class Maps(dict[str, LatentMap]):
    """Name to `LatentMap`; `model` made them of the `codes`."""

    def __init__(self, codes: Codes, model: RRVAE) -> None:
        super().__init__(latent_maps(codes))
        self.codes, self.model = codes, model


def fit(
    context: Context,
    dataset: DataSet,
    *,
    model: RRVAE | None = None,
    roi: NDArray[np.bool_] | None = None,
    matrix: NDArray[np.float64] | None = None,
    q_units: str = "pixels",
    **options: Any,
) -> Maps:
    """Train a model on a sample of a data set, and encode the data set, both on the workers.

    Patterns stay there; binned ones of the sample come here, where the model is trained.

    Parameters
    ----------
    context
        LiberTEM's, with whichever executor.
    dataset
        Loaded by it; patterns of two axes.
    model
        Model to train; None makes ``RRVAE(**options)``.
    roi : ndarray of bool, shape of the navigation axes, or None
        Positions to train on (True). All are mapped.
    matrix, q_units
        Of q, as in `Frames`, for models that are to serve other detectors.
    **options
        Options of `RRVAE`.

    Returns
    -------
    Maps

    Raises
    ------
    TypeError
        If `RRVAE` has no such option, options come with a model, or the model is no `RRVAE`.
    ValueError
        If the patterns cannot be used.
    """
    model = _models.to_train(model, options)
    source = frames(context, dataset, matrix=matrix, q_units=q_units, roi=roi)
    model.fit(source)
    return _encoded(context, dataset, source, model, "stored", None)


def encode(
    context: Context,
    dataset: DataSet,
    model: RRVAE | str | PathLike[str],
    *,
    background: ScanBackground = "refit",
    roi: NDArray[np.bool_] | None = None,
    center: Any = None,
    matrix: NDArray[np.float64] | None = None,
    q_units: str = "pixels",
) -> Maps:
    """Encode a data set with a trained model on LiberTEM's workers.

    Parameters
    ----------
    context, dataset, matrix, q_units
        As in `fit`.
    model
        Trained model, or the path of a saved one.
    background
        ``"refit"`` estimates what is fixed to the detector from this scan; ``"stored"`` takes the
        training scan's, for that same scan.
    roi : ndarray of bool, shape of the navigation axes, or None
        Positions to read and map; maps are NaN, and the fold 0, at the others.
    center
        As in `Frames`; None: the model's for ``"stored"``, else estimated.

    Returns
    -------
    Maps

    Raises
    ------
    ValueError
        If the patterns do not suit the model.
    """
    source = frames(context, dataset, center=center, matrix=matrix, q_units=q_units, roi=roi)
    return _encoded(context, dataset, source, _models.trained(model), background, source.roi)


def frames(
    context: Context,
    dataset: DataSet,
    *,
    center: Any = None,
    matrix: NDArray[np.float64] | None = None,
    mask: NDArray[np.bool_] | None = None,
    q_units: str = "pixels",
    roi: NDArray[np.bool_] | None = None,
) -> Frames:
    """Patterns that LiberTEM's workers read, for `RRVAE` and all that takes `Frames`.

    Parameters
    ----------
    context, dataset
        As in `fit`.
    center, matrix, mask, q_units, roi
        As in `Frames`.

    Raises
    ------
    TypeError
        If it is no data set of LiberTEM, or its data are not real numbers.
    ValueError
        If its patterns do not have two axes, or the geometry cannot be used.
    """
    if not isinstance(dataset, DataSet):
        raise TypeError(f"dataset must be one that LiberTEM loaded; got {type(dataset).__name__}")
    if dataset.shape.sig.dims != 2:
        raise ValueError(
            f"patterns must have two axes; those of the data set have {dataset.shape.sig.dims}"
        )
    matrix = np.eye(2) if matrix is None else matrix
    return Frames(_Scan(context, dataset), center, matrix, mask, q_units, roi)


class _Batch:
    """Patterns of a partition, gathered until there are enough to be worth some work.

    Parameters
    ----------
    work
        Takes patterns (n, H, W) and their flat scan positions.
    where
        Positions of the partition's patterns.
    """

    def __init__(self, work: Work, where: Positions) -> None:
        self.work, self.where = work, where
        self.found: list[tuple[NDArray[np.intp], Any]] = []
        self._waiting: NDArray[Any] | None = None
        self._index: list[int] = []

    def add(self, pattern: NDArray[Any], index: int) -> None:
        """Take the partition's pattern of an index, which LiberTEM may overwrite afterwards."""
        if self._waiting is None:
            size = max(1, min(MOST_PATTERNS, BLOCK_BYTES // pattern.nbytes, len(self.where)))
            self._waiting = np.empty((size, *pattern.shape), dtype=pattern.dtype)
        self._waiting[len(self._index)] = pattern
        self._index.append(index)
        if len(self._index) == len(self._waiting):
            self.end()

    def end(self) -> None:
        """Do the work on what still waits."""
        if self._waiting is None:
            return
        index, patterns = np.array(self._index), self._waiting[: len(self._index)]
        # The result may hold the patterns themselves.
        self._waiting, self._index = None, []
        with one_thread():
            self.found.append((index, self.work(patterns, self.where[index])))


class _WholePatterns(UDF):
    """Work on batches of whole patterns, whatever tiles they come in; `work` is pickled."""

    def get_preferred_input_dtype(self) -> Any:
        """What the detector recorded."""
        return self.USE_NATIVE_DTYPE

    def get_backends(self) -> Any:
        """Plain arrays."""
        return (self.BACKEND_NUMPY,)

    def get_task_data(self) -> dict[str, Any]:
        """Patterns of the partition that wait; what works on them is made once in each process."""
        batch = _Batch(_opened(self.params.work), _positions(self.meta))
        return {"batch": batch, "first": self.meta.slice.origin[0]}

    def process_frame(self, frame: NDArray[Any]) -> None:
        """Only add it: networks take many patterns at once."""
        self.task_data.batch.add(frame, self.meta.slice.origin[0] - self.task_data.first)


class LatentUDF(_WholePatterns):
    """Codes of every pattern, one buffer for each array of `Codes`.

    ``LatentUDF.of(model)`` makes it. `codes` and `maps` make maps of what a run returns, whole or
    in parts, also while a detector still sends.

    Parameters
    ----------
    work : bytes
        Pickled encoder; each worker makes one of it.
    latent_dim : int
        Number of latents.
    mirror : bool
        Whether there is a handedness.
    """

    def __init__(self, work: bytes, latent_dim: int, mirror: bool) -> None:
        super().__init__(work=work, latent_dim=latent_dim, mirror=mirror)

    @classmethod
    def of(
        cls,
        model: RRVAE | str | PathLike[str],
        frames: Frames | None = None,
        *,
        background: ScanBackground = "stored",
        device: str = "cpu",
    ) -> LatentUDF:
        """For patterns of the scan trained on, or for `frames` of another one.

        Parameters
        ----------
        model
            Trained model, or the path of a saved one.
        frames
            From `frames`, read for their centre and background alone; None: as the model's own.
        background
            As in `encode`.
        device
            Of the workers, as in `RRVAE`. There are as many of them as cores, so that each takes
            one thread of the processor unless told otherwise.

        Raises
        ------
        ValueError
            If the model follows the beam (``center="each"``) and there are no frames to find it in.
        """
        model = copy.copy(_models.trained(model))
        model.device = device
        if frames is None:
            if model._asks_center("each"):
                raise ValueError('center="each" needs frames=, in which to find the beam')
            shape = model._fitted().detector.shape
            frames = Frames(_Described((1, *shape), np.dtype(np.float32)))
        source, encoder = model._encoder(frames, background)
        work = pickle.dumps(partial(on_block, encoder, kept=source.mask))
        return cls(work, model.latent_dim, bool(model.mirror))

    def get_result_buffers(self) -> dict[str, Any]:
        """One for each array of `Codes`, NaN where nothing was read."""
        single = {"kind": "nav", "dtype": "float64"}
        several = single | {"extra_shape": (self.params.latent_dim,)}
        buffers = {name: self.buffer(**several) for name in ("z", "z_std")}
        names = ["angle", "angle_std", "angle_reliability", "fold", "error"]
        names += ["handedness"] if self.params.mirror else []
        return buffers | {name: self.buffer(**single) for name in names}

    def postprocess(self) -> None:
        """Encode what is left, and fill the partition's part of the maps."""
        self.task_data.batch.end()
        for index, rows in self.task_data.batch.found:
            found = Codes.unpack(rows)
            for name in self.get_result_buffers():
                getattr(self.results, name)[index] = getattr(found, name)


class _BlockUDF(_WholePatterns):
    """What some work returns for every batch, as a list of (positions, result)."""

    def __init__(self, work: bytes) -> None:
        super().__init__(work=work)

    def get_result_buffers(self) -> dict[str, Any]:
        return {"found": self.buffer(kind="single", dtype=object, extra_shape=(1,))}

    def postprocess(self) -> None:
        batch = self.task_data.batch
        batch.end()
        self.results.found[0] = [(batch.where[index], result) for index, result in batch.found]

    def merge(self, dest: Any, src: Any) -> None:
        dest.found[0] = (dest.found[0] or []) + (src.found[0] or [])


class _Described:
    """Shape and type of patterns that are read elsewhere."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype, self.ndim = shape, dtype, len(shape)


class _Scan(_Described):
    """A data set as `blocks.walk` takes it."""

    def __init__(self, context: Context, dataset: DataSet) -> None:
        super().__init__(tuple(dataset.shape), np.dtype(dataset.dtype))
        self.context, self.dataset = context, dataset

    def walk_blocks(
        self, work: Work, positions: Positions | None, progress: str | None
    ) -> Iterator[tuple[Positions, Any]]:
        """Have the workers do it, each on its partitions."""
        roi = None
        if positions is not None:
            roi = np.zeros(self.shape[:-2], dtype=bool)
            roi.flat[positions] = True
        udf = _BlockUDF(pickle.dumps(work))
        found = self.context.run_udf(self.dataset, udf, roi=roi, progress=progress is not None)
        # Partitions come as they are done; the same sample is to give the same model.
        yield from sorted(found["found"].data[0] or [], key=lambda part: int(part[0][0]))


def codes(found: Mapping[str, Any]) -> Codes:
    """`Codes` of what a run of `LatentUDF` returned; where nothing was read, NaN and fold 0."""
    # What is still to come is masked.
    arrays = {name: np.ma.filled(buffer.masked_data, np.nan) for name, buffer in found.items()}
    fold = np.nan_to_num(arrays.pop("fold")).astype(np.int64)
    return Codes(fold=fold, **arrays)


def maps(found: Mapping[str, Any], model: RRVAE) -> Maps:
    """Named maps of what a run of `LatentUDF` with a model returned."""
    return Maps(codes(found), model)


def _encoded(
    context: Context,
    dataset: DataSet,
    source: Frames,
    model: RRVAE,
    background: ScanBackground,
    roi: NDArray[np.bool_] | None,
) -> Maps:
    udf = LatentUDF.of(model, source, background=background)
    found = context.run_udf(dataset, udf, roi=roi, progress=bool(model.progress))
    return maps(found, model)


def _positions(meta: Any) -> Positions:
    """Flat scan positions of the patterns that are processed."""
    index = tuple(np.asarray(meta.coordinates).T)
    where: Positions = np.ravel_multi_index(index, tuple(meta.dataset_shape.nav))
    return where


@lru_cache(maxsize=4)
def _opened(stored: bytes) -> Any:
    return pickle.loads(stored)
