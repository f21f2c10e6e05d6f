# SPDX-License-Identifier: GPL-3.0-or-later
"""`RRVAE`: the model with the manners of a scikit-learn estimator."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from . import model_file
from .adoption import check_fits, place, refit
from .codes import Codes
from .core.calibration import calibrate
from .core.intensity import IntensityKind, choose_intensity
from .core.mirror import model_class
from .core.model import Background, LatentModel
from .core.polar import PolarGrid, PolarTransform
from .core.training import History, Schedule, fit_model, settle_latents, split
from .encoding import CHUNK, Binner, Encoder, angle_offset, redraw
from .frames import Frames, unflatten
from .model_file import Fitted
from .options import (
    MIN_PATTERNS,
    Architecture,
    RandomState,
    ScanBackground,
    check_options,
    generator,
)
from .sampling import (
    Drawn,
    Prepared,
    Reservoir,
    affordable,
    check_capacity,
    check_variety,
    draw,
)

FloatArray = NDArray[np.float64]


class RRVAE(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Rotationally invariant variational autoencoder of diffraction patterns.

    Parameters
    ----------
    latent_dim
        Number of latents d.
    architecture
        "polar" (networks on polar patterns, the angle marginalised exactly) or "coordinate" (the
        published model; not available yet).
    center
        Pixel index ``(row, col)`` of the direct beam, or one per position; None: taken from
        `Frames`, else estimated from the mean pattern.
    mask
        ``(H, W)``, True where a detector pixel is kept.
    intensity
        "sqrt" (variance-stabilised counts; "counts" is the same), "linear" or "log". Data that are
        not whole numbers from 0 up get an estimated gain; negative intensities left after binning
        count as 0 except in "linear". Dead and hot pixels go into the background.
    background
        What is fixed to the detector and takes no part in turns: "auto" (learned, started at the
        scan's mean pattern or at its mean over the angle, whichever explains held-out patterns
        better), "mean", "radial" (the mean over the angle too), both held fixed, or None.
    mirror
        Whether a pattern and its mirror image are one: they then have the same z, and
        `Codes.handedness` tells them apart.
    signal_shape
        ``(H, W)`` of patterns given as rows of pixels, as HyperSpy's `decomposition` does; None:
        the mask's shape, else a square.
    sample
        Patterns drawn for training at most; fewer where the centre is unknown, or patterns come
        through `partial_fit`, and they would take more than 256 MiB.
    max_epochs, batch_size, learning_rate, beta
        See `core.training.Schedule`.
    device
        "auto" (cuda, else mps, else cpu) or a torch device.
    random_state
        Seed or NumPy generator; None draws a seed.
    progress
        Whether to show progress bars.

    Attributes
    ----------
    history_ : History
        Losses, noise, and per latent its repeatability and whether it collapsed.
    fitted_ : Fitted
        Trained model and the geometry it was trained with.

    Notes
    -----
    After Oxley et al., npj Comput. Mater. 7 (2021); the angle is marginalised by a circular
    cross-correlation instead of being guessed by the encoder.
    """

    n_features_in_: int | None = None
    _reservoir: Reservoir | None = None

    def __init__(
        self,
        latent_dim: int = 2,
        *,
        architecture: Architecture = "polar",
        center: Any = None,
        mask: Any = None,
        intensity: str = "sqrt",
        background: Background = "auto",
        mirror: bool = False,
        signal_shape: tuple[int, int] | None = None,
        sample: int = 4096,
        max_epochs: int = 45,
        batch_size: int = 64,
        learning_rate: float = 5e-3,
        beta: float = 1.0,
        device: str = "auto",
        random_state: RandomState = None,
        progress: bool = True,
    ) -> None:
        self.latent_dim = latent_dim
        self.architecture = architecture
        self.center = center
        self.mask = mask
        self.intensity = intensity
        self.background = background
        self.mirror = mirror
        self.signal_shape = signal_shape
        self.sample = sample
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.beta = beta
        self.device = device
        self.random_state = random_state
        self.progress = progress

    def fit(self, frames: Any, y: None = None) -> RRVAE:  # noqa: ARG002, scikit-learn passes y
        """Train on a random sample of the patterns.

        Parameters
        ----------
        frames : array-like of shape (..., H, W) or (n, pixels), or Frames
            At least 8 patterns. Read once, in blocks; dask arrays on their scheduler.
        y
            Ignored.

        Returns
        -------
        RRVAE
            Itself.

        Raises
        ------
        ValueError, TypeError, NotImplementedError
            If an option or the patterns cannot be used; the estimator is left as it was.
        """
        prepared = self._prepare(frames, MIN_PATTERNS)
        binner, stabilised = prepared.binner, prepared.stabilised
        intensity, chance = prepared.intensity, torch.Generator().manual_seed(prepared.seed)
        model, history, held_out = self._train(stabilised, binner, prepared.seed, chance)
        model.measure_fixed(stabilised)
        calibrate(model, held_out, lambda x: redraw(x, model, binner.transform, intensity, chance))
        offset = angle_offset(model, stabilised, intensity, binner.grid, binner.transform.weight)
        units, dose = prepared.q_units, prepared.dose
        self.fitted_ = Fitted(model, binner.detector, units, binner.grid, intensity, dose, offset)
        self.history_ = history
        self._reservoir = None
        self.n_features_in_ = _features(frames)
        return self

    def partial_fit(self, frames: Any, y: None = None) -> RRVAE:  # noqa: ARG002
        """Add patterns to a random sample of bounded size, for data that comes in parts.

        Training itself waits until the estimator is first used. Patterns given after that begin
        another sample.

        Parameters
        ----------
        frames : array-like of shape (..., H, W) or (n, pixels)
        y
            Ignored.

        Returns
        -------
        RRVAE
            Itself.

        Raises
        ------
        ValueError, TypeError
            If an option or the patterns cannot be used.
        """
        check_options(self)
        part = self._source(frames)
        if self._reservoir is None:
            size = affordable(part, self.sample)
            self._reservoir = Reservoir(size, generator(self.random_state))
        self._reservoir.add(part.read(np.arange(len(part))))
        self._features = _features(frames)
        return self

    def encode(self, frames: Any, *, background: ScanBackground = "stored") -> Codes:
        """Codes of every pattern; the data is read once (twice for "refit").

        Parameters
        ----------
        frames : array-like of shape (..., H, W) or (n, pixels), or Frames
            From the detector trained on, or from another one where both are calibrated in q. A
            dask array is encoded chunk by chunk on its scheduler, the workers of an active
            `dask.distributed.Client` for one.
        background
            "stored" for patterns of the scan trained on. "refit" for another scan: what belongs to
            a scan and not to the networks (detector-fixed background, dose, noise) is estimated
            from it first.

        Returns
        -------
        Codes

        Raises
        ------
        ValueError, TypeError
            If the patterns are no patterns, or the model does not fit their detector.
        """
        fitted = self._fitted()
        if background not in get_args(ScanBackground):
            raise ValueError(f'background must be "stored" or "refit"; got {background!r}')
        known = fitted.detector
        source = Frames.of(unflatten(frames, known.shape, known.mask))
        source = place(source, fitted, background, self.center)
        model = copy.deepcopy(fitted.model)
        intensity = fitted.intensity
        # One sample serves centre, background, dose and noise: the data is read twice at most.
        drawn = None
        if background == "refit" or source.center is None:
            drawn = self._draw(source, np.random.default_rng(0), fitted.grid)
            source = drawn.frames
        check_fits(source, fitted)
        binner = drawn.binner if drawn else Binner.of(source, fitted.grid, self.device)
        model.to(binner.transform.device)
        model.set_weight(binner.transform.weight, binner.transform.dof)
        if background == "refit" and drawn:
            intensity = refit(model, drawn.binned, fitted, self.background)
        encoder = Encoder(model, binner, intensity, fitted.angle_offset)
        rows = source.gather(encoder, progress="encode" if self.progress else None)
        return Codes.unpack(rows.reshape(*source.scan_shape, -1))

    def transform(self, frames: Any) -> FloatArray:
        """Latents alone, shape (..., d); see `encode`."""
        return self.encode(frames).z

    def reconstruct(self, codes: Codes) -> FloatArray:
        """Expected patterns of `codes` on the detector trained on.

        Parameters
        ----------
        codes
            From `encode`; an undefined angle is taken as 0.

        Returns
        -------
        ndarray, shape (..., H, W)
            Intensities; 0 outside the circle that the model sees.
        """
        offset = self._fitted().angle_offset
        angle = np.nan_to_num(np.asarray(codes.angle, dtype=float))
        theta = (angle - np.where(codes.mirrored, -offset, offset)).ravel()
        z = np.asarray(codes.z).reshape(angle.size, -1)
        rendered = self._render(z, theta, np.ravel(codes.mirrored))
        return rendered.reshape(*angle.shape, *rendered.shape[1:])

    @property
    def components_(self) -> FloatArray:
        """Expected patterns at 1, one standard deviation, of each latent alone: (d, pixels).

        Where rows of pixels without the masked ones were fitted, without those too. The model is
        not linear: `reconstruct` makes patterns of codes, no sum of these does.
        """
        fitted = self._fitted()
        z = np.eye(fitted.model.latent_dim)
        patterns = self._render(z, np.zeros(len(z)), np.zeros(len(z), dtype=bool))
        mask = fitted.detector.mask
        if mask is not None and self.n_features_in_ == np.count_nonzero(mask):
            return patterns[:, mask]
        return patterns.reshape(len(z), -1)

    def _render(
        self, z: NDArray[Any], theta: NDArray[Any], mirrored: NDArray[np.bool_]
    ) -> FloatArray:
        """Expected patterns (n, H, W) of latents (n, d) at the model's turns (n,)."""
        fitted = self._fitted()
        operator = PolarTransform(replace(fitted.detector, mask=None), fitted.grid)
        model = copy.deepcopy(fitted.model).to("cpu")
        inputs = torch.tensor(z).float(), torch.tensor(theta).float(), torch.tensor(mirrored)
        with torch.inference_mode():
            parts = [
                operator.render(fitted.intensity.invert(model.expected(*part)))
                for part in zip(*(p.split(CHUNK) for p in inputs), strict=True)
            ]
        rendered: FloatArray = torch.cat(parts).double().numpy()
        return rendered

    def save(self, path: str | Path) -> None:
        """Write parameters and trained model to one safetensors file (no pickle)."""
        fitted = self._fitted()
        model_file.save(path, self.get_params(), fitted, self.history_)

    @classmethod
    def load(cls, path: str | Path) -> RRVAE:
        """Read what `save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is no model file of this package, or damaged.
        """
        parameters, fitted, history = model_file.load(path)
        loaded = cls(**parameters)
        loaded.fitted_, loaded.history_ = fitted, history
        return loaded

    def _fitted(self) -> Fitted:
        if self._reservoir is not None:
            self.fit(self._reservoir.patterns)
            self.n_features_in_ = self._features
        check_is_fitted(self, "fitted_")
        return self.fitted_

    def _source(self, frames: Any) -> Frames:
        frames = unflatten(frames, self.signal_shape, self.mask)
        return Frames.of(frames, center=self.center, mask=self.mask)

    def _draw(
        self, frames: Frames, rng: np.random.Generator, grid: PolarGrid | None = None
    ) -> Drawn:
        progress = "sample" if self.progress else None
        return draw(frames, self.sample, rng, grid, self.device, progress)

    def _prepare(self, frames: Any, least: int, caller: str = "fit") -> Prepared:
        """Draw what to train on, from at least so many patterns; refuse what cannot be."""
        check_options(self)
        source = self._source(frames)
        if len(source) < least:
            raise ValueError(f"{caller} needs at least {least} patterns; got {len(source)}")
        rng = generator(self.random_state)
        drawn = self._draw(source, rng)
        check_capacity(self.latent_dim, drawn.binned)
        check_variety(drawn.binned)
        intensity = choose_intensity(self._intensity_kind(), drawn.binned, drawn.counts)
        dose = drawn.binned.sum(dim=(1, 2)).mean().item()
        stabilised = intensity(drawn.binned)
        seed = int(rng.integers(2**31))
        return Prepared(drawn.binner, source.q_units, intensity, dose, stabilised, seed)

    def _train(
        self, stabilised: Tensor, binner: Binner, seed: int, chance: torch.Generator
    ) -> tuple[LatentModel, History, Tensor]:
        """Model of stabilised patterns, its history, and the patterns it was not trained on."""
        parts = split(stabilised, chance)
        model, history = fit_model(
            partial(_new_model, self.latent_dim, binner.transform, seed, self.mirror),
            parts,
            self.background,
            self._schedule(),
            seed,
            self.progress,
        )
        settle_latents(model, parts[1], history, chance)
        return model, history, parts[1]

    def _schedule(self) -> Schedule:
        return Schedule(self.max_epochs, self.batch_size, self.learning_rate, self.beta)

    def _intensity_kind(self) -> IntensityKind:
        return cast(IntensityKind, "sqrt" if self.intensity == "counts" else self.intensity)


def _features(frames: Any) -> int | None:
    """Pixels a row where patterns come as rows of pixels."""
    shape: tuple[int, ...] = getattr(frames, "shape", ())
    return int(shape[1]) if len(shape) == 2 else None


def _new_model(
    latent_dim: int, transform: PolarTransform, seed: int, mirror: bool = False
) -> LatentModel:
    # torch initialises layers from the global generator, which is the user's.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(mirror)(latent_dim, transform.weight.cpu(), transform.dof.cpu())
    return model.to(transform.weight.device)
