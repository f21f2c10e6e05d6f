# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 1. First maps, with py4DSTEM
#
# You have a 4D-STEM scan: at every position of the probe, one diffraction pattern. This notebook
# turns a scan into a few maps and says what each one means. You need to know what a bright-field
# disc and a centre of mass are. You need to know nothing about neural networks.
#
# **You will learn**
#
# - what the maps `z1`, `z2`, `angle`, `fold` and `error` say, and what they do not say;
# - how they compare with maps that you know: COM, DPC and dark field;
# - how a missing atom and a foreign atom show up;
# - how to save the maps and open them without this package.
#
# Run the cells from top to bottom (Shift + Enter). All of it takes about a minute.

# %%
# %matplotlib inline
from panels import require

require("py4dstem")

# %%
import tempfile
from pathlib import Path

import numpy as np
import py4DSTEM
from panels import maps, mark

import py4dstem_rrvae
from py4dstem_rrvae import datasets
from py4dstem_rrvae.maps.standout import positions_near, site_standout
from py4dstem_rrvae.plot import manifold_figure

# %% [markdown]
# ## The scan
#
# A simulated sheet of graphene comes with the package: 60 kV, 32 mrad, 64 x 64 positions that are
# 0.22 Å apart, 2 x 10⁵ electrons per pattern, with counting noise. One carbon atom is missing
# (the *vacancy*), and one is replaced by *silicon*. Because it is a simulation, we know where
# they are, and can check what the maps say. The model is not told.

# %%
datacube = datasets.graphene("py4dstem")
truth = datasets.graphene("numpy")  # the same counts, with the places of the atoms
step = truth.scan_step
vacancy = truth.vacancies[0]
silicon = truth.positions[np.array(truth.symbols) == "Si"][0]
defects = {"vacancy": tuple(vacancy), "silicon": tuple(silicon)}
datacube

# %% [markdown]
# Here are the mean of all patterns, and how three single patterns differ from it. The difference
# is small: the mean is some 300 counts per pixel within the disc. Nobody could sort 4,096 such
# patterns by eye.

# %%
counts = datacube.data
mean = counts.mean((0, 1))
on_silicon = tuple(np.round(silicon).astype(int))
carbon = truth.positions[np.linalg.norm(truth.positions - 31.5, axis=1).argmin()]
on_carbon = tuple(np.round(carbon).astype(int))
beside = (on_carbon[0] + 2, on_carbon[1])

patterns = {
    "mean of the scan": (mean, "viridis", "counts"),
    "on carbon, less the mean": (counts[on_carbon] - mean, "RdBu_r", "counts"),
    "0.4 Å beside it": (counts[beside] - mean, "RdBu_r", "counts"),
    "on silicon, less the mean": (counts[on_silicon] - mean, "RdBu_r", "counts"),
}
figure, axes = maps(patterns, step=truth.q_per_pixel, units="Å$^{-1}$")
for ax in axes[1:]:
    ax.images[0].set_clim(-80, 80)

# %% [markdown]
# ## The maps that you know
#
# `compare` runs py4DSTEM's own differential phase contrast (DPC) and keeps its centre of mass
# (COM) and phase. The dark field is the number of electrons outside the bright-field disc.

# %%
known = datacube.rrvae.compare(energy=60e3)
com_x, com_y = known["com_x"].data, known["com_y"].data
com_length, com_direction = np.hypot(com_x, com_y), np.arctan2(com_y, com_x)

rows, cols = np.indices(mean.shape)
radius = np.hypot(rows - truth.center[0], cols - truth.center[1])
disc = 32e-3 / 0.0487 / truth.q_per_pixel  # semiangle / wavelength in Å / pixel: in pixels
dark_field = counts[..., radius > 1.05 * disc].sum(-1)

figure, axes = maps(
    {
        "COM length": (com_length, "inferno", "Å$^{-1}$"),
        "COM direction": (com_direction, "cyclic", "rad"),
        "DPC phase": (known["dpc_phase"].data, "inferno", "2π rad"),
        "dark field": (dark_field, "inferno", "electrons"),
    },
    step=step,
)
mark([axes[0], axes[2], axes[3]], defects)

# %% [markdown]
# COM points towards the nearest atom, and is zero *on* an atom and in the middle of a hexagon.
# DPC and dark field are bright where there are atoms. Silicon has more protons than carbon and
# scatters more.
#
# ## The new maps
#
# One call trains a model on this scan, and describes every pattern with it. There is no training
# set, and nothing was learned before: the model knows this scan alone. With `random_state` the
# result can be repeated.

