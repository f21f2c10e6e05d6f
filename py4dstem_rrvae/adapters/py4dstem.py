# SPDX-License-Identifier: GPL-3.0-or-later
"""Latent maps of a py4DSTEM `DataCube`, attached to it, and its COM and DPC beside them.

The host's axes are x = rows and y = columns, and its vectors turn from x towards y, so its angle
``arctan2(com_y, com_x)`` is the package's own. Where the calibration holds a rotation (and flip)
between diffraction and scan, both are given in the scan's frame, else in the detector's.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import py4DSTEM
from emdfile import Metadata, Node
from numpy.typing import NDArray
from py4DSTEM import DataCube, RealSlice

from .._version import __version__
from ..estimator import RRVAE
from ..maps.anomaly import anomaly_map
from ..maps.latent import LatentMap, latent_maps
from ..replacing import replacing
from ..scan.adoption import ScanBackground
from ..scan.blocks import check_open
from ..scan.frames import Frames
from ..symmetry.autocorrelation import SymmetryKind
from ..symmetry.descriptors import StillPart, describe
from . import (
    _fingerprint,
    _models,
    _outputs,
    _py4dstem_calibration,
    _py4dstem_dpc,
    _py4dstem_tree,
)
from ._py4dstem_files import datacube, read
from ._py4dstem_tree import ABOUT_ANOMALY, ABOUT_DPC, ABOUT_FIT, ABOUT_MAP, ABOUT_SYMMETRY

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "Maps",
    "anomaly",
    "compare",
    "datacube",
    "encode",
    "fit",
    "frames",
    "plot",
    "read",
    "save",
    "symmetry",
]

NODE = "rrvae"


class Maps(dict[str, RealSlice]):
    """Name to `RealSlice`, each sharing the data cube's calibration; `model` made them."""

    def __init__(self, maps: Mapping[str, RealSlice], model: RRVAE) -> None:
        super().__init__(maps)
        self.model = model


def fit(
    datacube: DataCube,
    *,
    model: RRVAE | None = None,
    roi: NDArray[np.bool_] | None = None,
    **options: Any,
) -> Maps:
    """Train a model on a data cube, encode the data cube, and attach the maps to its tree.

    Earlier maps are replaced once the new ones are there; those of `compare` stay as long as the
    calibration they were made with does.

    Parameters
    ----------
    datacube
        Its data are read, never written.
    model
        Model to train; None makes ``RRVAE(**options)``.
    roi : ndarray of bool, shape (Rx, Ry), or None
        Positions to train on (True), without the flyback column or the vacuum for one. All are
        mapped.
    **options
        Options of `RRVAE`.

    Returns
    -------
    Maps
        Stock `RealSlice` objects, and the trained model as the attribute `model`.

    Raises
    ------
    TypeError
        If `RRVAE` has no such option, options come with a model, or the model is no `RRVAE`.
    ValueError
        If the data or the calibration cannot be used.
    """
    model = _models.to_train(model, options)
    source = replace(frames(datacube), roi=roi)
    _node(datacube)
    if source.center is None and model.center is None:
        warnings.warn(
            "the calibration has no origin, so the centre is estimated from the mean pattern; "
            "calibration.set_origin((qx0, qy0)) or center=(qx0, qy0) gives it",
            stacklevel=2,
        )
    model.fit(source)
    return _attach_codes(datacube, source, model, "stored")


def encode(
    datacube: DataCube, model: RRVAE | str | PathLike[str], *, background: ScanBackground = "refit"
) -> Maps:
    """Encode a data cube with a trained model and attach the maps to its tree.

    Parameters
    ----------
    datacube
        Its data are read, never written.
    model
        Trained model, or the path of a saved one.
    background
        ``"refit"`` estimates what is fixed to the detector from this scan; ``"stored"`` takes the
        training scan's, for that same scan.

    Returns
    -------
    Maps

    Raises
    ------
    ValueError
        If the data or the calibration do not suit the model.
    """
    source = frames(datacube)
    _node(datacube)
    trained = _models.trained(model)
    return _attach_codes(datacube, source, trained, background)


