# SPDX-License-Identifier: GPL-3.0-or-later
"""HyperSpy's own `decomposition` with the model as its algorithm."""

import hyperspy
import hyperspy.api as hs
import numpy as np
import pytest
from estimators import QUICK as SHORT
from hyperspy.signals import BaseSignal, Signal2D

from benchmarks.scores import accuracy
from py4dstem_rrvae import RRVAE, synthetic

hs.preferences.GUIs.warn_if_guis_are_missing = False

SCAN = (8, 10)
QUICK = SHORT | {"max_epochs": 8}
LEARNED = QUICK | {"max_epochs": 15, "batch_size": 16}
EARLIER = tuple(map(int, hyperspy.__version__.split(".")[:2])) < (2, 5)
LAZY = pytest.param(True, marks=pytest.mark.skipif(EARLIER, reason="HyperSpy has it from 2.5 on"))
eager_and_lazy = pytest.mark.parametrize("lazy", [False, LAZY])


@pytest.fixture(scope="module")
def lobes():
    return synthetic.lobes(80, size=16, counts=4000)


@pytest.fixture
def signal(lobes):
    return Signal2D(lobes.frames.reshape(*SCAN, 16, 16).astype("float32"))


@pytest.mark.slow
@eager_and_lazy
def test_loadings_are_z_and_factors_are_decoded_patterns(lazy, signal, lobes):
    before = signal.data.copy()
    host = signal.as_lazy() if lazy else signal
    host.data = host.data.rechunk((3, 4, 16, 16)) if lazy else host.data
    model = RRVAE(**QUICK)
    host.decomposition(algorithm=model, print_info=False)
    loadings = host.get_decomposition_loadings()
    assert loadings.axes_manager.signal_shape == (10, 8)
    z = np.moveaxis(loadings.data, 0, -1)
    np.testing.assert_allclose(z, model.transform(signal.data), rtol=1e-5, atol=1e-6)
    assert np.ptp(z[..., 0]) > 0.3
    factors = host.get_decomposition_factors().data
    np.testing.assert_allclose(factors, model.components_.reshape(2, 16, 16), rtol=1e-5)
    np.testing.assert_array_equal(signal.data, before)
    if not lazy:
        want = RRVAE(**QUICK).fit(lobes.frames.astype("float32"))
        np.testing.assert_array_equal(z.reshape(-1, 2), want.transform(lobes.frames))


def test_a_decoded_pattern_looks_like_the_data(signal, lobes):
    signal.decomposition(algorithm=RRVAE(**LEARNED), print_info=False)
    factors = signal.get_decomposition_factors().data.reshape(2, -1)
    mean = lobes.frames.mean(axis=0).ravel()
    for factor in factors:
        assert np.corrcoef(factor, mean)[0, 1] > 0.5
        assert factor.sum() == pytest.approx(mean.sum(), rel=0.2)


@pytest.mark.slow
@eager_and_lazy
def test_navigation_masks_are_the_host_s(lazy, signal):
    """NumPy masks are (x, y) and signals (y, x); True is left out."""
    out = np.zeros(SCAN, dtype=bool)
    out[0, :4] = out[5, 7] = True
    kept = RRVAE(**QUICK).fit(signal.data[~out])
    for mask in (out.T, BaseSignal(out).T):
        host = signal.as_lazy() if lazy else signal
        host.decomposition(algorithm=RRVAE(**QUICK), navigation_mask=mask, print_info=False)
        z = np.moveaxis(host.get_decomposition_loadings().data, 0, -1)
        np.testing.assert_array_equal(np.isnan(z).all(axis=-1), out)
        if not lazy:
            np.testing.assert_array_equal(z[~out], kept.transform(signal.data[~out]))


@pytest.mark.slow
@eager_and_lazy
def test_signal_masks_are_the_host_s(lazy, signal):
    out = np.zeros((16, 16), dtype=bool)
    out[2:5, 9] = True
    kept = RRVAE(mask=~out, **QUICK).fit(signal.data)
    host = signal.as_lazy() if lazy else signal
    host.decomposition(algorithm=RRVAE(mask=~out, **QUICK), signal_mask=out, print_info=False)
    z = np.moveaxis(host.get_decomposition_loadings().data, 0, -1)
    if not lazy:
        np.testing.assert_array_equal(z, kept.transform(signal.data))
    assert np.isfinite(z).all()
    factors = host.get_decomposition_factors().data
    np.testing.assert_array_equal(np.isnan(factors).all(axis=0), out)


