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
# # 7. Big data, and the next day
#
# Scans are larger than memory, and there is always another one. This notebook works on a file
# piece by piece, uses a trained model on the next scan and on another camera, and runs on several
# workers and from the command line.
#
# **You will learn**
#
# - what is read when, and how much memory it takes;
# - to train once, and to use the model on other scans, so that maps can be compared;
# - Dask, the command line, and a GPU if there is one.
#
# The file here is small (300 MB), so that the notebook runs on a laptop. The steps are the same
# for 300 GB.

# %%
# %matplotlib inline
from panels import require

require("py4dstem")

# %%
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import dask.array as da
import h5py
import matplotlib.pyplot as plt
import numpy as np
import psutil
import torch
from dask.distributed import Client
from panels import maps

from py4dstem_rrvae import RRVAE, Frames, datasets, synthetic
from py4dstem_rrvae.adapters import py4dstem

folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## A file
#
# Sixteen fields of view, each the shipped graphene with half of its electrons, chosen anew each
# time. We write one after the other, so that the scan is never in memory as a whole.

# %%
shipped = datasets.graphene("numpy")
step, center = shipped.scan_step, shipped.center
chance = np.random.default_rng(0)
fields = 4
with h5py.File(folder / "big.h5", "w") as file:
    shape = (64 * fields, 64 * fields, 48, 48)
    data = file.create_dataset("scan", shape, dtype="uint16", chunks=(16, 16, 48, 48))
    for row in range(fields):
        for col in range(fields):
            part = slice(64 * row, 64 * row + 64), slice(64 * col, 64 * col + 64)
            data[part] = chance.binomial(shipped.patterns, 0.5)
size = (folder / "big.h5").stat().st_size / 1e6
print(f"{shape[0]} x {shape[1]} patterns of {shape[2]} x {shape[3]} pixels, {size:.0f} MB")

# %% [markdown]
# ## Fit, piece by piece
#
# `fit` reads the file once and draws a random sample; each drawn pattern becomes a few hundred
# numbers at once. Training sees the sample alone, so its time does not grow with the scan.
# `encode` reads the file once more and turns each pattern into about ten numbers. We watch the
# memory meanwhile.


# %%
class Watch:
    """Time, and the most memory beyond that at the start, in MB, while a block runs."""

    def __enter__(self):
        self.process, self.running, self.most = psutil.Process(), True, 0.0
        self.before, self.start = self.process.memory_info().rss, time.perf_counter()
        self.thread = threading.Thread(target=self.look)
        self.thread.start()
        return self

    def look(self):
        """Look every 10 ms."""
        while self.running:
            self.most = max(self.most, (self.process.memory_info().rss - self.before) / 1e6)
            time.sleep(0.01)

    def __exit__(self, *_):
        self.running = False
        self.thread.join()
        self.seconds = time.perf_counter() - self.start


file = h5py.File(folder / "big.h5")  # stays open: nothing is read yet
source = Frames(
    file["scan"],
    center=center,
    matrix=shipped.matrix,  # pixels to 1/Å, so that the model knows what a pixel is
    q_units="A^-1",
)
model = RRVAE(2, sample=2048, random_state=0, progress=False)
with Watch() as fitting:
    model.fit(source)
with Watch() as encoding:
    codes = model.encode(source)
print(f"fit:    {fitting.seconds:5.1f} s, {fitting.most:4.0f} MB of memory")
print(f"encode: {encoding.seconds:5.1f} s, {encoding.most:4.0f} MB of memory")
print(f"        {codes.error.size / encoding.seconds:,.0f} patterns per second")
print(f"the file has {size:.0f} MB")

