# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps in HyperSpy's files, with and without this package; files of other formats."""

import subprocess
import sys

import hyperspy.api as hs
import hyperspy_scans as scans
import numpy as np
import pytest
from hyperspy.signals import BaseSignal, Signal1D, Signal2D
from hyperspy_scans import QUICK, calibration

from py4dstem_rrvae.adapters import hyperspy
from py4dstem_rrvae.adapters import hyperspy_signals as signals

pytestmark = pytest.mark.filterwarnings("ignore:The NestedDirectoryStore is deprecated")


@pytest.fixture(scope="module")
def signal():
    return scans.scan(scans.counts_of(scans.turns()))


@pytest.fixture(scope="module")
def maps(signal):
    return signal.rrvae.fit(**QUICK)


def assert_same_map(found, want):
    assert found.metadata.RRVAE.as_dictionary() == want.metadata.RRVAE.as_dictionary()
    assert found.metadata.Signal.quantity == want.metadata.Signal.quantity
    for one, other in zip(
        found.axes_manager.signal_axes, want.axes_manager.signal_axes, strict=True
    ):
        assert calibration(one) == calibration(other)
    np.testing.assert_array_equal(np.asarray(found.data), want.data)


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["hspy", "zspy"])
@pytest.mark.parametrize("lazy", [False, True])
def test_maps_reopen_as_what_they_were(ending, lazy, maps, tmp_path):
    for name in ("z1", "angle", "fold"):
        path = tmp_path / f"{name}.{ending}"
        (maps[name].as_lazy() if lazy else maps[name]).save(path)
        for reopen_lazy in (False, True):
            found = hs.load(path, lazy=reopen_lazy)
            assert type(found) is (signals.LazyLatentMap2D if reopen_lazy else signals.LatentMap2D)
            assert_same_map(found, maps[name])


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["hspy", "zspy"])
def test_maps_reopen_without_this_package(ending, maps, tmp_path):
    path = tmp_path / f"z1.{ending}"
    maps["z1"].save(path)
    np.save(tmp_path / "z1.npy", maps["z1"].data)
    program = f"""
import importlib.metadata, sys, warnings
warnings.simplefilter("ignore")
try:
    import importlib_metadata  # which earlier hosts ask
except ImportError:
    importlib_metadata = importlib.metadata
every = importlib.metadata.entry_points
def others(**which):
    found = every(**which)
    return [e for e in found if "rrvae" not in e.value] if which else found
importlib.metadata.entry_points = importlib_metadata.entry_points = others
sys.modules["py4dstem_rrvae"] = None
import hyperspy.api as hs, numpy as np
found = hs.load({str(path)!r})
assert type(found).__name__ == "Signal2D", type(found)
x, y = found.axes_manager.signal_axes
assert (x.name, x.scale, x.offset, x.units) == ("x", 0.47, 1.25, "um")
assert (y.name, y.scale, y.offset, y.units) == ("y", 0.31, -2.5, "nm")
assert found.metadata.RRVAE.map == "z1"
assert (found.data == np.load({str(tmp_path / "z1.npy")!r})).all()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_loading_a_map_imports_the_package(maps, tmp_path):
    maps["z1"].save(tmp_path / "z1.hspy")
    program = f"""
import sys
import hyperspy.api as hs
assert "py4dstem_rrvae" not in sys.modules
print(type(hs.load({str(tmp_path / "z1.hspy")!r})).__module__, "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["py4dstem_rrvae.adapters.hyperspy_signals", "False"], done.stderr


@pytest.mark.parametrize("dimension", [1, 2])
@pytest.mark.parametrize("lazy", [False, True])
def test_the_signal_type_is_registered(dimension, lazy):
    signal = (Signal1D if dimension == 1 else Signal2D)(np.ones((4, 5, 6)[-dimension - 1 :]))
    signal = signal.as_lazy() if lazy else signal
    signal.set_signal_type("rrvae_latent_map")
    name = f"{'Lazy' if lazy else ''}LatentMap{dimension}D"
    assert type(signal) is getattr(signals, name)


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["hspy", "zspy"])
def test_all_maps_in_one_file(ending, signal, maps, tmp_path):
    comparison = signal.rrvae.compare()
    together = maps | comparison
    hyperspy.save(together, tmp_path / f"maps.{ending}")
    stack = hs.load(tmp_path / f"maps.{ending}")
    assert isinstance(stack, signals.LatentMap2D)
    assert stack.axes_manager.navigation_axes[0].name == "map"
    found = {one.metadata.RRVAE.map: one for one in stack.split()}
    assert list(found) == [name for name in together if name != "beam_shift"]
    for name, map_ in found.items():
        assert type(map_) is signals.LatentMap2D
        assert_same_map(map_, together[name])


