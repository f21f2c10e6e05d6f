# SPDX-License-Identifier: GPL-3.0-or-later
"""LiberTEM's maps are those of arrays, whichever executor, partitions and region of interest."""

import os

import h5py
import numpy as np
import pytest
from estimators import NAMES
from libertem.api import Context
from libertem.executor.dask import DaskJobExecutor, cluster_spec
from libertem.udf.sum import SumUDF

from py4dstem_rrvae import RRVAE, Codes, Frames, describe, synthetic
from py4dstem_rrvae.adapters import libertem as host

OPTIONS = {"max_epochs": 4, "batch_size": 8, "random_state": 0, "progress": False, "device": "cpu"}
SCAN = synthetic.lobes(120, size=16, counts=2000).frames.reshape(10, 12, 16, 16)
CENTER = (7.5, 7.5)
ORIGINS = 7.5 + np.random.default_rng(0).uniform(-0.5, 0.5, (10, 12, 2)).round(1)
pytestmark = pytest.mark.filterwarnings("ignore:all latents are switched off")


@pytest.fixture(scope="module")
def inline():
    with Context.make_with("inline") as context:
        yield context


@pytest.fixture(scope="module")
def dask():
    spec = cluster_spec(cpus=(0, 1), cudas=(), has_cupy=False)
    with DaskJobExecutor.make_local(spec=spec) as executor, Context(executor=executor) as context:
        yield context


@pytest.fixture(scope="module")
def plain():
    return RRVAE(**OPTIONS, center=CENTER).fit(SCAN)


def load(context, data=SCAN, **shapes):
    return context.load("memory", data=data, sig_dims=2, **({"num_partitions": 3} | shapes))


def assert_same(found, want, where=..., **tolerance):
    assert isinstance(found, Codes)
    for name in NAMES:
        one, other = getattr(found, name)[where], getattr(want, name)[where]
        np.testing.assert_allclose(
            one, other, err_msg=name, **({"atol": 1e-5, "rtol": 1e-5} | tolerance)
        )


@pytest.mark.slow
def test_fit_is_that_of_the_array(inline, plain):
    maps = host.fit(inline, load(inline), center=CENTER, **OPTIONS)
    assert_same(maps.codes, plain.encode(SCAN))
    angle = ["angle", "angle_std", "angle_reliability"]
    assert list(maps) == ["z1", "z2", "z1_std", "z2_std", *angle, "fold", "error"]
    assert maps["angle"].units == "rad" and maps["z1"].units == "dimensionless"
    assert {one.values.shape for one in maps.values()} == {(10, 12)}
    np.testing.assert_array_equal(maps["z2"].values, maps.codes.z[..., 1])
    fold = maps.codes.fold
    np.testing.assert_allclose(
        maps["angle"].period, np.where(fold, 2 * np.pi / np.maximum(fold, 1), np.nan)
    )
    assert isinstance(maps.model, RRVAE)


@pytest.mark.slow
def test_two_workers_of_dask(dask, plain):
    data = load(dask, num_partitions=5)
    maps = host.fit(dask, data, center=CENTER, **OPTIONS)
    assert_same(maps.codes, plain.encode(SCAN), atol=1e-4)
    broken = SCAN.astype("f4")
    broken[3, 4, 5, 6] = np.nan
    with pytest.raises(Exception, match=r"patterns must be finite, .* got 1 pixels in 1 "):
        host.fit(dask, load(dask, broken), center=CENTER, **OPTIONS)


@pytest.mark.slow
def test_workers_take_one_thread_each_and_the_encoder_once(dask, plain):
    udf, data = host.LatentUDF.of(plain), load(dask, num_partitions=6)
    before = dask.executor.run_each_worker(_seen)
    assert_same(host.codes(dask.run_udf(data, udf)), plain.encode(SCAN))
    after = dask.executor.run_each_worker(_seen)
    made, asked = (
        [after[worker][what] - before[worker][what] for worker in before]
        for what in ("made", "asked")
    )
    assert sum(asked) == 6 and set(made) <= {0, 1}
    for worker in after.values():
        assert worker["threads"] == 1 and worker["pid"] != os.getpid()


def _seen():
    import torch

    opened = host._opened.cache_info()
    about = {"pid": os.getpid(), "threads": torch.get_num_threads()}
    return about | {"made": opened.misses, "asked": opened.misses + opened.hits}


@pytest.mark.parametrize("name", ["threads", "inline"])
def test_other_executors(name, plain):
    with Context.make_with(name) as context:
        udf = host.LatentUDF.of(plain)
        assert_same(host.codes(context.run_udf(load(context), udf)), plain.encode(SCAN))


@pytest.mark.slow
@pytest.mark.parametrize(
    "shapes",
    [
        {"num_partitions": 1},
        {"num_partitions": 7},
        {"num_partitions": 119},
        {"num_partitions": 3, "tileshape": (7, 16, 16)},
        {"num_partitions": 4, "tileshape": (1, 16, 16)},
    ],
    ids=str,
)
def test_partitions_and_tiles_make_no_difference(inline, plain, shapes):
    found = inline.run_udf(load(inline, **shapes), host.LatentUDF.of(plain))
    assert_same(host.codes(found), plain.encode(SCAN))


@pytest.mark.slow
def test_a_partition_larger_than_a_batch(inline, plain, monkeypatch):
    monkeypatch.setattr(host, "MOST_PATTERNS", 7)
    maps = host.fit(inline, load(inline, num_partitions=2), center=CENTER, **OPTIONS)
    assert_same(maps.codes, plain.encode(SCAN))


