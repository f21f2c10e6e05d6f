# SPDX-License-Identifier: GPL-3.0-or-later
"""What AtomAI's rVAE makes of given input: ``PEERS_PYTHON -m benchmarks.peers.dump OUT.npz``.

OUT gets the patterns `x` (n, H, W); the weights, each as ``encoder.NAME`` or ``decoder.NAME`` by
the names of its networks; `mean` and `log_std` (n, 1 + d) of the encoder, the angle first; the
standard normal `noise` (n, 1 + d) and, for the angle and latents that it makes of them, `decoded`
(n, H, W); `elbo`, the mean over the patterns, with its parts `squared` (half the summed squared
residual), `kl` of the latents and `kl_angle` (n,) for the prior `angle_prior`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

PRIOR, PATTERNS, SIZE = 0.1, 40, 14


def patterns() -> np.ndarray:
    """A spot off the centre, in any direction, between 0 and 1."""
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, (PATTERNS, 1, 1))
    row, col = np.indices((SIZE, SIZE)) - (SIZE - 1) / 2
    spot = np.hypot(row - 3 * np.cos(angle), col - 3 * np.sin(angle))
    made: np.ndarray = np.exp(-0.5 * (spot / 2) ** 2).astype(np.float32)
    return made


def main(target: str) -> None:
    import atomai
    from atomai.losses_metrics import vi_losses

    x = patterns()
    model = atomai.models.rVAE((SIZE, SIZE), translation=False, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        model.fit(
            x,
            training_cycles=20,
            batch_size=20,
            rotation_prior=PRIOR,
            optimizer=lambda p: torch.optim.Adam(p, lr=1e-3),
            filename=str(Path(folder) / "model"),
        )
    frames = torch.from_numpy(x)
    with torch.no_grad():
        mean, log_std = model.encoder_net(frames)
        noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(0))
        sample = mean + log_std.exp() * noise
        grid = model.x_coord.expand(len(x), *model.x_coord.shape)
        turned = atomai.utils.transform_coordinates(grid, sample[:, 0])
        decoded = model.decoder_net(turned, sample[:, 1:])
        shape = (SIZE, SIZE)
        elbo = vi_losses.rvae_loss("mse", shape, frames, decoded, mean, log_std, phi_prior=PRIOR)
        squared = vi_losses.reconstruction_loss("mse", shape, frames, decoded)
        kl = vi_losses.kld_normal((mean[:, 1:], log_std[:, 1:]))
        kl_angle = vi_losses.kld_rot(PRIOR, log_std[:, 0])
    found = {"mean": mean, "log_std": log_std, "noise": noise, "decoded": decoded, "elbo": elbo}
    found |= {"squared": squared, "kl": kl, "kl_angle": kl_angle}
    found |= {f"encoder.{name}": value for name, value in model.encoder_net.state_dict().items()}
    found |= {f"decoder.{name}": value for name, value in model.decoder_net.state_dict().items()}
    arrays = {name: value.numpy() for name, value in found.items()}
    np.savez(target, x=x, angle_prior=PRIOR, **arrays)


if __name__ == "__main__":
    main(sys.argv[1])
