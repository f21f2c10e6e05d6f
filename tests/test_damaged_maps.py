# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of the hosts in which maps of ours are wrong: one sentence each."""

import hyperspy_scans as scans
import numpy as np
import py4DSTEM
import pytest
from emdfile import Metadata, PointList
from hyperspy.signals import Signal2D

from py4dstem_rrvae.adapters import _hyperspy_anomaly, hyperspy, py4dstem

POINTS = np.ones(3, [("a", float)])
TINY = {"latent_dim": 1, "max_epochs": 1, "device": "cpu", "progress": False, "random_state": 0}


@pytest.fixture(scope="module")
def mapped(tmp_path_factory, patterns):
    """File of a data cube with maps."""
    import py4dstem_scans

    cube = py4dstem_scans.data_cube(patterns)
    py4dstem.fit(cube, **TINY)
    path = tmp_path_factory.mktemp("mapped") / "cube.h5"
    py4dstem.save(cube, path)
    return path


def relabelled(node, name, **said):
    branch = node.tree(name)
    about = dict(branch.metadata["gen_params"]._params) | said
    kept = {key: value for key, value in about.items() if value != "gone"}
    branch.metadata = Metadata("gen_params", kept)


def retold(node, **said):
    about = dict(node.metadata["rrvae_params"]._params) | said
    kept = {key: value for key, value in about.items() if not isinstance(value, type)}
    node.metadata = Metadata("rrvae_params", kept)


def replaced(node, name, branch):
    about = node.tree(name).metadata["gen_params"]
    node.tree(name).cut(root_metadata=False)
    branch.metadata = about
    node.tree(branch)


SPOILS = {
    "another shape": (lambda n: setattr(n.tree("z1"), "data", np.ones((2, 2))),
                      "z1 must have shape .* got float64 of"),
    "no image": (lambda n: replaced(n, "error", PointList(POINTS, name="error")),
                 "error must have shape"),
    "no fold": (lambda n: n.tree("fold").cut(root_metadata=False), "KeyError"),
    "no units": (lambda n: relabelled(n, "z1", units="gone"), "units|KeyError"),
    "units that are none": (lambda n: relabelled(n, "z1", units=3), "z1 must have units"),
    "no period": (lambda n: relabelled(n, "angle", period=[1, 2]), "TypeError"),
    "no scan shape": (lambda n: retold(n, Rshape="wide"), "invalid literal"),
    "nothing of latents": (lambda n: retold(n, collapsed=int), "collapsed"),
    "no repeatability": (lambda n: retold(n, repeatability="high"), "could not convert"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", SPOILS)
@pytest.mark.parametrize("use", [py4dstem.plot, py4dstem.anomaly])
def test_damaged_maps_of_a_cube_are_told(case, use, mapped, tmp_path):
    spoil, match = SPOILS[case]
    cube = py4DSTEM.read(mapped)
    use(cube)
    spoil(cube.tree("rrvae"))
    py4DSTEM.save(str(tmp_path / "spoilt.h5"), cube)
    spoilt = py4DSTEM.read(str(tmp_path / "spoilt.h5"))
    with pytest.raises(ValueError, match=f"the datacube's maps are damaged, .*({match})") as told:
        use(spoilt)
    assert "\n" not in str(told.value)
    py4dstem.fit(spoilt, **TINY)
    use(spoilt)


@pytest.fixture(scope="module")
def maps():
    signal = scans.scan(scans.counts_of(scans.turns()))
    return signal, hyperspy.fit(signal, show_progressbar=False, **TINY)


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda m: m.metadata.__delattr__("RRVAE"), "'z1' must say what it is .*; map is missing"),
        (lambda m: m.metadata.RRVAE.__delattr__("units"), "; units is missing"),
        (lambda m: m.metadata.RRVAE.add_dictionary({"cyclic": True, "period": [1]}), "a period"),
        (lambda m: setattr(m, "data", m.data[:2]), r"'z1_std' must hold numbers of shape \(2, 8\)"),
        (lambda m: setattr(m, "data", m.data.astype("U3")), "'z1' must hold numbers"),
    ],
)
@pytest.mark.parametrize("use", ["plot", "anomaly"])
def test_damaged_maps_of_a_signal_are_told(spoil, match, use, maps):
    signal, found = maps
    spoilt = {name: map_.deepcopy() for name, map_ in found.items()}
    spoil(spoilt["z1"])
    with pytest.raises(ValueError, match=match) as told:
        hyperspy.plot(spoilt) if use == "plot" else _hyperspy_anomaly.anomaly(signal, spoilt)
    assert "\n" not in str(told.value)


def test_missing_maps_of_a_signal_are_told(maps):
    signal, found = maps
    some = {name: found[name] for name in ("z1", "z1_std")}
    with pytest.raises(ValueError, match="those of fit or encode; angle is missing"):
        _hyperspy_anomaly.anomaly(signal, some)
    with pytest.raises(ValueError, match="'z1' must say what it is"):
        hyperspy.plot({"z1": Signal2D(np.ones((4, 4)))})
