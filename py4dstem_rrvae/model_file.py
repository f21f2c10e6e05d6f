# SPDX-License-Identifier: GPL-3.0-or-later
"""What training leaves, and its file: safetensors with a JSON header, no pickle."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from .core.architectures import Recipe
from .core.bins import Detector, Grid
from .core.fine_mean import FineMean
from .core.intensity import Intensity
from .core.model import LatentModel
from .core.response import Response
from .core.training import History
from .replacing import replacing

KEY = "py4dstem_rrvae"
FORMAT = 7


@dataclass(frozen=True)
class Fitted:
    """Everything that training leaves behind and a model file holds.

    Attributes
    ----------
    model
        Trained networks, background and noise.
    detector, q_units
        Geometry of the scan trained on.
    grid
        Bins, in `q_units`.
    intensity
        Intensity scale, with the gain of the scan trained on.
    response
        Of the camera.
    dose : float
        Mean summed intensity per pattern.
    angle_offset : float
        Added to the model's turn so that it agrees with the centre-of-mass direction on average.
    mean : FineMean or None
        Of the scan trained on, where the beam wandered.
    """

    model: LatentModel
    detector: Detector
    q_units: str
    grid: Grid
    intensity: Intensity
    response: Response
    dose: float
    angle_offset: float
    mean: FineMean | None = None


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
    from . import __version__

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
    metadata = {KEY: json.dumps(header, default=_plain)}
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
        return header["parameters"], fitted, History(**header["history"])
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path} is no rrVAE model file, or is damaged: {error!r}") from error


def _restore(header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Fitted:
    detector = Detector(
        tuple(header["detector"]["shape"]),
        tuple(header["detector"]["center"]),
        tensors["detector.matrix"].numpy(),
        tensors["detector.mask"].numpy() if "detector.mask" in tensors else None,
    )
    state = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    recipe = Recipe.of(header["parameters"])
    with torch.random.fork_rng(devices=[]):
        model = recipe.build(state["weight"], state["dof"])
    model.load_state_dict(state)
    model.eval()
    return Fitted(
        model,
        detector,
        header["q_units"],
        recipe.grid(**header["grid"]),
        Intensity(scale=tensors["intensity.scale"], **header["intensity"]),
        Response(**header["response"]),
        header["dose"],
        header["angle_offset"],
        FineMean(tensors["mean.values"].numpy()) if "mean.values" in tensors else None,
    )


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    if not path.is_file():
        raise FileNotFoundError(f"no model file at {path}")
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no mapping
    except SafetensorError as error:
        raise ValueError(f"{path} is no rrVAE model file, or is damaged: {error}") from error
    if KEY not in metadata:
        raise ValueError(f"{path} is a safetensors file, but not of an rrVAE model")
    try:
        header: dict[str, Any] = json.loads(metadata[KEY])
        found = header["format"]
    except (json.JSONDecodeError, KeyError) as error:
        raise ValueError(f"{path} is no rrVAE model file, or is damaged: {error!r}") from error
    if found != FORMAT:
        raise ValueError(
            f"{path} has model format {found}; this version of the package reads format {FORMAT}"
        )
    return header, tensors


def _plain(value: Any) -> Any:
    """JSON form of NumPy scalars among the parameters."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written to a model file")
