# SPDX-License-Identifier: GPL-3.0-or-later
"""The latent manifold shows what the model decodes, in order."""

import numpy as np
import pytest
from scipy.stats import norm

from py4dstem_rrvae import RRVAE, Codes, synthetic
from py4dstem_rrvae.plot import manifold_figure


@pytest.fixture(scope="module")
def model():
    frames = synthetic.lobes(300, counts=2000).frames
    return RRVAE(3, max_epochs=4, random_state=0, progress=False).fit(frames)


def decoded(model, z):
    flat = np.zeros(len(z))
    return model.reconstruct(Codes(z, z, flat, flat, flat.astype(int), flat))


def test_tiles_are_decoded_patterns_less_their_mean(model):
    figure = manifold_figure(model, size=3, latents=(1, 3))
    mosaic = figure.axes[0].images[0].get_array()
    ticks = norm.ppf([1 / 6, 1 / 2, 5 / 6])
    # Rows from the top: the second latent falls; columns: the first one rises.
    z = np.array([[x, 0, y] for y in ticks[::-1] for x in ticks])
    patterns = decoded(model, z)
    patterns -= patterns.mean(0)
    height, width = patterns.shape[1:]
    assert mosaic.shape == (3 * height, 3 * width)
    for k, pattern in enumerate(patterns):
        row, col = divmod(k, 3)
        tile = mosaic[row * height : (row + 1) * height, col * width : (col + 1) * width]
        np.testing.assert_allclose(tile, pattern, atol=1e-6)
    ax = figure.axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("z1", "z3")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["1.0", "0.0", "-1.0"]


def test_one_latent_gives_a_row(tmp_path):
    frames = synthetic.lobes(100, counts=2000).frames
    model = RRVAE(1, max_epochs=2, random_state=0, progress=False).fit(frames)
    figure = manifold_figure(model, size=5, title="graphene")
    mosaic = figure.axes[0].images[0].get_array()
    assert mosaic.shape == (frames.shape[1], 5 * frames.shape[2])
    figure.savefig(tmp_path / "manifold.png")
    assert (tmp_path / "manifold.png").stat().st_size > 3000


@pytest.mark.parametrize(("latents", "size"), [((1, 4), 3), ((0, 1), 3), ((1, 2), 0)])
def test_latents_that_are_not_there(model, latents, size):
    with pytest.raises(ValueError, match=r"latents must be 1 to 3 and size positive; got \("):
        manifold_figure(model, latents=latents, size=size)
