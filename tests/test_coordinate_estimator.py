# SPDX-License-Identifier: GPL-3.0-or-later
"""The published model through the estimator and on the hosts: the manners of the default."""

import dask.array as da
import numpy as np
import pytest
from estimators import COMMON, NAMES, QUICK, assert_same_codes

from benchmarks import scores
from py4dstem_rrvae import RRVAE, Frames, latent_dims, synthetic

COORDINATE = QUICK | {"architecture": "coordinate"}


@pytest.fixture(scope="module")
def quick(few):
    """Trained a little; leave it as it is."""
    return RRVAE(**COORDINATE).fit(few)


def test_published_settings():
    published = RRVAE.published().get_params()
    expected = {
        "latent_dim": 2,
        "architecture": "coordinate",
        "angle_prior": 0.1,
        "noise": "unit",
        "background": "mean",
        "intensity": "linear",
        "learning_rate": 1e-4,
        "schedule": "constant",
        "batch_size": 20,
        "max_epochs": 1000,
        "beta": 1.0,
    }
    assert published | expected == published
    assert RRVAE.published(max_epochs=150, random_state=3).get_params() == published | {
        "max_epochs": 150,
        "random_state": 3,
    }


@pytest.mark.slow
def test_published_trains_all_its_epochs_at_one_rate(few):
    model = RRVAE.published(**COMMON | {"max_epochs": 6, "learning_rate": 1e-3}).fit(few)
    assert (len(model.history_.train_loss), model.history_.stopped) == (6, "max_epochs")
    assert model.history_.train_loss[-1] < model.history_.train_loss[0]


def test_published_networks_have_the_published_sizes(few):
    model = RRVAE.published(**COMMON | {"max_epochs": 1}).fit(few[:20]).fitted_.model
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters() if p.ndim == 2}
    assert shapes == {
        "background": (16, 16),
        "encoder.layers.0.weight": (128, 256),
        "encoder.layers.2.weight": (128, 128),
        "encoder.mean.weight": (3, 128),
        "encoder.log_std.weight": (3, 128),
        "decoder.position.weight": (128, 2),
        "decoder.latent.weight": (128, 2),
        "decoder.layers.1.weight": (128, 128),
        "decoder.layers.3.weight": (128, 128),
        "decoder.layers.5.weight": (1, 128),
    }
    assert model.decoder.latent.bias is None


def test_codes_are_those_of_the_default(quick, few):
    codes = quick.encode(few.reshape(8, 10, 16, 16))
    assert (codes.z.shape, codes.z_std.shape) == ((8, 10, 2), (8, 10, 2))
    assert codes.handedness is None
    for name in NAMES[2:]:
        assert getattr(codes, name).shape == (8, 10)
    known = codes.fold > 0
    assert np.isnan(codes.angle[~known]).all()
    period = 2 * np.pi / codes.fold[known]
    assert ((codes.angle[known] >= 0) & (codes.angle[known] < period)).all()
    assert (codes.error > 0).all()


@pytest.mark.slow
def test_same_seed_same_codes(quick, few):
    again = RRVAE(**COORDINATE).fit(few)
    assert_same_codes(again.encode(few), quick.encode(few), rtol=0, atol=0)


