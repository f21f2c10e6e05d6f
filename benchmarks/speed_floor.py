# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations and bytes of each stage, and the time that they take at least on this processor.

The floor of a stage is the larger of its operations at the rate of a large matrix product and its
bytes at the rate of a copy in main memory, both measured in the same run and with the same threads
(on a processor in process time, summed over the threads, as the stage's is that it is compared to).
Bytes are those that a stage has to read and write once, in float32 unless said otherwise.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from py4dstem_rrvae.model import angle
from py4dstem_rrvae.model.networks import SECTORS
from py4dstem_rrvae.training import loop as training

SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "max_epochs=20": {"max_epochs": 20},
    'max_epochs=12, background="radial"': {"max_epochs": 12, "background": "radial"},
}
"""What the time to an ARI is measured with."""

BATCH = 512


@dataclass(frozen=True)
class Rates:
    """Operations and bytes per second, of a matrix product and of a copy."""

    matmul: float
    copy: float


@dataclass(frozen=True)
class Stage:
    """Work on so many patterns; operations and bytes per pattern."""

    name: str
    work: Callable[[], Any]
    patterns: int
    operations: float
    bytes: float
    times: int = 5

    def floor(self, rates: Rates) -> float:
        """Seconds per pattern."""
        return max(self.operations / rates.matmul, self.bytes / rates.copy)


def rates(device: torch.device) -> Rates:
    """Best of several measurements."""
    # A graphics processor takes longer to start on small ones than for them.
    side, length = (8192, 2**28) if device.type == "cuda" else (1024, 2**25)
    a, long = torch.randn(side, side, device=device), torch.randn(length, device=device)
    other = torch.empty_like(long)
    # On a shared processor wall time says how busy the others are.
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    best = [math.inf, math.inf]
    for k, work in enumerate([lambda: a @ a, lambda: other.copy_(long)]):
        for _ in range(12):
            start = clock()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize()
            best[k] = min(best[k], clock() - start)
    return Rates(2 * side**3 / best[0], 2 * 4 * long.numel() / best[1])


def stages(sample: Any) -> list[Stage]:
    """Every stage on the patterns of a `speed.Sample`, its operations counted."""
    prepared, model = sample.prepared, sample.model().eval()
    transform, intensity = prepared.binner.transform, prepared.intensity
    radii, angles = prepared.binner.grid.shape
    frames = sample.frames[:BATCH].astype(np.uint16)
    pixels, bins = math.prod(frames.shape[1:]), radii * angles
    binned, x = transform(frames), prepared.stabilised[:BATCH]
    with torch.inference_mode():
        z = model.encode(x)[0]
    filled = transform._common._sum._nnz()
    weights = {name: p.numel() for name, p in model.named_parameters()}
    encode, decode = _network_operations(model)
    orders = angles // 2
    grid = 2 * angle.OVERSAMPLING * orders
    # One real FFT of n numbers takes 2.5 n log2 n operations; a complex product and sum, 8.
    spectra = radii * 2.5 * angles * math.log2(angles)
    correlate = spectra + radii * orders * (8 + 4) + 5 * bins
    judge = 2 * 2.5 * grid * math.log2(grid) + 10 * grid + spectra + radii * orders * 16 + 12 * bins
    marginal = 2.5 * grid * math.log2(grid / 2) + 5 * grid
    # Backward takes twice the forward products, less what leads back to the data.
    forward = encode + 2 * decode + correlate + marginal
    batch = sample.estimator.batch_size
    loop = training._Loop(
        sample.model().train(),
        training.Schedule(10**6, batch, 1e-5, added_noise=0.4),
        len(sample.parts[0]),
        torch.Generator().manual_seed(0),
    )
    part = sample.parts[0][:batch]

    def once() -> torch.Tensor:
        return loop._loss(loop._noisy(part), loop.generator, 1.0)[0]

    some = [p.detach().clone() for p in loop.optimiser.parameters]

    def inferred(work: Callable[[], Any]) -> Callable[[], Any]:
        return torch.inference_mode()(work)

    parameters = sum(weights.values())
    loop.step(part)
    return [
        Stage("convert to float32", lambda: frames.astype(np.float32), BATCH, pixels, 6 * pixels),
        Stage(
            "sum into polar bins",
            lambda: transform(frames),
            BATCH,
            pixels + 2 * filled,
            2 * pixels + 4 * bins,
        ),
        Stage("intensity", lambda: intensity(binned), BATCH, 4 * bins, 8 * bins),
        Stage("encoder", inferred(lambda: model.encode(x)), BATCH, encode, 4 * bins),
        Stage("decoder", inferred(lambda: model.decode(z)), BATCH, decode, 4 * 2 * radii * orders),
        Stage(
            "all codes of stabilised bins",
            lambda: model.infer(x),
            BATCH,
            encode + decode + correlate + judge,
            4 * bins,
        ),
        Stage("training, forward", once, batch, forward, 4 * bins, 20),
        Stage(
            "training, whole step",
            lambda: loop.step(part),
            batch,
            3 * forward + 15 * parameters / batch,
            4 * bins + 7 * 4 * parameters / batch,
            20,
        ),
        Stage(
            "of which optimiser",
            lambda: loop.optimiser.step(some, 1e-5, 0.9),
            batch,
            15 * parameters / batch,
            7 * 4 * parameters / batch,
            20,
        ),
    ]


def _network_operations(model: Any) -> tuple[float, float]:
    """Operations of encoder and decoder, two per multiplication and addition."""
    encode = decode = 0.0
    for layer in model.encoder.modules():
        if isinstance(layer, torch.nn.Linear):
            encode += 2 * layer.weight.numel()
    features = [p for p in model.encoder.features.parameters() if p.ndim > 1]
    encode += 2 * (SECTORS - 1) * sum(p.numel() for p in features)
    for layer in model.decoder.modules():
        if isinstance(layer, torch.nn.Linear):
            decode += 2 * layer.weight.numel()
    return encode, decode
