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
# # 2. First maps, with HyperSpy and pyxem
#
# The same scan as in notebook 1, opened lazily: patterns stay in the file and are read in pieces.
# The maps are HyperSpy signals with the axes of your scan. So everything that HyperSpy does with
# signals works on them.
#
# **You will learn**
#
# - how to fit a lazy signal, and what the maps are;
# - how to look at patterns through a map: navigator, markers, regions of interest;
# - `decomposition` and `cluster_analysis` with this model;
# - how to save the maps, and what someone without this package sees.
#
# What `z1`, `z2`, `angle`, `fold` and `error` mean stands in notebook 1; its text can be read
# without running it.

# %%
# %matplotlib inline
from panels import require

require("hyperspy")

# %%
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

# pyxem imports a name that HyperSpy has moved; this is harmless.
warnings.filterwarnings("ignore", message="`_get_block_pattern` has moved")

import hyperspy.api as hs
import numpy as np
from panels import maps, mark

from py4dstem_rrvae import datasets  # importing the package gives every signal its .rrvae

hs.preferences.General.show_progressbar = False

# %% [markdown]
# ## A lazy signal
#
# We write the shipped scan to a file and open it as you would open your own. The axes carry
# names, units and the place of the beam (`kx = ky = 0`). If your file has no such offset, give
# the centre: `fit(center=(row, col))`, or the `BeamShift` that pyxem has measured.

# %%
folder = Path(tempfile.mkdtemp())
datasets.graphene("hyperspy").save(folder / "scan.hspy", chunks=(16, 16, 48, 48))

signal = hs.load(folder / "scan.hspy", lazy=True)
print(signal)
signal.axes_manager

# %% [markdown]
# ## Fit
#
# The file is read twice: once to draw a sample to learn from, once to describe every pattern.
# Maps are small; `lazy_output=False` keeps them in memory although the signal is lazy.

# %%
found = signal.rrvae.fit(latent_dim=2, random_state=0, lazy_output=False)
print(*found.values(), sep="\n")

# %% [markdown]
# pyxem's own centre of mass and its phase, and all maps in one figure:

# %%
known = signal.rrvae.compare()
signal.rrvae.plot()

# %% [markdown]
# These are the maps of notebook 1, as they must be: same scan, same model, same seed. Two things
# look different, and both are conventions of the hosts.
#
# - Angles count from x (columns) towards y (rows) here, as pyxem's beam shifts do, and from rows
#   towards columns in py4DSTEM. The colours of `angle` and COM change together.
# - pyxem's phase comes from the shift that leads *back* to the middle. It is the negative of the
#   specimen's phase, so atoms are dark.
#
# ## Look at patterns through a map
#
# A navigator is the map on which you move the pointer; the pattern under it is shown beside it.
# With `%matplotlib widget` (package ipympl) instead of `%matplotlib inline` you can drag the
# pointer. Here it stands still on silicon.

# %%
truth = datasets.graphene("numpy")
step = truth.scan_step
row, col = truth.positions[np.array(truth.symbols) == "Si"][0]
signal.axes_manager.indices = (round(col), round(row))  # HyperSpy: x first
z1 = found["z1"]
signal.plot(navigator=z1, norm="symlog")

# %% [markdown]
# The colours of the pattern are logarithmic, so that single electrons outside the disc show.
#
# **Markers.** `arrows()` draws the angle as arrows, over any map of the same scan. With
# `permanent=True` they are saved with the map. We cut out the surroundings of silicon with
# HyperSpy's own `isig`: the arrows point to the nearest atom.

# %%
part = slice(8, 34), slice(32, 58)
near = z1.isig[part]
arrows = found["angle"].isig[part].arrows(every=1, length=0.19)
near.add_marker(arrows, permanent=True, plot_marker=False)
near.plot(cmap="viridis", vmin=-8)  # light enough for black arrows

