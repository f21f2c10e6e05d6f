# SPDX-License-Identifier: GPL-3.0-or-later
"""`RRVAE`: the model with the manners of a scikit-learn estimator."""

from __future__ import annotations

import copy
import warnings
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from . import model_file
from .codes import Codes
from .detector.bins import Grid, GridFor
from .detector.intensity import IntensityKind
from .detector.response import Response
from .device import within_device_memory
from .model.architectures import Architecture, Recipe
from .model.base import Background, LatentModel
from .model.coordinate import NoiseKind
from .options import RandomState, check_options, generator, seeded
from .scan.adoption import ScanBackground, check_fits, refit, with_model_geometry
from .scan.binning import Binner
from .scan.blocks import check_open
from .scan.encoding import CHUNK, Encoder
from .scan.frames import Frames, unflatten
from .scan.origins import follow
from .scan.preparing import Prepared, defective, outshone, prepare
from .scan.rendering import render
from .scan.sampling import Drawn, Reservoir, affordable, draw
from .threads import one_thread, torch_as_it_comes
from .training.angle_steps import angle_steps
from .training.angle_zero import angle_offset
from .training.calibration import calibrate, detector_noise, widen
from .training.defaults import MIN_PATTERNS, MIN_PIXELS, NOISES, schedule_of
from .training.fitted import Fitted
from .training.latents import settle_latents
from .training.loop import History, RateKind, split, train

FloatArray = NDArray[np.float64]

NOISE_FREE = (
    "the patterns have no counting noise: the maps are made as usual, but z_std, angle_std and "
    "error say nothing; draw counts (numpy.random.Generator.poisson) for error bars that do"
)

NOT_FINITE = (
    "the model's codes must be finite numbers; they are not: its file was made by other means, or "
    "its training diverged"
)

TRAINED_ALREADY = (
    "this estimator is trained: the patterns given now begin another sample, and its next use "
    "trains another model in place of the one it has (sklearn.base.clone gives an untrained one)"
)

NOTHING_LEARNED = (
    "all latents are switched off: nothing but the turn was told from noise. Likely causes: few "
    "counts, few patterns, a wrong centre, a wrong gain, or patterns that are all alike"
)

NEARLY_SYMMETRIC = (
    "the angles differ by multiples of {turn} degrees, and a turn by that changes the patterns "
    "little (median angle_reliability {share:.2f}): patches of the angle map say in which "
    "direction the pattern leans, as where a crystal bends, and need not be grains; "
    "fold_threshold=0.5 gives the angle of the lattice alone"
)