@pytest.mark.slow
def test_save_refuses(maps, tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.hspy, \.zspy; got maps\.h5"):
        hyperspy.save(maps, tmp_path / "maps.h5")
    with pytest.raises(ValueError, match="no maps to save"):
        hyperspy.save({}, tmp_path / "maps.hspy")
    hyperspy.save(maps, tmp_path / "maps.hspy")
    with pytest.raises(FileExistsError, match="exists; pass overwrite=True"):
        hyperspy.save(maps, tmp_path / "maps.hspy")
    hyperspy.save(maps, tmp_path / "maps.hspy", overwrite=True)


# Files of others


@pytest.mark.parametrize("lazy", [False, True])
def test_read_gives_the_scan_of_a_file(lazy, signal, tmp_path):
    signal.save(tmp_path / "scan.hspy")
    found = hyperspy.read(tmp_path / "scan.hspy", lazy=lazy)
    assert found._lazy == lazy
    assert found.axes_manager.navigation_shape == (8, 6)


@pytest.mark.slow
def test_block_files_are_read_through_to_a_fit(tmp_path):
    """NanoMEGAS' format, of 8-bit patterns; its reader gives arrays that cannot be written."""
    data = (scans.counts_of(scans.turns())[..., :24] // 4).astype(np.uint8)
    patterns = scans.scan(data)
    for axis in patterns.axes_manager.signal_axes:
        axis.units = "cm"
    patterns.save(tmp_path / "scan.blo", intensity_scaling=None)
    for lazy in (False, True):
        found = hyperspy.read(tmp_path / "scan.blo", lazy=lazy)
        with pytest.warns(UserWarning, match="signal axes have no origin"):
            maps = found.rrvae.fit(**QUICK)
        assert maps["z1"].axes_manager.signal_shape == (8, 6)


@pytest.mark.slow
def test_a_file_without_a_scan_is_refused(tmp_path):
    BaseSignal(np.ones((2, 3, 9, 10))).save(tmp_path / "bare.hspy")
    with pytest.raises(ValueError, match=r"4 signal axes \(signal\.transpose\(signal_axes=\(0, 1"):
        hyperspy.read(tmp_path / "bare.hspy")
    (tmp_path / "text.hspy").write_text("no file of HyperSpy's")
    with pytest.raises(ValueError, match=r"text\.hspy must be a file that HyperSpy opens; it says"):
        hyperspy.read(tmp_path / "text.hspy")


def test_a_file_that_several_readers_take_says_how_to_choose(tmp_path):
    import h5py

    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["data"] = np.ones((3, 3, 9, 9))
    with pytest.raises(ValueError, match=r"multiple file readers .* \(file_format, or"):
        hyperspy.read(tmp_path / "scan.h5")


def test_a_file_of_several_signals_gives_the_one_scan(monkeypatch):
    scan = scans.scan(scans.counts_of(scans.turns()))
    spectra, image = Signal1D(np.ones((4, 5, 6))), Signal2D(np.ones((9, 10)))
    held = [spectra, scan, image]
    monkeypatch.setattr(hs, "load", lambda *_, **__: held)
    assert hyperspy.read("several.app5") is scan
    held.append(scan)
    with pytest.raises(ValueError, match="must hold one scan of patterns; got 2 in <Signal1D"):
        hyperspy.read("several.app5")
