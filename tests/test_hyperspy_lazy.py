# SPDX-License-Identifier: GPL-3.0-or-later
"""Lazy signals and dask arrays: the codes of eager ones, one pass, and on a cluster."""

import os
import pickle
import subprocess
import sys

import dask
import dask.array as da
import hyperspy_scans as scans
import numpy as np
import py4DSTEM
import pytest
from cluster_tasks import Noted, die_once, report
from dask.distributed import Client, LocalCluster
from estimators import assert_same_codes
from hyperspy.signals import Signal2D
from hyperspy_scans import QUICK

from py4dstem_rrvae import RRVAE, Frames, synthetic
from py4dstem_rrvae.scan import blocks
from py4dstem_rrvae.scan.encoding import Encoder

# The cluster's own chatter: ports taken, sockets left to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The NestedDirectoryStore is deprecated"),
    pytest.mark.filterwarnings("ignore:Port .* is already in use"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SHAPE = (10, 12)
CHUNKS = {
    "rows": (3, 12, 24, 26),
    "tiles": (4, 5, 24, 26),
    "split detector": (4, 5, 7, 11),
    "detector columns over the whole scan": (10, 12, 24, 5),
    "one": (10, 12, 24, 26),
    "single patterns": (1, 1, 24, 26),
}


@pytest.fixture(scope="module")
def data():
    return scans.counts_of(scans.turns(SHAPE))


@pytest.fixture(scope="module")
def eager(data):
    return scans.scan(data).rrvae.fit(**QUICK)


def lazy_scan(data, chunks):
    return scans.scan(da.from_array(data, chunks=chunks), Signal2D).as_lazy()


class Counted:
    """An array that counts how often each position is read, as a file would be."""

    def __init__(self, values):
        self.values, self.shape, self.dtype, self.ndim = values, values.shape, values.dtype, 4
        self.reads = np.zeros(values.shape[:2], dtype=int)

    def __getitem__(self, index):
        self.reads[index[:2]] += 1
        return self.values[index]


@pytest.mark.slow
@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=list(CHUNKS))
def test_lazy_equals_eager(chunks, data, eager):
    signal = lazy_scan(data, chunks)
    maps = signal.rrvae.fit(**QUICK)
    assert signal._lazy and signal.data.chunksize == chunks
    for name, map_ in maps.items():
        assert map_._lazy
        map_.compute()
        np.testing.assert_allclose(map_.data, eager[name].data, rtol=2e-4, atol=2e-4, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("lazy_output", [None, False, True])
def test_output_follows_the_input_unless_told(lazy, lazy_output, data, eager):
    signal = lazy_scan(data, CHUNKS["tiles"]) if lazy else scans.scan(data)
    maps = signal.rrvae.encode(eager.model, background="stored", lazy_output=lazy_output)
    want = lazy if lazy_output is None else lazy_output
    assert {map_._lazy for map_ in maps.values()} == {want}


@pytest.mark.slow
def test_encoding_reads_once_and_fitting_twice(data, eager):
    counted = Counted(data)
    array = da.from_array(counted, chunks=CHUNKS["tiles"], asarray=False, meta=data[:0])
    signal = scans.scan(array, Signal2D).as_lazy()
    maps = signal.rrvae.encode(eager.model, background="stored")
    for map_ in maps.values():
        map_.compute()
    assert (counted.reads == 1).all()
    signal.rrvae.fit(**QUICK)
    assert (counted.reads == 3).all()


@pytest.mark.parametrize("kind", ["h5py", "memmap", "dask"])
def test_data_cubes_take_the_same_path(kind, data, eager, tmp_path):
    import h5py

    if kind == "h5py":
        file = h5py.File(tmp_path / "scan.h5", "w")
        values = file.create_dataset("data", data=data, chunks=(4, 5, 7, 11))
    elif kind == "memmap":
        values = np.memmap(tmp_path / "scan.raw", data.dtype, "w+", shape=data.shape)
        values[:] = data
    else:
        values = da.from_array(data, chunks=CHUNKS["tiles"])
    cube = py4DSTEM.DataCube(values)
    cube.calibration.set_origin(scans.CENTER)
    cube.calibration.set_Q_pixel_size(scans.Q_SIZE)
    cube.calibration.set_Q_pixel_units("A^-1")
    maps = cube.rrvae.encode(eager.model, background="stored")
    np.testing.assert_allclose(maps["z1"].data, eager["z1"].data, rtol=2e-4, atol=2e-4)


def test_blocks_of_a_file_are_its_chunks():
    """A chunk is decompressed as a whole, so that no block may take a part of it."""
    assert blocks.block_shape((64, 64), (8, 8), 2**15) == (16, 64)
    assert blocks.block_shape((64, 64), (8, 8), 2**10) == (64, 64)
    assert blocks.block_shape((64, 60), (8, 7), 2**19) == (8, 7)
    assert blocks.block_shape((512, 512), (512, 512), 2**17) == (4, 512)
    assert blocks.block_shape((), (), 2**20) == ()


@pytest.mark.slow
def test_a_cube_larger_than_the_memory_allowed(tmp_path):
    """Fit and encode under a limit of address space that the cube alone would break."""
    path = tmp_path / "cube.zspy"
    tile = synthetic.lobes(64, size=64, counts=3000).frames.astype(np.uint16).reshape(8, 8, 64, 64)
    tiled = da.tile(da.from_array(tile, chunks=(8, 8, 64, 64)), (48, 32, 1, 1))
    Signal2D(tiled).as_lazy().save(path, chunks=(16, 16, 64, 64))
    program = f"""
import resource, warnings
warnings.simplefilter("ignore")
import torch
torch.set_num_threads(1)
import dask, hyperspy.api as hs, py4dstem_rrvae
dask.config.set(scheduler="threads", num_workers=2)
quick = dict(max_epochs=1, progress=False, device="cpu", random_state=0, sample=512)
signal = hs.load({str(path)!r}, lazy=True)
signal.inav[:32, :32].rrvae.fit(center=(31.5, 31.5), **quick)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
size = signal.data.nbytes
resource.setrlimit(resource.RLIMIT_AS, (used + size // 2,) * 2)
try:
    signal.data.compute(scheduler="synchronous")
    raise SystemExit("the limit does not bind")
except MemoryError:
    pass
maps = signal.rrvae.fit(center=(31.5, 31.5), **quick)
maps["z1"].compute(show_progressbar=False)
print(size, maps["z1"].data.shape)
"""
    limited = os.environ | {"MALLOC_ARENA_MAX": "2", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=limited
    )
    assert done.returncode == 0, done.stderr[-2000:]
    size, shape = done.stdout.split(maxsplit=1)
    assert int(size) == 3 * 2**28
    assert shape.strip() == "(384, 256)"


# On a cluster


@pytest.fixture(scope="module")
def cluster():
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "memory_limit": 0}
    with LocalCluster(dashboard_address=None, **options) as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    with Client(cluster) as client:
        client.wait_for_workers(2)
        yield client