# %%
maps(
    {
        "z1": (codes.z[..., 0], "viridis", ""),
        "z2": (codes.z[..., 1], "viridis", ""),
        "error": (codes.error, "magma", "noise"),
    },
    step=step,
    columns=3,
)
# %% [markdown]
# The same holds for a lazy HyperSpy signal (notebook 2), a py4DSTEM `DataCube` whose data are a
# memmap or an `h5py.Dataset`, a NumPy memmap and a Dask array. Chunks of the file should hold
# whole patterns. If data arrive in parts, `partial_fit` takes one part after the other.
#
# ## The next day
#
# The model is a small file. Tomorrow's scan of the same kind of specimen needs no training, and,
# more important, *its maps mean the same*: two models have different axes, one model has one set.
#
# Tomorrow the dose is a quarter, and the detector was moved by some pixels. `background="refit"`
# estimates what belongs to a scan and not to the specimen (dose, noise, what the pixels do) from
# the new scan. The accessors, `datacube.rrvae.encode("graphene.rrvae")`, do so by themselves.

# %%
model.save(folder / "graphene.rrvae")
trained = RRVAE.load(folder / "graphene.rrvae")
trained.progress = False

moved = np.zeros((64, 64, 52, 50), dtype="uint16")
moved[:, :, 3:51, 1:49] = chance.binomial(shipped.patterns, 0.25)
tomorrow = Frames(
    moved, center=(center[0] + 3, center[1] + 1), matrix=shipped.matrix, q_units="A^-1"
)
with Watch() as next_day:
    later = trained.encode(tomorrow, background="refit")
print(f"{later.error.size} patterns in {next_day.seconds:.1f} s, without training")

# %%
today = codes.z[:64, :64]
maps(
    {
        "z1 today": (today[..., 0], "viridis", ""),
        "z1 tomorrow, a quarter of the dose": (later.z[..., 0], "viridis", ""),
        "z2 today": (today[..., 1], "viridis", ""),
        "z2 tomorrow": (later.z[..., 1], "viridis", ""),
    },
    step=step,
)


# %%
def agreement(one, other):
    """R^2, slope and offset of one map against another."""
    slope, offset = np.polyfit(one.ravel(), other.ravel(), 1)
    return np.corrcoef(one.ravel(), other.ravel())[0, 1] ** 2, slope, offset


fields_alike = [agreement(today[..., k], codes.z[64:128, 64:128, k]) for k in (0, 1)]
days_alike = [agreement(today[..., k], later.z[..., k]) for k in (0, 1)]
print("                                    R²   slope  offset")
for k in (0, 1):
    for name, values in {"another field today": fields_alike, "tomorrow": days_alike}.items():
        print(f"z{k + 1} today and {name:<20}" + "  ".join(f"{v:6.2f}" for v in values[k]))

# %% [markdown]
# Read it as follows. R² below 1 is noise: two of today's fields of view, at the same dose, do not
# agree perfectly either. A slope near 1 and an offset near 0 say that the *scale* is the same, so
# that a threshold in `z` found today holds tomorrow. (Noise in the first map lowers the slope, as
# in every regression.)
#
# ## Another camera
#
# With both scans calibrated in 1/Å, a model can be used on a detector of other pixels. First a
# film of two phases (notebook 5), trained on 48 x 48 pixels, and encoded from 24 x 24.


# %%
def film(pixels, seed):
    """A polycrystalline film as a camera with so many pixels across the same angle sees it."""
    grains = synthetic.polycrystal((40, 40), grains=8, size=pixels, counts=1000, random_state=seed)
    middle = ((pixels - 1) / 2,) * 2
    matrix = np.eye(2) * 2 / pixels  # the detector reaches to 1/Å
    return grains, Frames(grains.frames, center=middle, matrix=matrix, q_units="A^-1")


grains, fine = film(48, seed=1)
_, coarse = film(24, seed=1)
of_film = RRVAE(2, random_state=0, progress=False, max_epochs=40).fit(fine)
by_fine, by_coarse = of_film.encode(fine), of_film.encode(coarse, background="refit")