def compare(
    datacube: DataCube,
    *,
    energy: float,
    max_iter: int = 64,
    mask: NDArray[np.bool_] | None = None,
) -> dict[str, RealSlice]:
    """Run py4DSTEM's own DPC and attach its COM and phase beside the latent maps.

    A rotation in the calibration is used. Without one DPC searches for the rotation that its phase
    needs, which the metadata tell; COM then stays in the detector's frame, as `angle` does.

    Parameters
    ----------
    datacube
        Its data are read, never written; DPC itself makes a float32 copy in memory.
    energy
        Electron energy in eV.
    max_iter
        Iterations of the phase reconstruction.
    mask
        True where a detector pixel counts.

    Returns
    -------
    dict
        ``com_x``, ``com_y`` and ``dpc_phase``, stock `RealSlice` objects.

    Raises
    ------
    ValueError
        If the energy is not in eV, the scan is under 3 x 3, or DPC does not know its units.
    """
    mask = Frames.of(frames(datacube), mask=mask).mask
    node = _node(datacube)
    if node is not None:
        _py4dstem_tree.check_fresh(datacube, node)
    _py4dstem_dpc.check(datacube, energy)
    if node is not None:
        _py4dstem_tree.warn_if_changed(
            node, _py4dstem_calibration.record(datacube.calibration, datacube.Rshape)
        )
    known = _without_nan(datacube, mask)
    dpc = py4DSTEM.process.phase.DPC(known, energy=energy, verbose=False)
    turn = _py4dstem_calibration.turn(datacube.calibration)
    maps, parameters = _py4dstem_dpc.run(dpc, turn, max_iter=max_iter, mask=mask)
    return _attach(datacube, maps, ABOUT_DPC, {"energy_eV": energy} | parameters)


def symmetry(
    datacube: DataCube,
    *,
    kind: SymmetryKind = "angular",
    background: StillPart = "none",
    mask: NDArray[np.bool_] | None = None,
) -> dict[str, RealSlice]:
    """Attach how alike each pattern is to itself turned or mirrored, without learning.

    Parameters
    ----------
    datacube
        Its data are read, never written.
    kind, background, mask
        As in `descriptors.describe`.

    Returns
    -------
    dict
        ``rotation_2`` to ``rotation_12``, ``mirror_score`` and ``mirror_axis``, stock `RealSlice`
        objects.

    Raises
    ------
    ValueError
        If the data, the calibration or an option cannot be used.
    """
    source = frames(datacube)
    _node(datacube)
    found = describe(source, kind=kind, background=background, mask=mask).maps()
    given = "estimated" if source.center is None else "calibration"
    about = {"kind": kind, "background": background, "center": given}
    return _attach(datacube, found.values(), ABOUT_SYMMETRY, about)


def anomaly(datacube: DataCube, *, neighbourhood: float = 0.0) -> RealSlice:
    """Attach how unusual each pattern is, from the attached maps; `fit` and `encode` remove it.

    A pattern alone is judged by its live latents and its misfit. Averaged over a good part of a
    unit cell, the codes of a perfect lattice are constant, and what is not stands out.

    Parameters
    ----------
    datacube
        With maps of `fit` or `encode`.
    neighbourhood
        Standard deviation, in scan positions, of the Gaussian over which codes are averaged before
        they are judged; 0 judges each pattern alone.

    Returns
    -------
    RealSlice, shape (Rx, Ry)
        Robust standard deviations, at least 0.

    Raises
    ------
    ValueError
        If no latent maps are attached, or they do not suit.
    """
    node = _node(datacube)
    if node is None or ABOUT_FIT not in _py4dstem_tree.kinds(node):
        raise ValueError("the datacube has no latent maps to judge by: call fit or encode first")
    _py4dstem_tree.check_fresh(datacube, node)
    codes, collapsed = _py4dstem_tree.codes(node)
    map_ = anomaly_map(codes, collapsed=collapsed, neighbourhood=neighbourhood)
    return _attach(datacube, [map_], ABOUT_ANOMALY, {"neighbourhood": neighbourhood})["anomaly"]


def plot(datacube: DataCube) -> Figure:
    """Draw COM, DPC, latent maps and anomaly, whichever are attached, with scale bars.

    Raises
    ------
    ValueError
        If no maps are attached, or they were made for another scan shape.
    """
    from ..plot.figures import maps_figure

    node = _node(datacube)
    if node is None:
        raise ValueError("the datacube has no maps to plot: call fit, encode or compare first")
    _py4dstem_tree.check_fresh(datacube, node)
    maps = {name: _py4dstem_tree.latent_map(node, name) for name in _py4dstem_tree.names(node)}
    about = node.metadata.get(ABOUT_FIT)
    return maps_figure(
        maps,
        pixel_size=datacube.calibration.get_R_pixel_size(),
        units=datacube.calibration.get_R_pixel_units(),
        title=datacube.name,
        collapsed=() if about is None else about["collapsed"],
        repeatability=() if about is None else about["repeatability"],
    )