# %%
maps_of_scan = datacube.rrvae.fit(latent_dim=2, random_state=0, progress=False)
datacube.rrvae.plot()

# %% [markdown]
# Read them in this order.
#
# **`z1`, `z2`: what the pattern is, whatever its turn.** The model learns to draw patterns from
# two numbers and one angle. Two positions whose patterns are the same but for a turn get the same
# `z`. The numbers have no units, and which of them is large where is the model's own choice. The
# title says how well each map repeats when the same patterns are counted again (1 is perfect).
#
# **`angle`: how the pattern is turned.** Colours go round: 0 and 2π are the same direction. It is
# black where a pattern has no direction.
#
# **`fold`: how often the pattern repeats in a full turn.** A 3-fold pattern looks the same after
# 120°, so its angle is known up to 120° only. "none" means: no direction above the noise.
#
# **`error`: how badly the model draws this pattern**, in units of the noise that so many electrons
# have. 1 means that noise explains the whole difference.
#
# ### What do `z1` and `z2` mean here?
#
# Ask the model to draw patterns, all at angle 0: `z1` changes from left to right, `z2` from
# bottom to top. Shown is the difference from the mean of all of them. From bottom to top
# intensity moves from one side of the disc to the other, by a few counts per pixel of the 300: a
# shift of COM, turned over in the lower half, where there is less of it than in the mean. In one
# pattern it is not much more than noise (first figure); the model has it from 4,096 of them.

# %%
manifold_figure(maps_of_scan.model, size=5)

# %% [markdown]
# And compare them with what you know. The table gives the correlation of maps (1: the same map
# but for scale, 0: nothing in common, the sign says nothing about quality).

# %%
z1, z2 = maps_of_scan["z1"].data, maps_of_scan["z2"].data
error, fold, angle = (maps_of_scan[name].data for name in ("error", "fold", "angle"))


def correlation(a, b):
    """Pearson's correlation of two maps."""
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


print("correlation  dark field  COM length")
for name, values in {"z1": z1, "z2": z2}.items():
    pair = correlation(values, dark_field), correlation(values, com_length)
    print(f"{name}           {pair[0]:10.2f}  {pair[1]:10.2f}")

# %% [markdown]
# **On this scan `z1` is nearly the dark field, and `z2` is close to the length of COM.** Nobody
# told the model where the disc ends, or what a centre of mass is. It found the two numbers that
# tell most about these patterns, and they are the two that microscopists found before. That is
# good news about the method, and a warning: for a clean scan of one thin crystal you may not need
# it. It pays where you do *not* know beforehand which number to compute (notebooks 3 and 5).
#
# ### Is `angle` the direction of COM?

# %%
defined = fold == 1
away = np.angle(np.exp(1j * (angle - com_direction)))[defined]
print(f"median difference of angle and COM direction: {np.degrees(np.median(np.abs(away))):.0f}°")
print(f"no direction at {np.mean(fold == 0):.1%} of the positions")

# %% [markdown]
# They agree to about 11°: both point towards the nearest atom, each in its own way. Two things
# are different. The `angle` is taken from the whole pattern and comes with an error bar,
# `angle_std`. And it is left out (black) where the data do not support one, while COM always
# points somewhere, even where it is only noise: in the middle of a hexagon.
#
# ## The two defects
#
# How far does a defect stand out? Take the normal carbon sites: how much does a map vary among
# them? Then count by how many of these (robust) standard deviations the defect differs. We use
# the positions within 0.5 Å of a site.

# %%
places = np.stack([vacancy, silicon])
symbols = np.array(truth.symbols)
distance = np.linalg.norm(truth.positions[:, None] - places, axis=-1).min(axis=1)
inside = ((truth.positions >= 0) & (truth.positions <= 63)).all(axis=1)
normal = truth.positions[(symbols == "C") & (distance * step > 4) & inside]

found = {
    name: [site_standout(values, normal, place, [0.5 / step])[0] for place in places]
    for name, values in {
        "z1": z1,
        "z2": z2,
        "error": error,
        "COM length": com_length,
        "DPC phase": known["dpc_phase"].data,
        "dark field": dark_field,
    }.items()
}
print("standard deviations    vacancy  silicon")
for name, (missing, foreign) in found.items():
    print(f"  {name:<18} {missing:9.1f} {foreign:8.1f}")

# %%
figure, axes = maps(
    {
        "z1": (z1, "viridis", ""),
        "error": (error, "magma", "noise"),
        "DPC phase": (known["dpc_phase"].data, "inferno", "2π rad"),
    },
    step=step,
)
mark(axes, defects, radius=9)