binned = chance.binomial(shipped.patterns, 0.5).reshape(64, 64, 24, 2, 24, 2).sum((3, 5))
coarse_graphene = trained.encode(
    Frames(
        binned.astype("uint16"),
        center=((center[0] - 0.5) / 2, (center[1] - 0.5) / 2),
        matrix=2 * shipped.matrix,
        q_units="A^-1",
    ),
    background="refit",
)
maps(
    {
        "film, z1, 48 x 48 pixels": (by_fine.z[..., 0], "viridis", ""),
        "film, z1, 24 x 24 pixels": (by_coarse.z[..., 0], "viridis", ""),
        "film, angle x fold, 48": (by_fine.angle * by_fine.fold, "cyclic", "rad"),
        "film, angle x fold, 24": (by_coarse.angle * by_coarse.fold, "cyclic", "rad"),
    },
    step=2,
    units="nm",
)
maps(
    {
        "graphene, z1, 48 x 48": (today[..., 0], "viridis", ""),
        "graphene, z1, 24 x 24": (coarse_graphene.z[..., 0], "viridis", ""),
        "graphene, z2, 48 x 48": (today[..., 1], "viridis", ""),
        "graphene, z2, 24 x 24": (coarse_graphene.z[..., 1], "viridis", ""),
    },
    step=step,
)
# %%
levels = {}
for name, one in {"48 x 48": by_fine, "24 x 24": by_coarse}.items():
    levels[name] = [one.z[grains.inside & (grains.phase == k), 0].mean() for k in (0, 1)]
    print(
        f"film, z1 of the two phases on {name}: {levels[name][0]:5.2f} and {levels[name][1]:5.2f}"
    )
of_graphene = [agreement(today[..., k], coarse_graphene.z[..., k]) for k in (0, 1)]
for k in (0, 1):
    r2, slope, offset = of_graphene[k]
    print(f"graphene, z{k + 1}: R² {r2:.2f}, slope {slope:.2f}, offset {offset:.2f}")

# %% [markdown]
# **The film passes, graphene does not.** Bragg discs are there on coarse pixels as on fine ones.
# But graphene hardly changes the bright disc, and on pixels twice as wide the edge of the disc
# looks different by as much as an atom does: `z1` is the same map, shifted by as much as it varies.
# `z2` repeats hardly worse than between two fields of one day (above). So check a model on a known
# area of the new camera before you rely on it, or train anew.
#
# ## What the model has never seen
#
# A new structure is squeezed into the old axes. The map `error` tells, and so does a `z` far
# outside of what training saw (about -2 to 2). Here the next day's film has a round amorphous
# island.

# %%
tomorrow_film, seen = film(48, seed=2)
spoiled = tomorrow_film.frames.copy()
island = np.hypot(*(np.indices((40, 40)) - 20.0)) < 8
radius = np.hypot(*(np.indices((48, 48)) - 23.5))
halo = np.exp(-0.5 * ((radius - 14) / 3) ** 2) + 2 * np.exp(-0.5 * (radius / 2) ** 2) + 0.01
spoiled[island] = chance.poisson(1000 * halo / halo.sum(), (island.sum(), 48, 48))
unknown = of_film.encode(replace(seen, patterns=spoiled), background="refit")
maps(
    {
        "z1": (unknown.z[..., 0], "viridis", ""),
        "z2": (unknown.z[..., 1], "viridis", ""),
        "error": (unknown.error, "magma", "noise"),
        "fold": (unknown.fold, "classes", ""),
    },
    step=2,
    units="nm",
)

# %% [markdown]
# ## Several workers: Dask
#
# A Dask array is encoded chunk by chunk on its scheduler. Here two threads of this process. On a
# cluster only the first line changes: `Client("scheduler:8786")`, and on your own machine
# `Client()` starts processes. Training stays where you are; it is small.

# %%


def read(path, block_info=None):
    """One piece of the scan."""
    where = tuple(slice(*ends) for ends in block_info[None]["array-location"])
    with h5py.File(path) as opened:
        return opened["scan"][where]


pieces = da.core.normalize_chunks((32, 32, -1, -1), shape)
lazy = da.map_blocks(
    read, str(folder / "big.h5"), chunks=pieces, dtype="uint16", meta=np.empty(0, "u2")
)
with Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None) as client:
    workers = len(client.nthreads())
    spread = trained.encode(
        Frames(lazy, center=center, matrix=shipped.matrix, q_units="A^-1"), background="stored"
    )
largest = np.abs(spread.z - codes.z).max()
print(f"largest difference of any z from that without Dask: {largest:.1e}")