# %% [markdown]
# **Regions of interest.** One pattern is mostly noise. A region of interest (ROI) averages many.
# Here is the mean pattern within 0.6 Å of silicon, of one carbon atom, and of the middle of one
# hexagon, each less the mean of the scan.

# %%
carbon = truth.positions[np.linalg.norm(truth.positions - (20, 20), axis=1).argmin()]
atoms = truth.positions
grid = np.stack(np.meshgrid(np.arange(8, 56), np.arange(8, 56), indexing="ij"), -1).reshape(-1, 2)
# The middle of a hexagon is as far from atoms as one can be, away from the vacancy.
room = np.linalg.norm(grid[:, None] - atoms, axis=-1).min(1)
room[np.linalg.norm(grid - truth.vacancies[0], axis=-1) * step < 4] = 0
hollow = grid[room.argmax()]
places = {"silicon": (row, col), "carbon": tuple(carbon), "hexagon": tuple(hollow)}

mean = np.asarray(signal.mean().data)
differences = {}
for name, (r, c) in places.items():
    roi = hs.roi.CircleROI(cx=c * step, cy=r * step, r=0.6)
    inside = roi(signal)
    inside.compute(show_progressbar=False)
    pattern = np.nanmean(inside.data.reshape(-1, *mean.shape), axis=0)
    differences[name] = (pattern - mean, "RdBu_r", "counts")
figure, axes = maps(
    differences, step=truth.q_per_pixel, units="Å$^{-1}$", limits=(-12, 12), columns=3
)

# %% [markdown]
# Silicon scatters more than carbon (redder outside the disc). All three show a small shift of the
# disc: the positions in a region are not centred on the site, and their shifts do not quite cancel.
#
# The same ROI on the maps gives numbers: what is the mean of each map in each region?

# %%
print(" " * 10 + "".join(f"{name:>10}" for name in places))
table = {}
for key in ("z1", "z2", "error"):
    values = found[key].data
    rows, cols = np.indices(values.shape)
    table[key] = [
        values[np.hypot(rows - r, cols - c) * step < 0.6].mean() for r, c in places.values()
    ]
    print(f"{key:<10}" + "".join(f"{value:10.2f}" for value in table[key]))

# %% [markdown]
# ## Decomposition and clusters
#
# HyperSpy's `decomposition` takes this model in place of PCA or NMF. Loadings are the maps of the
# latents, factors are the patterns that the model draws for one unit of each. Two warnings: the
# model is not linear, so a sum of factors is *not* a pattern; and the angle is not among the
# loadings, because it goes round.

# %%
eager = datasets.graphene("hyperspy")
eager.rrvae.decomposition(latent_dim=2, random_state=0)
loadings = eager.get_decomposition_loadings().data
print(eager.get_decomposition_loadings())
same = [
    abs(np.corrcoef(loadings[k].ravel(), found[f"z{k + 1}"].data.ravel())[0, 1]) for k in (0, 1)
]
print(f"correlation of the loadings with the maps of fit: {same[0]:.3f} and {same[1]:.3f}")

# %% [markdown]
# `cluster_analysis` sorts positions by their loadings. We ask for four kinds of patterns.

# %%
eager.cluster_analysis("decomposition", n_clusters=4, algorithm="kmeans", random_state=0, n_init=5)
labels = eager.get_cluster_labels(merged=True).data.astype(int)
# Number them by z1, so that the order does not depend on chance.
order = np.argsort([loadings[0][labels == k].mean() for k in np.unique(labels)])
kinds = np.argsort(order)[labels]
figure, axes = maps(
    {
        "kind of pattern": (kinds + 1, "classes", ""),
        "z1": (found["z1"].data, "viridis", ""),
        "z2": (found["z2"].data, "viridis", ""),
    },
    step=step,
    columns=3,
)
mark(axes[1:2], {"silicon": (row, col)})