@pytest.mark.slow
def test_a_file_whose_chunks_cut_the_patterns(inline, plain, tmp_path):
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_dataset("data", data=SCAN, chunks=(3, 5, 7, 16))
    data = inline.load("hdf5", path=str(tmp_path / "scan.h5"), ds_path="data")
    maps = host.fit(inline, data, center=CENTER, **OPTIONS)
    assert_same(maps.codes, plain.encode(SCAN))


def test_a_region_of_interest_is_all_that_is_read(inline, plain):
    roi = np.zeros((10, 12), dtype=bool)
    roi[2:9, 1::3] = True
    maps = host.encode(inline, load(inline), plain, background="stored", roi=roi)
    assert_same(maps.codes, plain.encode(SCAN), roi)
    for name in ("z", "z_std", "angle", "angle_std", "error"):
        assert np.isnan(getattr(maps.codes, name)[~roi]).all()
    assert (maps.codes.fold[~roi] == 0).all()


@pytest.mark.slow
def test_training_keeps_to_its_region(inline):
    roi = np.zeros((10, 12), dtype=bool)
    roi[:, :7] = True
    maps = host.fit(inline, load(inline), roi=roi, center=CENTER, **OPTIONS)
    want = RRVAE(**OPTIONS, center=CENTER).fit(Frames(SCAN, roi=roi)).encode(SCAN)
    assert_same(maps.codes, want)
    assert np.isfinite(maps.codes.z).all()


@pytest.mark.slow
def test_a_beam_that_wanders(inline):
    roi = np.random.default_rng(0).uniform(size=(10, 12)) < 0.5
    maps = host.fit(inline, load(inline, num_partitions=7), center=ORIGINS, **OPTIONS)
    model = RRVAE(**OPTIONS).fit(Frames(SCAN, center=ORIGINS))
    want = model.encode(Frames(SCAN, center=ORIGINS))
    assert_same(maps.codes, want, atol=1e-4)
    part = host.encode(
        inline, load(inline), model, background="stored", roi=roi, center=ORIGINS
    ).codes
    assert_same(part, want, roi, atol=1e-4)


def test_another_scan_from_a_file_of_the_model(inline, plain, tmp_path):
    brighter = synthetic.lobes(120, size=16, counts=5000, random_state=1).frames
    plain.save(tmp_path / "model.rrvae")
    data = load(inline, brighter.reshape(12, 10, 16, 16))
    maps = host.encode(inline, data, tmp_path / "model.rrvae")
    want = plain.encode(brighter.reshape(12, 10, 16, 16), background="refit")
    assert_same(maps.codes, want)


@pytest.mark.slow
def test_handedness(inline):
    options = OPTIONS | {"mirror": True, "center": CENTER}
    maps = host.fit(inline, load(inline), **options)
    want = RRVAE(**options).fit(SCAN).encode(SCAN)
    np.testing.assert_allclose(maps["handedness"].values, want.handedness)


@pytest.mark.parametrize("nav", [(120,), (4, 5, 6)])
def test_scans_of_other_dimensions(inline, plain, nav):
    data = SCAN.reshape(*nav, 16, 16)
    maps = host.encode(inline, load(inline, data), plain, background="stored")
    assert_same(maps.codes, plain.encode(data))


def test_frames_that_were_never_recorded(inline, plain):
    data = SCAN.astype("f4")
    data[4:6] = np.nan
    found = host.codes(inline.run_udf(load(inline, data), host.LatentUDF.of(plain)))
    assert_same(found, plain.encode(data))


def test_maps_fill_in_beside_what_else_is_run(inline, plain):
    udfs, seen = [host.LatentUDF.of(plain), SumUDF()], []
    for part in inline.run_udf_iter(load(inline, num_partitions=4), udfs):
        z = host.maps(part.buffers[0], plain)["z1"].values
        seen.append(int(np.isfinite(z).sum()))
    assert_same(host.codes(part.buffers[0]), plain.encode(SCAN))
    np.testing.assert_array_equal(part.buffers[1]["intensity"].data, SCAN.sum(axis=(0, 1)))
    assert seen == sorted(seen) and seen[0] < seen[-1] == 120


@pytest.mark.slow
def test_whatever_takes_frames_takes_them(inline):
    source = host.frames(inline, load(inline), center=CENTER)
    found, want = (describe(one, progress=False) for one in (source, Frames(SCAN, center=CENTER)))
    np.testing.assert_allclose(found.rotation, want.rotation)
    centred = RRVAE(**OPTIONS).fit(host.frames(inline, load(inline)))
    want = RRVAE(**OPTIONS).fit(SCAN).fitted_.detector.center
    assert centred.fitted_.detector.center == pytest.approx(want)


def test_what_cannot_be_is_refused(inline, plain):
    with pytest.raises(TypeError, match="dataset must be one that LiberTEM loaded; got ndarray"):
        host.fit(inline, SCAN)
    spectra = inline.load("memory", data=SCAN.reshape(120, 256), sig_dims=1)
    with pytest.raises(ValueError, match="must have two axes; those of the data set have 1"):
        host.fit(inline, spectra)
    with pytest.raises(TypeError, match="give a model or options of RRVAE, not both"):
        host.fit(inline, load(inline), model=plain, latent_dim=3)
    with pytest.raises(ValueError, match="the model was trained on"):
        host.encode(inline, load(inline, SCAN[..., :12, :]), plain)
    with pytest.raises(ValueError, match=r"roi must be boolean of the scan's shape \(10, 12\)"):
        host.encode(inline, load(inline), plain, roi=np.ones((3, 3), dtype=bool))