# %% [markdown]
# ## From the command line
#
# For a batch queue there is a command: a file in, maps and a figure out, py4DSTEM's COM and DPC
# beside them. (With `.hspy` or `.zspy` as output it works with HyperSpy.)

# %%
cube = py4dstem.datacube(
    shipped.patterns,
    scan_step=step,
    q_per_pixel=shipped.q_per_pixel,
    center=center,
    name="field of view",
)
py4dstem.save(cube, folder / "scan.h5")
command = (
    "py4dstem-rrvae fit scan.h5 --energy 60e3 --out maps.h5 --figure maps.png --random-state 0"
)
program = "import sys; from py4dstem_rrvae.cli import main; sys.exit(main())"  # wherever it lies
done = subprocess.run(
    [sys.executable, "-c", program, *command.split()[1:]],
    cwd=folder,
    env=os.environ | {"PYTHONUNBUFFERED": "1"},
    capture_output=True,
    text=True,
)
print("$", command)
print(done.stdout)

# %%
figure, ax = plt.subplots(figsize=(10, 4.8), layout="constrained")
ax.imshow(plt.imread(folder / "maps.png"))
ax.axis("off")
# %% [markdown]
# ## A GPU
#
# `device="auto"` takes a GPU where there is one. Nobody has timed this package on one yet:
# expect encoding to gain where reading the file does not hold it up, and training, whose steps are
# small, to gain less.

# %%
if torch.cuda.is_available():
    on_gpu = RRVAE.load(folder / "graphene.rrvae").set_params(device="cuda", progress=False)
    with Watch() as gpu:
        on_gpu.encode(source)
    print(f"encoded on the GPU in {gpu.seconds:.1f} s, on the CPU in {encoding.seconds:.1f} s")
else:
    print("no GPU here: everything above ran on the CPU")
file.close()

# %% [markdown]
# ## Questions
#
# **1.** Your scan has 512 x 512 positions with 256 x 256 pixels of 16 bit. How large is it, and
# how much memory does a fit need?
#
# <details><summary>Answer</summary>
#
# 34 GB. The fit needs what the sample needs (some 75 MB at most with the default), a few chunks
# of the file, and what torch takes: well below 2 GB. Give the centre: where it has to be found,
# some patterns are held as recorded until it is.
# </details>
#
# **2.** You train a new model every day on that day's scan. Can you plot `z1` of the week in one
# graph?
#
# <details><summary>Answer</summary>
#
# No. Each model chooses its own axes, signs and scales. Train one model (on a sample of all days,
# with `partial_fit`, or on the first) and encode every day with it, `background="refit"`.
# </details>
#
# **3.** The `error` map of the new scan is 1.3 everywhere, that of the old one was 1.0. What may
# have happened?
#
# <details><summary>Answer</summary>
#
# Something in all patterns is new: another thickness, defocus, aperture or contamination, a wrong
# centre or calibration of q, or a wrong gain of the camera. Look at the mean patterns of both
# scans on one scale of q. Then train anew.
# </details>
#
# ## Check

# %%
assert max(fitting.most, encoding.most) < size, "less memory than the file"
assert fields_alike[0][0] > 0.85, "fields of view agree"
for k in (0, 1):
    r2, slope, offset = days_alike[k]
    assert r2 > fields_alike[k][0] - 0.25, f"z{k + 1} tomorrow is the same map but for noise"
    assert abs(slope - 1) < 0.25 and abs(offset) < 0.25, f"z{k + 1} tomorrow has the same scale"
spread_of_film = abs(levels["48 x 48"][0] - levels["48 x 48"][1])
assert np.abs(np.subtract(*levels.values())).max() < 0.15 * spread_of_film, "the film passes"
assert abs(of_graphene[0][2]) > 0.5, "graphene does not"
assert np.median(unknown.error[island]) > 1.3 * np.median(unknown.error[~island]), "error warns"
assert np.mean(unknown.fold[island] == 0) > 0.9, "no direction in the amorphous island"
assert workers == 1 and largest < 1e-3, "Dask gives the same"
assert done.returncode == 0 and (folder / "maps.h5").exists(), "the command wrote its maps"