# %% [markdown]
# Read the kinds on the map: 1 is the middle of the hexagons, 2 lies around it, 3 are the atoms and
# the bonds between them, 4 is the silicon atom alone. Its 32 positions lie so far from all others
# that they move k-means. *The vacancy is no kind of its own*: its patterns are those of the middle
# of a hexagon. Use `error` and `anomaly` (notebook 1) for what is rare.
#
# And clusters cut a continuum here: moving the probe changes the pattern little by little, so the
# borders are not borders in the specimen, and another number of clusters would be as right. Where
# a specimen has real classes, as the grains in notebook 5, clusters mean something.
#
# ## Save, and open without this package
#
# `.hspy` and `.zspy` keep maps with axes, units and metadata. We open the file in a Python that
# cannot import this package.

# %%
near.save(folder / "z1.hspy", overwrite=True)
code = """
import importlib.metadata, sys, warnings

every = importlib.metadata.entry_points


def installed(**group):  # as if this package were not
    found = every(**group)
    return [one for one in found if one.name != "py4dstem_rrvae"] if group else found


importlib.metadata.entry_points = installed
sys.modules["py4dstem_rrvae"] = None
warnings.simplefilter("ignore")
import hyperspy.api as hs

s = hs.load(sys.argv[1])
print(s)
print("step:", round(s.axes_manager["x"].scale, 2), s.axes_manager["x"].units)
print("arrows kept:", "Markers" in s.metadata)
"""
words = [sys.executable, "-c", code, str(folder / "z1.hspy")]
elsewhere = subprocess.run(words, capture_output=True, text=True).stdout
print(elsewhere)

# %% [markdown]
# It is an ordinary `Signal2D` there, with its axes and arrows; HyperSpy warns that the class is
# unknown and names the package to install. Here, with the package, it is a map again, with
# `arrows()`.

# %%
again = hs.load(folder / "z1.hspy")
print(again)
signal.rrvae.model.save(folder / "graphene.rrvae")  # the trained model, see notebook 7

# %% [markdown]
# ## Questions
#
# **1.** Both notebooks used the same scan and seed. Must `z1` be the same map?
#
# <details><summary>Answer</summary>
#
# Yes, on the same machine. The host only hands over the patterns and the geometry. The angle is
# given in the host's convention, so that you can lay it over the host's own vectors.
# </details>
#
# **2.** The average pattern on silicon was taken within 0.6 Å. Why not within 3 Å?
#
# <details><summary>Answer</summary>
#
# Carbon neighbours are 1.4 to 1.8 Å away. Patterns there are shifted the other way, and the
# average over all directions would wash the differences out. That is the reason for `angle`: it
# allows to turn patterns back before they are averaged.
# </details>
#
# **3.** You ask `cluster_analysis` for 10 clusters and get ten colours. What have you learned
# about the specimen?
#
# <details><summary>Answer</summary>
#
# Nothing yet. K-means always returns as many clusters as you ask for. Look at `z1` against `z2`:
# if the points form separate clouds, clusters are real; if they form a band, you have cut it into
# ten pieces.
# </details>
#
# ## Check

# %%
agree = np.angle(
    np.exp(1j * (found["angle"].data - np.arctan2(known["com_y"].data, known["com_x"].data)))
)
agree = np.abs(agree[found["fold"].data == 1])
assert np.median(agree) < np.radians(20), "angle and COM share pyxem's convention"
assert found["z1"].axes_manager["x"].scale == step, "maps have the axes of the scan"
assert table["z1"][0] > table["z1"][1] > table["z1"][2], "silicon, carbon, hexagon in this order"
assert abs(table["error"][0] - 1) < 0.2, "the model knows silicon"
assert min(same) > 0.9, "decomposition finds the maps of fit"
assert kinds[tuple(hollow)] == 0 and kinds[round(row), round(col)] >= 2, "hexagons and atoms differ"
assert np.sum(kinds == kinds[round(row), round(col)]) < 100, "silicon is a cluster of its own"
assert "Signal2D" in elsewhere and "arrows kept: True" in elsewhere
assert type(again).__name__ == "LatentMap2D" and np.array_equal(again.data, near.data)