@pytest.mark.slow
@pytest.mark.usefixtures("client")
def test_a_cluster_gives_the_codes_of_one_process(data, eager, tmp_path):
    signal = lazy_scan(data, CHUNKS["tiles"])
    signal.data = signal.data.map_blocks(report, str(tmp_path), dtype=data.dtype, meta=data[:0])
    for maps in (
        signal.rrvae.encode(eager.model, background="stored"),
        signal.rrvae.fit(**QUICK),
    ):
        for name, map_ in maps.items():
            np.testing.assert_allclose(
                np.asarray(map_.data), eager[name].data, rtol=2e-4, atol=2e-4, err_msg=name
            )
    ran_on = {int(path.name) for path in tmp_path.iterdir()}
    assert len(ran_on) == 2
    assert os.getpid() not in ran_on


@pytest.mark.slow
def test_the_model_is_sent_once_to_each_worker(client, data, eager, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "py4dstem_rrvae.estimator.Encoder", lambda *args: Noted(Encoder(*args), str(tmp_path))
    )
    client.run(lambda: sys.path.append(os.path.dirname(__file__)))
    signal = lazy_scan(data, (1, 4, 24, 26))
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1)
    signal.rrvae.encode(eager.model, background="stored")
    notes = {path.name: path.read_text().count("unpacked") for path in tmp_path.iterdir()}
    workers = {str(pid) for pid in client.run(os.getpid).values()}
    assert workers <= set(notes)
    assert {notes[worker] for worker in workers} == {1}, notes


@pytest.mark.slow
def test_a_killed_worker_costs_nothing_but_time(client, data, eager, tmp_path):
    before = set(client.run(os.getpid).values())
    marker = tmp_path / "killed"
    signal = lazy_scan(data, (5, 4, 24, 26))
    signal.data = signal.data.map_blocks(die_once, str(marker), dtype=data.dtype, meta=data[:0])
    maps = signal.rrvae.encode(eager.model, background="stored")
    assert marker.exists()
    for name, map_ in maps.items():
        np.testing.assert_allclose(
            np.asarray(map_.data), eager[name].data, rtol=2e-4, atol=2e-4, err_msg=name
        )
    client.wait_for_workers(2)
    assert set(client.run(os.getpid).values()) != before


def test_an_encoder_pickles_without_its_operators(data):
    frames = Frames(data, center=np.broadcast_to(scans.CENTER, (*SHAPE, 2)))
    model = RRVAE(**QUICK).fit(frames)
    want = model.encode(frames)
    seen = []
    original = Frames.walk

    def walk(self, task, positions=None, progress=None):
        packed = pickle.dumps(task)
        seen.append(len(packed))
        return original(self, pickle.loads(packed), positions, progress)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Frames, "walk", walk)
        found = model.encode(frames)
    assert_same_codes(found, want)
    # Networks of some 100 kB and a pair of numbers a position.
    assert seen and seen[0] < 2e6


@pytest.mark.slow
@pytest.mark.usefixtures("client")
def test_progress_is_shown_on_threads_and_on_a_cluster(data, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    signal = lazy_scan(data, CHUNKS["tiles"])
    model = RRVAE(**QUICK | {"progress": True}).fit(data)
    capsys.readouterr()
    model.encode(Frames(signal.data))
    assert "encoding: " in capsys.readouterr().err
    with dask.config.set(scheduler="threads"):
        model.encode(Frames(signal.data))
    assert "encoding: " in capsys.readouterr().err