def test_dask_gives_the_same(quick, few):
    chunked = da.from_array(few, chunks=(32, 16, 16))
    assert_same_codes(quick.encode(chunked), quick.encode(few), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("make", [lambda: RRVAE(**COORDINATE), lambda: RRVAE.published(**COMMON)])
def test_a_file_gives_back_the_model(few, tmp_path, make):
    model = make().set_params(max_epochs=1).fit(few)
    model.save(tmp_path / "model.rrvae")
    loaded = RRVAE.load(tmp_path / "model.rrvae")
    assert loaded.get_params() == model.get_params()
    assert loaded.fitted_.grid == model.fitted_.grid
    assert_same_codes(loaded.encode(few), model.encode(few), rtol=0, atol=0)


def test_reconstruction_is_on_the_detector(quick, few):
    patterns = quick.reconstruct(quick.encode(few[:5]))
    assert patterns.shape == (5, 16, 16)
    assert patterns.sum() == pytest.approx(few[:5].sum(), rel=0.5)
    assert quick.components_.shape == (2, 256)


def test_another_scan_is_adopted(quick, few):
    codes = quick.encode(few * 2, background="refit")
    assert np.isfinite(codes.z).all()


@pytest.mark.slow
def test_another_camera_is_encoded(few):
    """Half the pixels of twice the size, in the same units of q."""
    binned = few.reshape(80, 8, 2, 8, 2).sum(axis=(2, 4))
    fine = Frames(few, center=(7.5, 7.5), matrix=0.1 * np.eye(2), q_units="1/A")
    coarse = Frames(binned, center=(3.5, 3.5), matrix=0.2 * np.eye(2), q_units="1/A")
    model = RRVAE(**COORDINATE).fit(fine)
    assert model.fitted_.grid.shape == (16, 16)
    codes = model.encode(coarse, background="refit")
    assert codes.z.shape == (80, 2)
    again = RRVAE(**COORDINATE).fit(coarse)
    assert again.fitted_.grid.shape == (8, 8)
    assert again.encode(fine, background="refit").z.shape == (80, 2)


def test_sizes_can_be_compared():
    frames = synthetic.lobes(80, size=12, counts=2000).frames
    options = {k: v for k, v in COORDINATE.items() if k != "latent_dim"}
    one, two = latent_dims(frames, (1, 2), **options | {"max_epochs": 1})
    assert np.isfinite([one.log_likelihood, two.log_likelihood]).all()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"architecture": "coordinate", "mirror": True}, 'mirror=True is for architecture="polar"'),
        ({"noise": "unit"}, 'noise="unit" is for architecture="coordinate"'),
        ({"noise": "none"}, "noise must be one of 'learned', 'unit'; got 'none'"),
        ({"schedule": "cosine"}, "schedule must be one of 'one-cycle', 'constant'; got 'cosine'"),
        ({"angle_prior": 0}, "angle_prior must be above 0 and finite; got 0"),
    ],
)
def test_what_cannot_be_is_refused(few, options, says):
    with pytest.raises(ValueError, match=says):
        RRVAE(**QUICK | options).fit(few)


@pytest.mark.slow
def test_on_a_data_cube(cube):
    import py4DSTEM

    options = COMMON | {"max_epochs": 1}
    maps = cube.rrvae.fit(model=RRVAE.published(**options))
    assert isinstance(maps["z1"], py4DSTEM.RealSlice)
    assert maps["angle"].data.shape == cube.shape[:2]


@pytest.mark.slow
def test_on_a_hyperspy_signal(few):
    import hyperspy.api as hs

    signal = hs.signals.Signal2D(few.reshape(8, 10, 16, 16))
    maps = signal.rrvae.fit(**COORDINATE, center=(7.5, 7.5))
    assert maps["z1"].data.shape == (8, 10)


@pytest.mark.slow
def test_learned_noise_separates_what_it_should():
    """Three folds apart, the fold and the angle right for most; unit noise leaves nothing."""
    seen = synthetic.lobes(800, size=20, counts=5000)
    fresh = synthetic.lobes(400, size=20, counts=5000, random_state=1)
    options = COMMON | {"intensity": "linear", "background": "mean", "max_epochs": 80}
    model = RRVAE(architecture="coordinate", **options).fit(seen.frames)
    codes = model.encode(fresh.frames)
    assert scores.accuracy(codes.z, fresh.label) >= 0.98
    assert scores.ari(codes.z, fresh.label) >= 0.95
    assert np.mean(codes.fold == fresh.fold) >= 0.9
    assert np.degrees(np.nanmedian(fresh.angle_error(codes.angle))) < 3
    assert not any(model.history_.collapsed)
    unit = RRVAE.published(**COMMON | {"learning_rate": 1e-3, "max_epochs": 40}).fit(seen.frames)
    assert sum(unit.history_.kl[-1]) < 0.5 * sum(model.history_.kl[-1])
