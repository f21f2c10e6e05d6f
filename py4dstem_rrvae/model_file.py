# SPDX-License-Identifier: GPL-3.0-or-later
"""A trained estimator as one safetensors file: tensors, and a JSON header; no pickle."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from .core.intensity import Intensity
from .core.model import PolarRRVAE
from .core.polar import Detector, PolarGrid
from .core.training import History

if TYPE_CHECKING:
    from .estimator import RRVAE

KEY = "py4dstem_rrvae"
FORMAT = 1


def save(path: str | Path, estimator: RRVAE) -> None:
    """Write a fitted `estimator` to `path`; a given centre or mask is kept with the geometry."""
    from . import __version__

    fitted = estimator._fitted()
    detector = fitted.detector
    parameters = estimator.get_params()
    for name in ("center", "mask"):
        parameters[name] = None
    if not isinstance(parameters["random_state"], (int, type(None))):
        parameters["random_state"] = None
    header = {
        "format": FORMAT,
        "version": __version__,
        "parameters": parameters,
        "detector": {"shape": detector.shape, "center": detector.center},
        "q_units": fitted.q_units,
        "grid": asdict(fitted.grid),
        "intensity": asdict(fitted.intensity),
        "dose": fitted.dose,
        "angle_offset": fitted.angle_offset,
        "history": asdict(estimator.history_),
    }
    tensors = {f"model.{k}": v.cpu().contiguous() for k, v in fitted.model.state_dict().items()}
    tensors["detector.matrix"] = torch.from_numpy(np.ascontiguousarray(detector.matrix))
    if detector.mask is not None:
        tensors["detector.mask"] = torch.from_numpy(np.ascontiguousarray(detector.mask))
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no folder {path.parent} to write {path.name} to")
    save_file(tensors, str(path), metadata={KEY: json.dumps(header, default=_plain)})


def load(path: str | Path) -> RRVAE:
    """Read what `save` wrote."""
    header, tensors = _read(Path(path))
    try:
        return _restore(header, tensors)
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path} is no rrVAE model file, or is damaged: {error!r}") from error


def _restore(header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> RRVAE:
    from .estimator import RRVAE, Fitted

    detector = Detector(
        tuple(header["detector"]["shape"]),
        tuple(header["detector"]["center"]),
        tensors["detector.matrix"].numpy(),
        tensors["detector.mask"].numpy() if "detector.mask" in tensors else None,
    )
    state = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    estimator = RRVAE(**header["parameters"])
    with torch.random.fork_rng(devices=[]):
        model = PolarRRVAE(estimator.latent_dim, state["weight"], state["dof"])
    model.load_state_dict(state)
    model.eval()
    estimator.fitted_ = Fitted(
        model,
        detector,
        header["q_units"],
        PolarGrid(**header["grid"]),
        Intensity(**header["intensity"]),
        header["dose"],
        header["angle_offset"],
    )
    estimator.history_ = History(**header["history"])
    return estimator


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