# %% [markdown]
# **Silicon** is far out in `z1`: it scatters like nothing else in the scan. Its `error` is like
# that of all others: the model has learned these patterns too, few as they are. A bright `error`
# would say *"look at this, I do not know it"*: notebook 7 has such an island.
#
# **The vacancy** is dark in `z1`, because it looks like the middle of a hexagon, which every
# lattice has. You see it because three hexagons run together, in `z1` and in DPC alike.
#
# Be honest with the table. `z1`, the dark field and the DPC phase show both defects. On this scan
# the dark field is as good as `z1` or better for silicon, and `z1` and DPC are better for the
# vacancy. What the latents add is not a better picture of a single foreign atom. They need no
# choice of a detector range, and they give an angle, error bars and a warning light (`error`) with
# it.
#
# `anomaly` combines the latents and the error, averaged over the lattice, into one map: how
# unusual is this neighbourhood in this scan?

# %%
anomaly = datacube.rrvae.anomaly(neighbourhood=3).data  # in scan positions
figure, axes = maps({"anomaly": (anomaly, "magma", "robust std")}, step=step, columns=1, width=4)
mark(axes, defects, radius=8)

# %% [markdown]
# ## Save, and open without this package
#
# The maps hang in the tree of the data cube as ordinary `RealSlice`s with your calibration.
# py4DSTEM alone reads them back.

# %%
folder = Path(tempfile.mkdtemp())
py4dstem_rrvae.adapters.py4dstem.save(datacube, folder / "maps.h5", maps_only=True)
again = py4DSTEM.read(folder / "maps.h5")
saved_z1 = again.tree("z1").data
print(sorted(again.treekeys))

# The trained model is a small file of its own (no pickle). Notebook 7 uses one on another scan.
datacube.rrvae.model.save(folder / "graphene.rrvae")
print(f"{(folder / 'graphene.rrvae').stat().st_size / 1e6:.1f} MB")

# %% [markdown]
# ## Questions
#
# **1.** The middle of every hexagon is dark in `z1`, and so is the vacancy. Why can you still see
# the vacancy, and would `z1` of a single pattern tell you?
#
# <details><summary>Answer</summary>
#
# A single pattern would not: there is no atom under the probe in either place, and the patterns
# are alike. You see the vacancy because a dark place lies where the lattice should have an atom.
# That is information of the neighbourhood, and the reason why `anomaly(neighbourhood=3)` finds
# it.
# </details>
#
# **2.** On an atom COM is zero. Is `angle` undefined there?
#
# <details><summary>Answer</summary>
#
# Mostly not. Exactly on an atom the pattern could be 3-fold, but no probe position lies exactly
# on one, and 2 x 10⁵ electrons see a small shift. `fold` is "none" mainly in the middle of the
# hexagons and at the vacancy, where the sheet has no atom near the probe.
# </details>
#
# **3.** You fit the scan again with another `random_state`, and `z1` comes out dark on silicon
# instead of bright. Is something wrong?
#
# <details><summary>Answer</summary>
#
# Usually no. The sign, and even the order of two latents that matter equally, are free. Compare
# positions within one map, not the colours of two fits. To compare two scans, use one model for
# both (`encode`, notebook 7).
# </details>
#
# ## Check
#
# Every statement above that has a number, once more. If one of these lines fails on your machine,
# please report it.

# %%
assert correlation(z1, dark_field) ** 2 > 0.8, "z1 is nearly the dark field"
assert correlation(z2, com_length) ** 2 > 0.4, "z2 is close to the length of COM"
assert np.median(np.abs(away)) < np.radians(20), "angle points where COM does"
assert 0.01 < np.mean(fold == 0) < 0.15, "a few positions have no direction"
assert min(found["z1"]) > 5 and min(found["dark field"]) > 3, "both show both defects"
at_silicon = positions_near(error.shape, [silicon], 0.5 / step)
assert 0.85 < np.median(error[at_silicon]) < 1.15, "the model knows silicon"
assert abs(correlation(error, dark_field)) < 0.5, "error is no dark field"
assert found["z1"][1] > 0.5 * found["dark field"][1], "silicon is far out in both"
assert min(found["z1"][0], found["DPC phase"][0]) > 1.2 * found["dark field"][0], "the vacancy"
peak = np.unravel_index(anomaly.argmax(), anomaly.shape)
assert np.linalg.norm(places - peak, axis=1).min() * step < 2, "the anomaly peaks at a defect"
assert np.array_equal(saved_z1, z1), "py4DSTEM reads back what was saved"