def frames(datacube: DataCube) -> Frames:
    """The patterns, and the geometry that the calibration holds.

    ``q = matrix @ (index - center)`` takes the host's order: ellipse, pixel size, flip, rotation.

    Raises
    ------
    TypeError
        If it is no DataCube, or its data are not real numbers.
    ValueError
        If the data's shape or the calibration cannot be used.
    """
    if not isinstance(datacube, DataCube):
        raise TypeError(f"datacube must be a py4DSTEM.DataCube; got {type(datacube).__name__}")
    check_open(datacube.data)
    if datacube.data.ndim != 4:
        raise ValueError(
            f"the datacube must be 4-D (Rx, Ry, Qx, Qy); got shape {datacube.data.shape}"
        )
    calibration = datacube.calibration
    _py4dstem_calibration.check_scan_step(calibration)
    return Frames(
        patterns=datacube.data,
        center=_py4dstem_calibration.center(calibration, datacube.Rshape),
        matrix=_py4dstem_calibration.matrix(calibration),
        mask=None,
        q_units=calibration.get_Q_pixel_units(),
    )


def save(
    datacube: DataCube,
    path: str | PathLike[str],
    *,
    maps_only: bool = False,
    overwrite: bool = False,
) -> None:
    """Write a data cube and its maps, or the maps and the calibration, to an EMD file.

    An earlier file is replaced only once the new one is complete.

    Raises
    ------
    ValueError
        If there are no maps to write alone, or py4DSTEM would not read the name's ending again.
    FileExistsError
        If the file exists and `overwrite` is false.
    OSError
        If it cannot be written.
    """
    path = Path(path)
    _outputs.check(path, "py4dstem", overwrite=overwrite)
    data = _node(datacube) if maps_only else datacube
    if data is None:
        raise ValueError("the datacube has no maps to save: call fit, encode or compare first")
    with replacing(path, overwrite=overwrite) as part:
        py4DSTEM.save(part, data, mode="o")


def _without_nan(cube: DataCube, mask: NDArray[np.bool_] | None) -> DataCube:
    """The cube; a filled copy where NaN lies under the mask, which DPC would not leave out."""
    data = cube.data
    if mask is None or data.dtype.kind != "f" or np.isfinite(data[..., ~mask]).all():
        return cube
    return DataCube(np.where(mask, data, 0), calibration=cube.calibration.copy())


def _attach_codes(cube: DataCube, source: Frames, model: RRVAE, background: ScanBackground) -> Maps:
    maps = latent_maps(model.encode(source, background=background))
    given = "estimated" if source.center is None else "calibration"
    history = model.history_
    about = {
        "background": background,
        "center": _models.center_from(model, given),
        "training_center": model.fitted_.detector.center,
        "collapsed": [f"z{k}" for k, is_so in enumerate(history.collapsed, 1) if is_so],
        "repeatability": [float(r) for r in history.repeatability],
        "camera": _models.camera(model),
        "angle_offset": model.fitted_.angle_offset,
        "model": model.get_params(deep=False),
    }
    return Maps(_attach(cube, maps.values(), ABOUT_FIT, about), model)


def _attach(
    cube: DataCube, maps: Iterable[LatentMap], kind: str, about: dict[str, Any]
) -> dict[str, RealSlice]:
    """Put maps into the tree, in place of earlier ones of their kind, with their metadata."""
    record = _py4dstem_calibration.record(cube.calibration, cube.Rshape)
    slices = {map_.name: _realslice(map_, kind, record["frame"]) for map_ in maps}
    node = _node(cube)
    if node is None:
        node = Node(NODE)
        cube.attach(node)
    outdated = _py4dstem_tree.outdated(node, kind, record)
    for name in _py4dstem_tree.names(node):
        if _py4dstem_tree.made_by(node.tree(name)) in outdated:
            node.tree(name).cut(root_metadata=True)
    for other in outdated:
        del node.metadata[other]
    about = {"package": "py4dstem_rrvae", "version": __version__} | record | about
    about["fingerprint"] = _fingerprint.of(cube.data)
    node.metadata = Metadata(kind, _py4dstem_calibration.castable(about))
    for slice_ in slices.values():
        node.graft(slice_, merge_metadata=False)
    return slices


def _realslice(map_: LatentMap, kind: str, frame: str) -> RealSlice:
    slice_ = RealSlice(np.ascontiguousarray(map_.values), name=map_.name)
    slice_.units = map_.units
    slice_.metadata = Metadata(ABOUT_MAP, _py4dstem_tree.describe(map_, kind, frame))
    return slice_


def _node(cube: DataCube) -> Node | None:
    """The node that holds the maps, None where there is none yet."""
    if NODE not in cube.treekeys:
        return None
    node = cube.tree(NODE)
    if not _py4dstem_tree.kinds(node):
        raise ValueError(
            f"the datacube's tree must have {NODE!r} free for the maps; it holds a "
            f"{type(node).__name__} of that name from elsewhere"
        )
    return node
