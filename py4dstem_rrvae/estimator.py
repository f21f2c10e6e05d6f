# SPDX-License-Identifier: GPL-3.0-or-later
"""`RRVAE`: the model with the manners of a scikit-learn estimator."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from tqdm.auto import tqdm

from . import model_file
from .codes import CHUNK, Codes, angle_offset, join
from .core.device import choose_device
from .core.intensity import (
    INTENSITY_KINDS,
    Intensity,
    IntensityKind,
    are_counts,
    choose_intensity,
)
from .core.mirror import MirrorRRVAE
from .core.model import BACKGROUNDS, Background, LatentModel, PolarRRVAE
from .core.polar import Detector, PolarGrid, PolarTransform
from .core.training import Schedule, fit_model, settle_latents, split
from .frames import Frames, Sample
from .model_file import Fitted

FloatArray = NDArray[np.float64]
Architecture = Literal["polar", "coordinate"]
RandomState = int | np.random.Generator | np.random.RandomState | None
ScanBackground = Literal["stored", "refit"]

MIN_PATTERNS = 8
# The sample is held as it was recorded until its centre is known.
SAMPLE_BYTES = 2**30
# A model's circle may stick out of another detector by this much: bins at the rim are averages.
LEAST_RADIUS = 0.97


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
    sample
        Patterns drawn for training at most; fewer where they would take more than 1 GiB.
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
        sample: int = 8192,
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
        frames : array-like of shape (..., H, W), or Frames
            At least 8 patterns. Read once, in blocks.
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
        self._check_options()
        frames = Frames.of(frames, center=self.center, mask=self.mask)
        if len(frames) < MIN_PATTERNS:
            raise ValueError(f"fit needs at least {MIN_PATTERNS} patterns; got {len(frames)}")
        rng = _generator(self.random_state)
        where, patterns = frames.sample(self._sample_size(frames), rng)
        detector = frames.detector(patterns)
        grid = PolarGrid.for_detector(detector, frames.wander(detector))
        self._check_capacity(len(patterns), grid)
        transform = self._transform(frames, detector, grid)
        binned = transform(patterns, frames.origins(where))
        _check_variety(binned)
        intensity = choose_intensity(self._intensity_kind(), binned, are_counts(patterns))
        stabilised = intensity(binned)
        seed = int(rng.integers(2**31))
        generator = torch.Generator().manual_seed(seed)
        parts = split(stabilised, generator)
        model, history = fit_model(
            partial(_new_model, self.latent_dim, transform, seed, self.mirror),
            parts,
            self.background,
            self._schedule(),
            seed,
            self.progress,
        )
        settle_latents(model, parts[1], history, generator)
        dose = binned.sum(dim=(1, 2)).mean().item()
        offset = angle_offset(model, stabilised, intensity, grid)
        self.fitted_ = Fitted(model, detector, frames.q_units, grid, intensity, dose, offset)
        self.history_ = history
        return self

    def encode(self, frames: Any, *, background: ScanBackground = "stored") -> Codes:
        """Codes of every pattern; the data is read once (twice for "refit").

        Parameters
        ----------
        frames : array-like of shape (..., H, W), or Frames
            From the detector trained on, or from another one where both are calibrated in q.
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
        frames = self._place(Frames.of(frames), background)
        # One sample serves centre, background, dose and noise: the data is read twice at most.
        needed = background == "refit" or frames.center is None
        size, rng = self._sample_size(frames), np.random.default_rng(0)
        drawn = frames.sample(size, rng) if needed else None
        detector = self._fitting_detector(frames, drawn)
        transform = self._transform(frames, detector, fitted.grid)
        model = copy.deepcopy(fitted.model).to(choose_device(self.device))
        model.set_weight(transform.weight, transform.dof)
        intensity = fitted.intensity
        if background == "refit" and drawn is not None:
            intensity = self._refit(model, frames, transform, drawn)
        parts = []
        with tqdm(total=len(frames), desc="encode", disable=not self.progress) as bar:
            for where, block in frames.blocks():
                index = np.arange(where.start, where.stop)
                for chunk in np.array_split(np.arange(len(block)), -(-len(block) // CHUNK)):
                    binned = transform(block[chunk], frames.origins(index[chunk]))
                    parts.append(model.infer(intensity(binned)))
                bar.update(len(block))
        return join(parts, fitted.angle_offset, frames.scan_shape)

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
        fitted = self._fitted()
        detector = replace(fitted.detector, mask=None)
        operator = PolarTransform(detector, fitted.grid)
        model = copy.deepcopy(fitted.model).to("cpu")
        offset = np.where(codes.mirrored, -fitted.angle_offset, fitted.angle_offset)
        angle = np.nan_to_num(np.asarray(codes.angle, dtype=float)) - offset
        z = torch.tensor(np.asarray(codes.z).reshape(angle.size, -1), dtype=torch.float32)
        theta = torch.tensor(angle.ravel(), dtype=torch.float32)
        mirrored = torch.from_numpy(np.ravel(codes.mirrored))
        with torch.inference_mode():
            parts = [
                operator.render(fitted.intensity.invert(model.expected(*part)))
                for part in zip(*(p.split(CHUNK) for p in (z, theta, mirrored)), strict=True)
            ]
        rendered: FloatArray = torch.cat(parts).double().numpy()
        return rendered.reshape(*angle.shape, *detector.shape)

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
        check_is_fitted(self, "fitted_")
        return self.fitted_

    def _transform(self, frames: Frames, detector: Detector, grid: PolarGrid) -> PolarTransform:
        return PolarTransform(detector, grid, choose_device(self.device), frames.wander(detector))

    def _sample_size(self, frames: Frames) -> int:
        height, width = frames.detector_shape
        affordable: int = SAMPLE_BYTES // (height * width * frames.patterns.dtype.itemsize)
        return max(MIN_PATTERNS, min(self.sample, affordable))

    def _schedule(self) -> Schedule:
        return Schedule(self.max_epochs, self.batch_size, self.learning_rate, self.beta)

    def _intensity_kind(self) -> IntensityKind:
        return cast(IntensityKind, "sqrt" if self.intensity == "counts" else self.intensity)

    def _check_options(self) -> None:
        choices = {
            "architecture": get_args(Architecture),
            "intensity": (*INTENSITY_KINDS, "counts"),
            "background": BACKGROUNDS,
            "mirror": (False, True),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                listed = ", ".join(map(repr, allowed))
                raise ValueError(f"{name} must be one of {listed}; got {getattr(self, name)!r}")
        for name in ("latent_dim", "max_epochs", "batch_size", "sample"):
            value, least = getattr(self, name), MIN_PATTERNS if name == "sample" else 1
            whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
            if not whole or value < least:
                raise ValueError(
                    f"{name} must be a whole number of at least {least}; got {value!r}"
                )
        for name in ("learning_rate", "beta"):
            number = getattr(self, name)
            if not isinstance(number, Real) or not 0 < float(number) < np.inf:
                raise ValueError(f"{name} must be above 0 and finite; got {number!r}")
        if self.architecture == "coordinate":
            raise NotImplementedError('architecture="coordinate" is not available yet; use "polar"')

    def _check_capacity(self, patterns: int, grid: PolarGrid) -> None:
        most = min(patterns, grid.n_radial * grid.n_angular)
        if self.latent_dim >= most:
            raise ValueError(
                f"latent_dim must be below the {most} that {patterns} patterns of "
                f"{grid.n_radial} x {grid.n_angular} polar bins can carry; got {self.latent_dim}"
            )

    def _place(self, frames: Frames, background: ScanBackground) -> Frames:
        """Give frames to encode the model's mask and, on the scan trained on, its centre."""
        fitted = self.fitted_
        same_camera = frames.detector_shape == fitted.detector.shape
        if frames.q_units != fitted.q_units or (frames.q_units == "pixels" and not same_camera):
            raise ValueError(
                f"the model was trained on {fitted.detector.shape} pixels with q in "
                f"{fitted.q_units!r}; these patterns have {frames.detector_shape} pixels with q in "
                f"{frames.q_units!r}: calibrate both in the same units of q"
            )
        if frames.mask is None and same_camera:
            frames = replace(frames, mask=fitted.detector.mask)
        if frames.center is None and same_camera and background == "stored":
            # Origins given by hand for the scan trained on serve that scan alone.
            own = np.shape(self.center) == (*frames.scan_shape, 2)
            frames = replace(frames, center=self.center if own else fitted.detector.center)
        return frames

    def _fitting_detector(self, frames: Frames, drawn: Sample | None) -> Detector:
        """Geometry of frames to encode; refuses what the model's circle does not fit on."""
        fitted = self.fitted_
        detector = frames.detector(None if drawn is None else drawn[1])
        # A wandering beam may take the circle's rim off the detector in some of its positions:
        # better a few bins short of counts there than a scan refused.
        radius = detector.inscribed_radius()
        if radius < LEAST_RADIUS * fitted.grid.radius_max:
            raise ValueError(
                f"the model sees q up to {fitted.grid.radius_max:.4g} {fitted.q_units}; the circle "
                f"on this detector ends at {radius:.4g} {frames.q_units}"
            )
        return detector

    def _refit(
        self, model: LatentModel, frames: Frames, transform: PolarTransform, drawn: Sample
    ) -> Intensity:
        """Fit to this scan what belongs to a scan; return its intensity scale."""
        where, patterns = drawn
        if len(patterns) < MIN_PATTERNS:
            raise ValueError(
                f'background="refit" needs at least {MIN_PATTERNS} patterns; got {len(patterns)}'
            )
        binned = transform(patterns, frames.origins(where))
        _check_variety(binned)
        dose = binned.sum(dim=(1, 2)).mean().item()
        kept = self.fitted_.intensity
        intensity = replace(kept, gain=kept.gain * dose / self.fitted_.dose)
        model.adopt_scan(intensity(binned), self.background)
        return intensity


def _generator(random_state: RandomState) -> np.random.Generator:
    """NumPy generator of a seed, of another generator, or of scikit-learn's older kind."""
    if isinstance(random_state, np.random.RandomState):
        random_state = int(random_state.randint(2**31))
    return np.random.default_rng(random_state)


def _check_variety(binned: Tensor) -> None:
    if not bool((binned.var(dim=0) > 0).any()):
        raise ValueError("the patterns must differ from one another; all drawn ones are equal")


def _new_model(
    latent_dim: int, transform: PolarTransform, seed: int, mirror: bool = False
) -> LatentModel:
    # torch initialises layers from the global generator, which is the user's.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        kind = MirrorRRVAE if mirror else PolarRRVAE
        model = kind(latent_dim, transform.weight.cpu(), transform.dof.cpu())
    return model.to(transform.weight.device)
