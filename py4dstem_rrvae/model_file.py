# SPDX-License-Identifier: GPL-3.0-or-later
"""The file of a trained model: safetensors with a JSON header, no pickle."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ._version import __version__
from .detector.bins import MOST_SQUARE, Detector, Grid
from .detector.fine_mean import SECTORS, FineMean
from .detector.intensity import INTENSITY_KINDS, Intensity
from .detector.response import Response
from .model.architectures import Recipe
from .options import check_options
from .replacing import replacing
from .scan.frames import Frames
from .training.fitted import Fitted
from .training.loop import History

KEY, CHECKSUM = "py4dstem_rrvae", "sha256"
FORMAT = 10
# A header is as long as its history: of 300,000 epochs.
MOST_HEADER = 32 * 2**20
# Pixels along a side of a detector.
MOST_PIXELS = 2**14
# No number of a camera or a scan comes near.
MOST_NUMBER = 1e30
# What may be infinite in a model.
UNBOUNDED = "width_range"


def save(path: str | Path, parameters: dict[str, Any], fitted: Fitted, history: History) -> None:
    """Write what training left; a centre or mask among `parameters` is kept with the geometry.

    An earlier file is replaced only once the new one is complete.

    Raises
    ------
    OSError
        If it cannot be written.
    FileNotFoundError
        If the folder does not exist.
    ValueError
        If the path is a folder.
    """
    if Path(path).is_dir():
        raise ValueError(f"{path} is a folder: give the name of a file in it")
    detector = fitted.detector
    parameters = parameters | {"center": None, "mask": None}
    if not isinstance(parameters["random_state"], (int, type(None))):
        parameters["random_state"] = None
    header = {
        "format": FORMAT,
        "version": __version__,
        "parameters": parameters,
        "detector": {"shape": detector.shape, "center": detector.center},
        "q_units": fitted.q_units,
        "grid": asdict(fitted.grid),
        "intensity": {"kind": fitted.intensity.kind, "gain": fitted.intensity.gain},
        "response": asdict(fitted.response),
        "dose": fitted.dose,
        "angle_offset": fitted.angle_offset,
        "seed": fitted.seed,
        "n_features": fitted.n_features,
        "history": asdict(history),
    }
    tensors = {f"model.{k}": v.cpu().contiguous() for k, v in fitted.model.state_dict().items()}
    tensors["intensity.scale"] = fitted.intensity.scale.cpu().contiguous()
    tensors["detector.matrix"] = torch.from_numpy(np.ascontiguousarray(detector.matrix))
    if detector.mask is not None:
        tensors["detector.mask"] = torch.from_numpy(np.ascontiguousarray(detector.mask))
    if fitted.mean is not None:
        tensors["mean.values"] = torch.from_numpy(np.ascontiguousarray(fitted.mean.values))
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no folder {path.parent} to write {path.name} to")
    text = json.dumps(header, default=_plain)
    if len(text) > MOST_HEADER // 2:
        raise ValueError(
            f"a model file holds a history of {MOST_HEADER // 2} letters; this has {len(text)}"
        )
    metadata = {KEY: text, CHECKSUM: _digest(text, tensors)}
    with replacing(path) as part:
        try:
            save_file(tensors, str(part), metadata=metadata)
        except SafetensorError as error:
            raise OSError(str(error)) from error


def load(path: str | Path) -> tuple[dict[str, Any], Fitted, History]:
    """Read what `save` wrote: parameters, trained model, history.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no model file of this package, or damaged.
    """
    header, tensors = _read(Path(path))
    try:
        fitted = _restore(header, tensors)
        return header["parameters"], fitted, _history(header["history"])
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        ArithmeticError,
        RuntimeError,
    ) as error:
        raise _damaged(path, error) from error


def _damaged(path: str | Path, error: Exception) -> ValueError:
    reason = str(error) if isinstance(error, ValueError) else repr(error)
    return ValueError(f"{path} is no rrVAE model file, or is damaged: {reason[:300]}")


def _restore(header: dict[str, Any], tensors: dict[str, Tensor]) -> Fitted:
    """What a header and tensors stand for; nothing is built before it is known to be small."""
    parameters = header["parameters"]
    check_options(parameters)
    detector = _detector(header["detector"], tensors)
    recipe = Recipe.of(parameters)
    grid = _grid(recipe, header["grid"], detector)
    state = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    scale, mean = tensors["intensity.scale"], tensors.get("mean.values")
    _check_shapes(
        {
            "weight": (state["weight"], grid.shape),
            "dof": (state["dof"], grid.shape[:1]),
            "kept": (state["kept"], (recipe.latent_dim,)),
            "scale": (scale, scale.shape if scale.ndim == 0 else grid.shape[:1]),
            "mean": (scale, scale.shape) if mean is None else (mean, (max(1, len(mean)), SECTORS)),
        }
    )
    model = recipe.build(state["weight"], state["dof"])
    built = model.state_dict()
    if foreign := sorted(state.keys() - built.keys()):
        raise ValueError(f"no model has a tensor {foreign[0]!r}")
    _check_shapes({name: (state[name], value.shape) for name, value in built.items()})
    _check_values(state | {"scale": scale} | ({} if mean is None else {"mean": mean}))
    model.load_state_dict(state)
    model.eval()
    for name in ("dose", "angle_offset"):
        _check_number(name, header[name])
    return Fitted(
        model,
        detector,
        _word("q_units", header["q_units"]),
        grid,
        _intensity(header["intensity"], scale),
        _response(header["response"]),
        header["dose"],
        header["angle_offset"],
        None if mean is None else FineMean(mean.numpy()),
        _whole("seed", header["seed"]),
        _whole("n_features", header["n_features"]),
    )


def _detector(known: dict[str, Any], tensors: dict[str, Tensor]) -> Detector:
    shape = tuple(known["shape"])
    whole = all(isinstance(n, int) and n <= MOST_PIXELS for n in shape)
    if len(shape) != 2 or not whole:
        raise ValueError(f"a detector must have up to {MOST_PIXELS} pixels a side; got {shape}")
    mask = tensors["detector.mask"].numpy() if "detector.mask" in tensors else None
    # The geometry that frames may have; no memory is taken for their pixels.
    frames = Frames(
        np.broadcast_to(np.float32(0), (1, *shape)),
        center=tuple(known["center"]),
        matrix=tensors["detector.matrix"].numpy(),
        mask=mask,
    )
    row, col = map(float, known["center"])
    return Detector(frames.detector_shape, (row, col), frames.matrix, frames.mask)


def _grid(recipe: Recipe, known: dict[str, Any], detector: Detector) -> Grid:
    grid = recipe.grid(**known)
    _check_number("radius_max", grid.radius_max)
    corners = np.argwhere(np.ones((2, 2))) * detector.shape - 0.5 - detector.center
    farthest = np.linalg.norm(corners @ detector.matrix.T, axis=1).max()
    sides = all(isinstance(n, int) and 0 < n <= MOST_SQUARE for n in grid.shape)
    if known["degree"] not in (0, 2):
        raise ValueError(f"degree of a grid's splines must be 0 or 2; got {grid.degree!r}")
    if not sides or not 0 < grid.radius_max <= 1.01 * farthest:
        raise ValueError(f"bins must lie on the detector, up to {MOST_SQUARE} a side; got {grid}")
    return grid


def _intensity(known: dict[str, Any], scale: Tensor) -> Intensity:
    intensity = Intensity(scale=scale, **known)
    _check_number("gain", intensity.gain)
    if intensity.kind not in INTENSITY_KINDS or not (
        intensity.gain > 0 and bool((scale > 0).all())
    ):
        raise ValueError(f"the intensity scale must be positive; got {known}")
    return intensity


def _response(known: dict[str, Any]) -> Response:
    response = Response(**known)
    for name in ("gain", "offset", "readout", "dark_level", "uneven"):
        _check_number(name, getattr(response, name))
    _word("source", response.source)
    return response


def _history(known: dict[str, Any]) -> History:
    history = History(**known)
    for name in ("train_loss", "validation_loss", "noise", "kl", "repeatability", "collapsed"):
        if not isinstance(getattr(history, name), list):
            raise TypeError(f"{name} must be a list")
    if not all(isinstance(gone, bool) for gone in history.collapsed):
        raise TypeError("collapsed must be a list of true and false")
    return history


def _check_shapes(tensors: dict[str, tuple[Tensor, tuple[int, ...]]]) -> None:
    for name, (tensor, shape) in tensors.items():
        if tuple(tensor.shape) != tuple(shape):
            raise ValueError(f"{name} must have shape {tuple(shape)}; got {tuple(tensor.shape)}")


def _check_values(tensors: dict[str, Tensor]) -> None:
    for name, values in tensors.items():
        wanted = torch.float64 if name == "mean" else torch.float32
        if values.dtype != wanted or bool(values.isnan().any()):
            raise ValueError(f"{name} must hold {wanted} numbers; got {values.dtype}, or NaN")
        if name != UNBOUNDED and not bool(values.isfinite().all()):
            raise ValueError(f"{name} must be finite")


def _check_number(name: str, value: object) -> None:
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not real or not abs(value) < MOST_NUMBER:  # type: ignore[arg-type]
        raise ValueError(f"{name} must be a finite number; got {value!r}")


def _whole(name: str, value: object) -> int | None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise TypeError(f"{name} must be a whole number or absent")
    return value


def _word(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a word")
    return value


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise FileNotFoundError(f"no model file at {path}")
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
        if length > MOST_HEADER:
            raise ValueError(f"its header is {length} bytes long, at most {MOST_HEADER} are read")
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no mapping
    except (SafetensorError, ValueError, RuntimeError, AttributeError) as error:
        raise ValueError(f"{path} is no rrVAE model file, or is damaged: {error}") from error
    if KEY not in metadata:
        raise ValueError(f"{path} is a safetensors file, but not of an rrVAE model")
    try:
        header: dict[str, Any] = json.loads(metadata[KEY])
        found = header["format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is no rrVAE model file, or is damaged: {error!r}") from error
    if found != FORMAT:
        raise ValueError(
            f"{path} has model format {found}; this version of the package reads format {FORMAT}"
        )
    if metadata.get(CHECKSUM, digest := _digest(metadata[KEY], tensors)) != digest:
        raise _damaged(path, ValueError("what it holds is not what was written (checksum)"))
    return header, tensors


def _digest(text: str, tensors: dict[str, Tensor]) -> str:
    """SHA-256 of all that a file holds."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """JSON form of NumPy scalars among the parameters."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written to a model file")