class RRVAE(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Rotationally invariant variational autoencoder of diffraction patterns.

    Parameters
    ----------
    latent_dim
        Number of latents d.
    architecture
        "polar" (networks on polar patterns, the angle marginalised exactly) or "coordinate" (the
        published model, for reference: the encoder guesses the angle, the decoder is asked pixel by
        pixel, some hundred times slower); see also `published`.
    center
        Pixel index ``(row, col)`` of the direct beam, or one per position; None: taken from
        `Frames`, else estimated from the mean pattern. "refine": a better one than that, where half
        of the patterns bear it out. "each": one per position, found from each pattern's own disc
        (or rings) and smoothed over the scan as far as their noise asks for; reads all once more.
    mask
        ``(H, W)``, True where a detector pixel is kept.
    intensity
        "counts" (over the square root of their mean in each ring, so that all rings have noise of
        one size; "coordinate", which knows no rings, takes "sqrt" instead), "sqrt" (of counts),
        "linear" or "log".
    gain, offset : float or None
        Detector units per electron, and of a pixel that no electron hit. None: found from the
        noise of the patterns, see `response_`; 1 and 0 for counts.
    background
        What is fixed to the detector and takes no part in turns: "auto", what a round pattern with
        the rings of the scan's mean leaves on the detector ("radial" is the same; "coordinate"
        learns it, from the mean pattern on), "mean", the mean pattern, or None. Hot and dead pixels
        and flags, what never counts and never changes are found and added to the mask (`mask_`).
    mirror
        Whether a pattern and its mirror image are one: they then have the same z, and
        `Codes.handedness` tells them apart.
    fold_threshold : float
        Share of the angular energy, from 0 to 1, that has to break a symmetry before `Codes.fold`
        calls it broken, besides the evidence of the counts. The default is twice to four times what
        the pixels of a small detector do to a turned pattern; 0 leaves it to the evidence.
    signal_shape
        ``(H, W)`` of patterns given as rows of pixels, as HyperSpy's `decomposition` does; None:
        the mask's shape, else a square.
    sample
        Patterns drawn for training at most; fewer where the centre is unknown, or patterns come
        through `partial_fit`, and they would take more than 256 MiB.
    max_epochs, batch_size, learning_rate, beta
        Passes over the sample at most, patterns per step, largest learning rate of Adam, and weight
        of the KL divergence. Epochs of None are as many as make 1,000 steps; for "coordinate" 45,
        or as many as make 1,200. A rate of None is 8e-3, for "coordinate" 1e-3.
        With "polar" and square roots of counts, every step adds noise to its patterns: as strong as
        their own where there are n = 300 or fewer, else 300/n as strong.
    schedule
        "one-cycle", or "constant" for one learning rate and all epochs.
    angle_prior
        Width in radians to which "coordinate" draws the angle's posterior.
    noise
        "learned", or for "coordinate" also "unit": while it is trained, noise of a standard
        deviation as large as the range of the data, which leaves next to nothing for the latents.
    device
        "auto" (cuda, else mps, else cpu) or a torch device.
    random_state
        Seed or NumPy generator; None draws a seed.
    progress
        Whether to show progress bars, in notebooks and on terminals; a log gets none.

    Attributes
    ----------
    response_ : Response
        Gain, offset and read-out noise of the camera, and how they were found.
    mask_ : ndarray of bool, shape (H, W)
        Pixels that training used: the mask given, less the defects that were found.
    seed_ : int or None
        With which the same training can be had again.
    history_ : History
        Losses, noise, and per latent its repeatability and whether it collapsed.
    fitted_ : Fitted
        Trained model and the geometry it was trained with.

    Notes
    -----
    After Oxley et al., npj Comput. Mater. 7 (2021); the angle is marginalised by a circular
    cross-correlation instead of being guessed by the encoder.
    """

    _reservoir: Reservoir | None = None

    def __init__(
        self,
        latent_dim: int = 2,
        *,
        architecture: Architecture = "polar",
        center: ArrayLike | Literal["refine", "each"] | None = None,
        mask: ArrayLike | None = None,
        intensity: str = "counts",
        gain: float | None = None,
        offset: float | None = None,
        background: Background = "auto",
        mirror: bool = False,
        fold_threshold: float = 0.002,
        signal_shape: tuple[int, int] | None = None,
        sample: int = 8192,
        max_epochs: int | None = None,
        batch_size: int = 64,
        learning_rate: float | None = None,
        beta: float = 1.0,
        schedule: RateKind = "one-cycle",
        angle_prior: float = 0.1,
        noise: NoiseKind = "learned",
        device: str = "auto",
        random_state: RandomState = None,
        progress: bool = True,
    ) -> None:
        self.latent_dim = latent_dim
        self.architecture = architecture
        self.center = center
        self.mask = mask
        self.intensity = intensity
        self.gain = gain
        self.offset = offset
        self.background = background
        self.mirror = mirror
        self.fold_threshold = fold_threshold
        self.signal_shape = signal_shape
        self.sample = sample
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.beta = beta
        self.schedule = schedule
        self.angle_prior = angle_prior
        self.noise = noise
        self.device = device
        self.random_state = random_state
        self.progress = progress

    @classmethod
    def published(cls, **options: Any) -> RRVAE:
        """The model with the settings of the release that goes with the publication.

        Parameters
        ----------
        **options
            Options of `RRVAE` that are to differ from those: 1,000 epochs are for simulated scans,
            150 were taken for measured ones.

        Notes
        -----
        Translations are off, as there. What differs: patterns are resampled onto square pixels
        about the beam's centre instead of cropped; the weights kept are those of the epoch that
        was best on held-out patterns; a latent that carries nothing is reported and switched off.
        """
        settings: dict[str, Any] = {
            "architecture": "coordinate",
            "intensity": "linear",
            "background": "mean",
            "noise": "unit",
            "angle_prior": 0.1,
            "schedule": "constant",
            "learning_rate": 1e-4,
            "batch_size": 20,
            "max_epochs": 1000,
        }
        return cls(**(settings | options))

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
        ValueError, TypeError
            If an option or the patterns cannot be used; the estimator is left as it was.
        MemoryError
            If the device's memory is too small.
        KeyboardInterrupt
            If training was interrupted (Ctrl-C). A fitted estimator is left as it was; another one
            keeps what it has learned so far, and ``history_.stopped`` says so.
        """
        with within_device_memory(), torch_as_it_comes():
            return self._fit(frames, seeded(self.random_state))

    def _fit(self, frames: Any, random_state: RandomState, n_features: int | None = None) -> RRVAE:
        prepared = self._prepare(frames, MIN_PATTERNS, random_state=random_state)
        binner, stabilised = prepared.binner, prepared.stabilised
        chance = torch.Generator().manual_seed(prepared.seed)
        model, history, held_out = self._train(prepared, chance)
        if history.stopped == "interrupted" and hasattr(self, "fitted_"):
            raise KeyboardInterrupt("training was interrupted; the earlier model is kept")
        prepared = prepared.measured(model)
        with one_thread() if model.small_steps else nullcontext():
            model.measure_fixed(stabilised)
            calibrate(model, held_out, prepared.counting(model, chance))
            widen(model, held_out)
            parts = [model.infer(x) for x in stabilised.split(CHUNK)]
            steps = angle_steps(parts)
            offset = angle_offset(model, stabilised, parts, prepared.intensity, binner.grid)
        units, dose = prepared.q_units, prepared.dose
        # In main memory, so that pickles and files are read where there is no such device.
        self.fitted_ = Fitted(
            model.cpu(),
            binner.detector,
            units,
            binner.grid,
            prepared.intensity.to("cpu"),
            prepared.response,
            dose,
            offset,
            binner.mean,
            int(random_state) if isinstance(random_state, (int, np.integer)) else None,
            n_features or _features(frames),
        )
        self.history_ = history
        self._reservoir = None
        if prepared.response.noise_free:
            warnings.warn(NOISE_FREE, stacklevel=3)
        if all(history.collapsed):
            warnings.warn(NOTHING_LEARNED, stacklevel=3)
        if steps is not None:
            fold, share = steps
            warnings.warn(NEARLY_SYMMETRIC.format(turn=360 // fold, share=share), stacklevel=3)
        if history.stopped == "interrupted":
            raise KeyboardInterrupt("training was interrupted; what was learned so far is kept")
        return self

    def partial_fit(self, frames: Any, y: None = None) -> RRVAE:  # noqa: ARG002
        """Add patterns to a random sample of bounded size, for data that comes in parts.

        Training itself waits until the estimator is first used. Patterns given to a trained
        estimator begin another sample, and the next use trains another model: a warning says so.

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
        check_options(self.get_params())
        part = self._source(frames)
        if self._reservoir is None:
            if hasattr(self, "fitted_"):
                warnings.warn(TRAINED_ALREADY, stacklevel=2)
            self._random_state = seeded(self.random_state)
            size = affordable(part, self.sample)
            self._reservoir = Reservoir(size, generator(self._random_state))
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
            a scan and not to the networks (what pixels do to its mean, dose, noise) is estimated
            from it first.

        Returns
        -------
        Codes

        Raises
        ------
        ValueError, TypeError
            If the patterns are no patterns, or the model does not fit their detector.
        MemoryError
            If the device's memory is too small.
        """
        with within_device_memory(), torch_as_it_comes():
            return self._encode(frames, background)

    def _encode(self, frames: Any, background: ScanBackground) -> Codes:
        source, encoder = self._encoder(frames, background)
        rows = source.gather(encoder, progress="encoding" if self.progress else None)
        codes = Codes.unpack(rows.reshape(*source.scan_shape, -1))
        if not all(np.isfinite(c).all() for c in (codes.z, codes.z_std, codes.angle_std)):
            raise ValueError(NOT_FINITE)
        return codes

    def _encoder(self, frames: Any, background: ScanBackground) -> tuple[Frames, Encoder]:
        """Patterns as they are encoded, with their centre, and what encodes a block of them."""
        fitted = self._fitted()
        if background not in get_args(ScanBackground):
            raise ValueError(f'background must be "stored" or "refit"; got {background!r}')
        known = fitted.detector
        source = Frames.of(unflatten(frames, known.shape, known.mask))
        source = with_model_geometry(source, fitted, background, self.center)
        source = self._followed(source, np.random.default_rng(0))
        model = copy.deepcopy(fitted.model)
        intensity = fitted.intensity
        # One sample serves centre, background, dose and noise: the data is read twice at most.
        drawn = None
        if background == "refit" or source.center is None:
            grid = fitted.grid_for(source.matrix)
            drawn = self._draw(source, np.random.default_rng(0), grid)
            source = drawn.frames
        check_fits(source, fitted)
        binner = drawn.binner if drawn else self._stored_binner(source, fitted)
        model.to(binner.transform.device)
        model.set_weight(binner.transform.weight, binner.transform.dof)
        if background == "refit" and drawn:
            intensity = refit(model, drawn, fitted, self.background)
        return source, Encoder(model, binner, intensity, fitted.angle_offset)

    @property
    def n_features_in_(self) -> int:
        """Pixels of a row, where rows of pixels were trained on."""
        fitted: Fitted | None = self.__dict__.get("fitted_")
        if fitted is None or fitted.n_features is None:
            raise AttributeError("n_features_in_ is there once rows of pixels were trained on")
        return fitted.n_features

    @property
    def seed_(self) -> int | None:
        """Seed with which the same training can be had again; None where a generator was given."""
        return self._fitted().seed

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:  # noqa: ARG002
        """Names of the latents, as their maps have them: z1, z2, ...; shape (d,)."""
        return np.array([f"z{k + 1}" for k in range(self.latent_dim)], dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there is a model, or patterns to train one when it is first used."""
        return hasattr(self, "fitted_") or self._reservoir is not None

    @property
    def mask_(self) -> NDArray[np.bool_]:
        """Pixels that training used: the mask given, less the defects that were found; (H, W)."""
        detector = self._fitted().detector
        return np.ones(detector.shape, bool) if detector.mask is None else detector.mask.copy()

    @property
    def response_(self) -> Response:
        """Response of the camera that the scan trained on was recorded with."""
        return self._fitted().response

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
        rendered = render(self._fitted(), z, theta, np.ravel(codes.mirrored))
        return rendered.reshape(*angle.shape, *rendered.shape[1:])

    @property
    def components_(self) -> FloatArray:
        """Expected patterns at 1, one standard deviation, of each latent alone: (d, pixels).

        Where rows of pixels without the masked ones were fitted, without those too. The model is
        not linear: `reconstruct` makes patterns of codes, no sum of these does.
        """
        fitted = self._fitted()
        z = np.eye(fitted.model.latent_dim)
        patterns = render(fitted, z, np.zeros(len(z)), np.zeros(len(z), dtype=bool))
        mask = fitted.detector.mask
        if mask is not None and fitted.n_features == np.count_nonzero(mask):
            return patterns[:, mask]
        return patterns.reshape(len(z), -1)

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
        with torch_as_it_comes():
            parameters, fitted, history = model_file.load(path)
        try:
            loaded = cls(**parameters)
        except TypeError as error:
            raise ValueError(f"{path} is no rrVAE model file, or is damaged: {error!r}") from error
        loaded.fitted_, loaded.history_ = fitted, history
        return loaded

    def _fitted(self) -> Fitted:
        if self._reservoir is not None:
            with within_device_memory(), torch_as_it_comes():
                self._fit(self._reservoir.patterns, self._random_state, self._features)
        check_is_fitted(self)
        return self.fitted_

    def _source(self, frames: Any) -> Frames:
        check_open(frames)
        frames = unflatten(frames, self.signal_shape, self.mask)
        center = None if isinstance(self.center, str) else self.center
        return Frames.of(frames, center=center, mask=self.mask)

    def _asks_center(self, way: str) -> bool:
        # Not ==, which an array answers for each of its elements.
        return isinstance(self.center, str) and self.center == way

    def _followed(self, frames: Frames, rng: np.random.Generator) -> Frames:
        """Frames with where the beam stands in each pattern, where this is asked for."""
        if not self._asks_center("each"):
            return frames
        progress = "finding the beam" if self.progress else None
        return follow(frames, self.sample, rng, progress, self.gain, self.offset)

    def _draw(self, frames: Frames, rng: np.random.Generator, grid: Grid | GridFor) -> Drawn:
        progress = "sampling" if self.progress else None
        return draw(
            frames,
            self.sample,
            rng,
            grid,
            self.device,
            progress,
            self._asks_center("refine"),
            gain=self.gain,
            offset=self.offset,
        )

    def _stored_binner(self, frames: Frames, fitted: Fitted) -> Binner:
        """For more patterns of the scan trained on."""
        detector = frames.detector()
        if frames.origins() is not None:
            detector = replace(detector, center=fitted.detector.center)
        dark = fitted.response.dark_level
        return Binner.of(
            frames, fitted.grid_for(frames.matrix), self.device, detector, fitted.mean, dark
        )

    def _prepare(
        self, frames: Any, least: int, caller: str = "fit", random_state: RandomState = None
    ) -> Prepared:
        """Draw what to train on, from at least so many patterns; refuse what cannot be."""
        check_options(self.get_params())
        source = self._source(frames)
        if source.trainable < least:
            raise ValueError(f"{caller} needs at least {least} patterns; got {source.trainable}")
        height, width = source.detector_shape
        if self.architecture == "polar" and height * width < MIN_PIXELS:
            raise ValueError(f"{caller} needs at least {MIN_PIXELS} pixels; got {height} x {width}")
        rng = generator(self.random_state if random_state is None else random_state)
        given, source = source, self._followed(source, rng)
        drawn = self._draw(source, rng, self._recipe.grid.for_detector)
        if len(drawn.binned) < least:
            raise ValueError(
                f"{caller} needs at least {least} patterns; only {len(drawn.binned)} of the frames "
                "that were looked at are neither blank nor saturated"
            )
        kind = cast(IntensityKind, self.intensity)
        if self.architecture == "coordinate" and kind == "counts":
            kind = "sqrt"  # one noise for all bins, which lie in no rings
        prepared = prepare(drawn, self.latent_dim, kind, int(rng.integers(2**31)))
        for sentence in (outshone(drawn.binned), defective(given, drawn.frames)):
            if sentence is not None:
                warnings.warn(sentence, stacklevel=4)
        return prepared

    def _train(
        self, prepared: Prepared, chance: torch.Generator
    ) -> tuple[LatentModel, History, Tensor]:
        """Model of stabilised patterns, its history, and the patterns it was not trained on."""
        transform, stabilised = prepared.binner.transform, prepared.stabilised
        parts = split(stabilised, chance)
        electrons = prepared.intensity.mean_electrons(stabilised, transform.weight)
        model = self._recipe.build(transform.weight, transform.dof, prepared.seed, electrons)
        model.initialise(parts[0], self.background)
        schedule = schedule_of(self.get_params(), len(parts[0]))
        samples = torch.Generator().manual_seed(prepared.seed)
        noises = None
        if schedule.added_noise:
            draws, mean = NOISES + schedule.batch_size, parts[0].mean(dim=0)
            noises = detector_noise(mean, draws, prepared.counting(model, samples))
        history = train(model, *parts, schedule, samples, self.progress, noises)
        if history.validation_loss and not np.isfinite(history.validation_loss).any():
            raise ValueError(
                "training has diverged: no epoch has a finite loss. Lower learning_rate "
                f"(got {self.learning_rate!r}) or beta (got {self.beta!r})"
            )
        counting = prepared.measured(model).counting(model, chance)
        settle_latents(model, parts[1], history, counting)
        return model, history, parts[1]

    @property
    def _recipe(self) -> Recipe:
        return Recipe.of(self.get_params())


def _features(frames: Any) -> int | None:
    """Pixels a row where patterns come as rows of pixels."""
    shape = frames.shape if hasattr(frames, "shape") else np.asarray(frames).shape
    return int(shape[1]) if len(shape) == 2 else None