@pytest.mark.slow
def test_reprojection_encodes_what_was_left_out(signal):
    out = np.zeros(SCAN, dtype=bool)
    out[3] = True
    model = RRVAE(**QUICK)
    signal.decomposition(
        algorithm=model, navigation_mask=out.T, reproject="navigation", print_info=False
    )
    z = np.moveaxis(signal.get_decomposition_loadings().data, 0, -1)
    np.testing.assert_allclose(z, model.transform(signal.data), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["hspy", "zspy"])
@pytest.mark.filterwarnings("ignore:The NestedDirectoryStore is deprecated")
def test_results_survive_saving_and_can_be_clustered(ending, signal, lobes, tmp_path, caplog):
    model = signal.rrvae.decomposition(**LEARNED)
    assert isinstance(model, RRVAE)
    signal.save(tmp_path / f"scan.{ending}")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    loaded = hs.load(tmp_path / f"scan.{ending}")
    assert loaded.learning_results.decomposition_algorithm == "RRVAE"
    np.testing.assert_array_equal(
        loaded.get_decomposition_loadings().data, signal.get_decomposition_loadings().data
    )
    loaded.cluster_analysis(cluster_source="decomposition", n_clusters=3, n_init=5, random_state=0)
    assert loaded.get_cluster_labels().data.sum() == 80
    kept = sum(not gone for gone in model.history_.collapsed)
    assert loaded.learning_results.number_significant_components == kept
    z = np.moveaxis(loaded.get_decomposition_loadings().data, 0, -1).reshape(80, 2)
    assert accuracy(z, lobes.label) > 0.8


@pytest.mark.slow
def test_the_host_s_own_way_in_needs_two_words_more(signal, tmp_path, caplog):
    """As `docs/from_laptop_to_cluster.md` says."""
    signal.decomposition(algorithm=RRVAE(**LEARNED), print_info=False)
    signal.learning_results.decomposition_algorithm = "RRVAE"
    signal.learning_results.number_significant_components = 2
    signal.save(tmp_path / "scan.hspy")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    loaded = hs.load(tmp_path / "scan.hspy")
    loaded.cluster_analysis(cluster_source="decomposition", n_clusters=3, n_init=5, random_state=0)
    assert loaded.get_cluster_labels().data.sum() == 80
    np.testing.assert_array_equal(loaded.learning_results.factors, signal.learning_results.factors)


@pytest.mark.slow
def test_the_accessor_takes_geometry_and_masks_over(lobes):
    oblong = lobes.frames[:, :, 2:].reshape(*SCAN, 16, 14).astype("float32")
    signal = Signal2D(oblong)
    for axis, center in zip(signal.axes_manager.signal_axes, (5.5, 7.5), strict=True):
        axis.scale, axis.offset, axis.units = 0.1, -0.1 * center, "1/nm"
    out = np.zeros((16, 14), dtype=bool)
    out[3, 4:7] = True
    positions = np.zeros(SCAN, dtype=bool)
    positions[1, 2] = True
    model = signal.rrvae.decomposition(signal_mask=out, navigation_mask=positions.T, **QUICK)
    assert model.fitted_.detector.center == pytest.approx((7.5, 5.5))
    np.testing.assert_array_equal(model.fitted_.detector.mask, ~out)
    z = np.moveaxis(signal.get_decomposition_loadings().data, 0, -1)
    np.testing.assert_array_equal(np.isnan(z[..., 0]), positions)


def test_the_accessor_refuses_unequal_pixels(signal):
    signal.axes_manager.signal_axes[0].scale = 2.0
    with pytest.raises(ValueError, match=r"knows square pixels only; .*\[1\.0, 2\.0\]"):
        signal.rrvae.decomposition(**QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["2.2.0", "2.4.0.dev0", "2.4.1"])
def test_lazy_signals_need_a_newer_host(version, signal, monkeypatch):
    monkeypatch.setattr(hyperspy, "__version__", version)
    with pytest.raises(ValueError, match=rf"needs HyperSpy 2\.5; got {version} \(signal\.rrvae"):
        signal.as_lazy().rrvae.decomposition(**QUICK)
    signal.rrvae.decomposition(**QUICK)


def test_an_oblong_detector_needs_its_shape(lobes):
    signal = Signal2D(lobes.frames[:, :, 2:].reshape(*SCAN, 16, 14).astype("float32"))
    with pytest.raises(ValueError, match=r"signal_shape=\(H, W\) given to RRVAE"):
        signal.decomposition(algorithm=RRVAE(**QUICK), print_info=False)
    signal.decomposition(algorithm=RRVAE(signal_shape=(16, 14), **QUICK), print_info=False)
    assert signal.get_decomposition_factors().data.shape == (2, 16, 14)
