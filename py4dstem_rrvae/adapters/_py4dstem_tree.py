# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading the node that holds the maps in a data cube's tree; imports nothing of the host."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ..codes import Codes
from ..maps.latent import LatentMap, codes_of, period_of
from . import _fingerprint

ABOUT_FIT = "rrvae_params"
ABOUT_DPC = "dpc_params"
ABOUT_SYMMETRY = "symmetry_params"
ABOUT_ANOMALY = "anomaly_params"
ABOUT_SMOOTHED = "smoothed_angle_params"
ABOUT_UNWRAPPED = "unwrapped_angle_params"
ABOUT_MAP = "gen_params"
# Made from the latent maps, and worthless without them.
DERIVED = (ABOUT_ANOMALY, ABOUT_SMOOTHED, ABOUT_UNWRAPPED)
KINDS = (ABOUT_FIT, ABOUT_DPC, ABOUT_SYMMETRY, *DERIVED)


def kinds(node: Any) -> list[str]:
    """Names of the metadata that tell how the node's maps were made."""
    return [kind for kind in KINDS if kind in node.metadata]


def names(node: Any) -> list[str]:
    """The maps that this package put there, in order; others may have added to the node."""
    return [name for name in node.treekeys if made_by(node.tree(name)) in KINDS]


def made_by(branch: Any) -> str | None:
    """Name of the metadata that tells how a map was made; None for what is not from here."""
    about = branch.metadata.get(ABOUT_MAP)
    if about is None or "made_by" not in about.keys:
        return None
    return str(about["made_by"])


def differ(node: Any, kind: str, record: dict[str, Any]) -> bool:
    """Whether maps were made with another scan shape or calibration than `record` has."""
    about = node.metadata[kind]
    return not all(
        key in about.keys and np.array_equal(about[key], value) for key, value in record.items()
    )


def outdated(node: Any, kind: str, record: dict[str, Any]) -> list[str]:
    """Kinds of maps that new ones of `kind`, of a calibration `record`, take the place of."""
    found = {kind}
    if kind == ABOUT_FIT:
        found.update(DERIVED)
        # New latent maps make a comparison with another calibration worthless, not the reverse.
        compared = {ABOUT_DPC, ABOUT_SYMMETRY}.intersection(kinds(node))
        found.update(other for other in compared if differ(node, other, record))
    return [other for other in kinds(node) if other in found]


def codes(node: Any) -> tuple[Codes, list[bool]]:
    """Codes of the attached latent maps, which may come from a file, and which are collapsed."""
    about = node.metadata[ABOUT_FIT]
    made = [name for name in names(node) if made_by(node.tree(name)) == ABOUT_FIT]
    found = codes_of({name: node.tree(name).data for name in made})
    return found, [f"z{k}" in about["collapsed"] for k in range(1, found.z.shape[-1] + 1)]


def check_fresh(cube: Any, node: Any) -> None:
    """Refuse maps of what the cube was before it was cropped, binned or turned in place.

    Raises
    ------
    ValueError
        If any map was made for another scan shape, or for other patterns, or is damaged.
    """
    try:
        for kind in kinds(node):
            _check_whole(node, kind)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        reason = str(error) if isinstance(error, ValueError) else repr(error)
        raise ValueError(
            f"the datacube's maps are damaged, {' '.join(reason.split())[:200]}: call fit or "
            "encode again, and compare"
        ) from error
    now = _fingerprint.of(cube.data)
    for kind in kinds(node):
        shape = tuple(int(n) for n in node.metadata[kind]["Rshape"])
        if shape != cube.Rshape:
            raise ValueError(
                f"the maps must fit the datacube's scan of {cube.Rshape} positions; they were made "
                f"for {shape}: call fit or encode again"
            )
        about = node.metadata[kind]
        then = str(about["fingerprint"]) if "fingerprint" in about.keys else ""
        if _fingerprint.differ(then, now):
            raise ValueError(
                "the datacube's patterns have changed since its maps were made (swapped, rotated, "
                "filtered): call fit or encode again, and compare"
            )


def _check_whole(node: Any, kind: str) -> None:
    """Refuse maps, which may come from a file, that lack something or have another shape."""
    about, made = node.metadata[kind], [n for n in names(node) if made_by(node.tree(n)) == kind]
    shape = tuple(int(n) for n in about["Rshape"])
    for name in made:
        data, said = np.asarray(node.tree(name).data), node.tree(name).metadata[ABOUT_MAP]
        if data.shape != shape or data.dtype.kind not in "uifb":
            raise ValueError(f"{name} must have shape {shape}; got {data.dtype} of {data.shape}")
        period = said["period"]
        if not isinstance(period, str):
            float(0 if period is None else period)
        if not all(isinstance(said[key], str) for key in ("units", "description")):
            raise ValueError(f"{name} must have units and a description")
    if kind == ABOUT_FIT:
        codes_of({name: node.tree(name).data for name in made})
        set(about["collapsed"])
        [float(one) for one in about["repeatability"]]


def warn_if_changed(node: Any, record: dict[str, Any]) -> None:
    """Tell that COM and DPC are about to be laid beside latent maps of another calibration."""
    if ABOUT_FIT in kinds(node) and differ(node, ABOUT_FIT, record):
        warnings.warn(
            "the latent maps were made with another calibration than COM and DPC will be: fit or "
            "encode again to compare like with like",
            stacklevel=4,
        )


def latent_map(node: Any, name: str) -> LatentMap:
    """A map of the tree, which may come from a file, as it was before `describe`."""
    slice_ = node.tree(name)
    about = slice_.metadata[ABOUT_MAP]
    period = about["period"]
    if isinstance(period, str):
        period = period_of(node.tree("fold").data)
    return LatentMap(name, slice_.data, about["units"], period, about["description"])


def describe(map_: LatentMap, kind: str, frame: str) -> dict[str, Any]:
    """Metadata of one map, in types that the host's files hold."""
    return {
        "_calling_class": "DataCubeAccessor",
        "made_by": kind,
        "units": map_.units,
        "cyclic": map_.period is not None,
        "period": "2 pi / fold" if isinstance(map_.period, np.ndarray) else map_.period,
        "description": map_.description,
        "frame": frame,
    }
