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
# # 6. Broken symmetry
#
# A crystal repeats. What does not repeat is what one looks for: a missing column, a polar
# displacement, a domain of the other hand. This notebook compares what can show it: the latents,
# `handedness`, `anomaly`, symmetry scores, COM and dark field. It does not always end well for
# the latents.
#
# **You will learn**
#
# - handedness: domains that are mirror images of each other;
# - symmetry scores, which need no learning, and what they are blind to;
# - MoS2 with a missing column, simulated here: who finds it, and who tells molybdenum from
#   sulphur.

# %%
# %matplotlib inline
from panels import require

require("py4dstem", "simulate")

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
from panels import maps, mark
from scipy.ndimage import gaussian_filter
from sklearn.metrics import average_precision_score
from sklearn.neighbors import KNeighborsClassifier

from py4dstem_rrvae import RRVAE, describe, simulate, synthetic
from py4dstem_rrvae.adapters import py4dstem
from py4dstem_rrvae.simulate import CASES
from py4dstem_rrvae.simulate.sites import at_sites

# %% [markdown]
# ## Left and right
#
# Domains of three kinds: a left-handed pattern, its mirror image (right-handed), and a pattern
# that is its own mirror image. All are turned at random, as in a powder.

# %%
drawn = synthetic.mirror_twins(1024, size=32, counts=2000)
side = 32
rows, cols = np.indices((side, side))
noise = gaussian_filter(np.random.default_rng(5).normal(size=(side, side)), 4)
domain = np.empty(side**2, dtype=int)
sizes = [np.sum(drawn.label == k) for k in range(3)]
domain[np.argsort(noise.ravel())] = np.repeat([0, 2, 1], [sizes[0], sizes[2], sizes[1]])
place = np.empty(side**2, dtype=int)
for k in range(3):
    place[domain == k] = np.flatnonzero(drawn.label == k)
frames = drawn.frames[place].reshape(side, side, 32, 32)
hand = drawn.hand[place].reshape(side, side)


def most_upright(kind):
    """The pattern of a kind that is turned least."""
    own = np.flatnonzero(drawn.hand == kind)
    return drawn.frames[own[np.argmin(np.abs(np.angle(np.exp(3j * drawn.angle[own]))))]]


maps(
    {
        "left": (most_upright(1), "gray_r", ""),
        "right": (most_upright(-1), "gray_r", ""),
        "its own mirror image": (most_upright(0), "gray_r", ""),
    },
    step=1 / 16,
    units="q max",
    columns=3,
    width=7,
    bar=False,
)
# %% [markdown]
# The same scan, fitted twice. A usual model takes the mirror image for another pattern. With
# `mirror=True` twins share `z`, and the map `handedness` tells them apart: the probability that a
# pattern is the mirror image of the drawn one. 0.5 means that the pattern is its own mirror
# image, or that noise leaves it open.

# %%
options = {"random_state": 0, "progress": False, "max_epochs": 60}
plain = RRVAE(2, **options).fit(frames).encode(frames)
mirrored = RRVAE(2, mirror=True, **options).fit(frames).encode(frames)
scores = describe(frames, progress=False)
maps(
    {
        "truth: hand": (hand, "coolwarm_r", ""),
        "z1": (plain.z[..., 0], "viridis", ""),
        "z2": (plain.z[..., 1], "viridis", ""),
        "z1 with mirror=True": (mirrored.z[..., 0], "viridis", ""),
        "handedness": (mirrored.handedness, "coolwarm", ""),
        "3-fold score": (scores.rotation[..., 1], "cividis", ""),
        "mirror score": (scores.mirror, "cividis", ""),
    },
    step=2,
    units="nm",
)
# %%
twins = hand != 0
guess = np.where(mirrored.handedness > 0.5, 1, -1)
told = max(np.mean(guess[twins] == hand[twins]), np.mean(guess[twins] == -hand[twins]))


def overlap(values):
    """Difference of the twins' means over the spread within one of them."""
    one, other = values[hand == 1], values[hand == -1]
    return np.abs(one.mean() - other.mean()) / np.sqrt((one.var() + other.var()) / 2)


apart = {
    "z, usual model": max(overlap(plain.z[..., k]) for k in (0, 1)),
    "z, mirror=True": max(overlap(mirrored.z[..., k]) for k in (0, 1)),
    "mirror score": overlap(scores.mirror),
    "3-fold score": overlap(scores.rotation[..., 1]),
}
print(f"handedness is right for {told:.1%} of the twins (which one is 'left' is a convention)")
for name, value in apart.items():
    print(f"{name:<16} left and right differ by {value:5.2f} standard deviations")

# %% [markdown]
# - The usual model tells left from right in `z`. `mirror=True` is for the question "the same
#   structure but for its hand?": it puts the twins together, and says the hand in a map of its
#   own.
# - **Symmetry scores** (`describe`, `datacube.rrvae.symmetry()`) correlate a pattern with itself,
#   turned or mirrored. They need no training and see that the third kind has a mirror axis. But
#   they are *blind to the hand*: left and right have the same scores. The 3-fold score is 1
#   everywhere.
#
# ## MoS2 with a missing column
#
# A multislice simulation with abTEM, made here: one layer of MoS2 at 80 kV and 30 mrad, 32 x 32
# positions 0.3 Å apart, 2 x 10⁵ electrons per pattern. One column of two sulphur atoms is
# missing. One thermal configuration stands for all, to save time, so equal sites differ a little.

# %%
usual = CASES["mos2"]
case = replace(
    usual,
    radius=21.0,
    scan=simulate.Scan(shape=(32, 32), step=0.3),
    microscope=replace(usual.microscope, phonon_configurations=1, detector_pixels=48),
)
simulation = simulate.intensities(case)
patterns = simulate.counts(simulation, 2e5, random_state=0)
step = simulation.scan_step
sites = at_sites(simulation)
vacancy = {"vacancy": tuple(simulation.vacancies[0])}

cube = py4dstem.datacube(
    patterns,
    scan_step=step,
    q_per_pixel=simulation.q_per_pixel,
    center=simulation.center,
    name="MoS2",
)
known = cube.rrvae.compare(energy=simulation.microscope.energy)
found = cube.rrvae.fit(latent_dim=2, random_state=0, progress=False)
rows, cols = np.indices(patterns.shape[-2:])
radius = np.hypot(rows - simulation.center[0], cols - simulation.center[1])
disc = 30e-3 / 0.0418 / simulation.q_per_pixel
dark_field = patterns[..., radius > 1.05 * disc].sum(-1).astype(float)
com = np.stack([known["com_x"].data, known["com_y"].data], -1)
com_length, com_direction = np.hypot(com[..., 0], com[..., 1]), np.arctan2(com[..., 1], com[..., 0])
z = np.stack([found["z1"].data, found["z2"].data], -1)
angle, fold = found["angle"].data, found["fold"].data

figure, axes = maps(
    {
        "dark field": (dark_field, "inferno", "electrons"),
        "COM length": (com_length, "inferno", "Å$^{-1}$"),
        "DPC phase": (known["dpc_phase"].data, "inferno", "2π rad"),
        "COM direction": (com_direction, "cyclic", "rad"),
        "z1": (z[..., 0], "viridis", ""),
        "z2": (z[..., 1], "viridis", ""),
        "error": (found["error"].data, "magma", "noise"),
        "angle x fold": (angle * np.maximum(fold, 1), "cyclic", "rad"),
    },
    step=step,
)
mark([axes[0], axes[2], axes[4]], vacancy, radius=3.5)

# %% [markdown]
# ### Who finds the missing column?
#
# Pattern by pattern nobody does: without atoms under the probe the pattern is that of a hollow
# site, which every hexagon has. Averaged over about a third of the lattice spacing, the lattice
# becomes even and the vacancy stays. `anomaly(neighbourhood=3)` does that with the latents and
# `error`; to be fair, the other maps are averaged over the same neighbourhood, and ranked by
# their distance from the median. *Average precision*: 1 if all positions within 0.9 Å of the
# vacancy come first.

# %%
anomaly = cube.rrvae.anomaly(neighbourhood=3).data
grid = np.stack(np.indices(anomaly.shape), -1)
truth = np.linalg.norm(grid - simulation.vacancies[0], axis=-1) * step < 0.9


def unusual(values):
    """Distance from the median of a map averaged over the neighbourhood."""
    smooth = gaussian_filter(values, 3, mode="mirror")
    return np.abs(smooth - np.median(smooth))


candidates = {
    "anomaly": anomaly,
    "DPC phase": unusual(known["dpc_phase"].data),
    "COM length": unusual(com_length),
    "dark field": unusual(dark_field),
}
precision = {k: average_precision_score(truth.ravel(), v.ravel()) for k, v in candidates.items()}
figure, axes = maps(
    {f"{name}: {precision[name]:.2f}": (v, "magma", "") for name, v in candidates.items()},
    step=step,
)
mark(axes, vacancy, radius=3.5)
print(f"by chance: {truth.mean():.2f}")

# %% [markdown]
# All four find it. The anomaly is the least bright elsewhere; COM, DPC and dark field show every
# atom's site a little. **Do not make too much of the order.** It depends on the scan and on how
# wide the neighbourhood is: on a scan of 24 x 24 positions of the same crystal COM length led, and
# the anomaly of one training was 0.9 and of another 0.6, since a border that cuts cells unevenly
# stands out as well (`docs/report/anomaly.md` has larger scans; on graphene the phase that COM
# integrates to was the best of all). What the anomaly has in its favour: it asks for no choice of
# signal.
#
# ### Who tells the sites?
#
# The truth is known: which positions lie within 0.4 Å of molybdenum, of a sulphur column, of a
# bond or of the middle of a hexagon? Ten nearest neighbours, taken from the other half of the
# scan, vote for each position.

# %%
near = (sites.distance < 0.4) & np.isin(sites.kind, ["Mo", "S", "bond", "hollow"])
kind = sites.kind[near]
left = (grid[..., 1] < grid.shape[1] // 2)[near]


def votes(features):
    """Share of positions, averaged over the kinds of site, that their neighbours tell."""
    rows = features[near]
    rows = (rows - rows.mean(0)) / rows.std(0)
    guess = np.empty_like(kind)
    for half in (left, ~left):
        guess[~half] = KNeighborsClassifier(10).fit(rows[half], kind[half]).predict(rows[~half])
    names = np.unique(kind)
    return [np.mean(guess[kind == name] == name) for name in names], names


table = {
    "z1, z2": votes(z),
    "COM length, dark field": votes(np.stack([com_length, dark_field], -1)),
    "dark field": votes(dark_field[..., None]),
}
print(" " * 24 + "".join(f"{name:>8}" for name in table["z1, z2"][1]) + "    mean")
for name, (shares, _) in table.items():
    print(f"{name:<24}" + "".join(f"{s:8.2f}" for s in shares) + f"{np.mean(shares):8.2f}")

# %%
figure, (one, two) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
styles = {
    "Mo": ("#332288", "o"),
    "S": ("#ddcc77", "s"),
    "bond": ("#88ccee", "^"),
    "hollow": ("#cc6677", "v"),
}
for name, (colour, marker) in styles.items():
    own = kind == name
    one.scatter(*z[near][own].T, s=14, c=colour, marker=marker, label=name)
    two.scatter(com_length[near][own], dark_field[near][own], s=14, c=colour, marker=marker)
one.set(xlabel="z1", ylabel="z2")
two.set(xlabel="COM length (Å$^{-1}$)", ylabel="dark field (electrons)")
figure.legend(*one.get_legend_handles_labels(), loc="outside right upper", fontsize=9)
# %% [markdown]
# Molybdenum (42 protons) and a column of two sulphur atoms (2 x 16) scatter almost alike, and no
# two numbers separate them cleanly here. **COM and dark field tell the sites as well as the latents
# do, and the dark field alone nearly.** For one thin crystal in one orientation that is what to
# expect. Do not use a neural network where one virtual detector is enough; use it to find out that
# it is.
#
# ### Symmetry scores at the sites
#
# With `background="mean"` the mean of the scan is left out first: else the sharp edge of the disc
# on the pixels makes every pattern lopsided in the same way.

# %%
symmetry = cube.rrvae.symmetry(background="mean")
maps(
    {
        "2-fold score": (symmetry["rotation_2"].data, "cividis", ""),
        "3-fold score": (symmetry["rotation_3"].data, "cividis", ""),
        "mirror score": (symmetry["mirror_score"].data, "cividis", ""),
        "mirror axis x 2": (2 * symmetry["mirror_axis"].data, "cyclic", "rad"),
    },
    step=step,
)
# %%
two_fold = symmetry["rotation_2"].data
print(f"median 2-fold score over the scan: {np.nanmedian(two_fold):.2f}")
three_fold = symmetry["rotation_3"].data
at_vacancy = np.linalg.norm(grid - simulation.vacancies[0], axis=-1) * step < 0.4
print(f"3-fold score: {np.nanmedian(three_fold[at_vacancy]):.2f} at the vacancy", end=", ")
print(f"{np.nanmedian(three_fold[~at_vacancy]):.2f} elsewhere")

# %% [markdown]
# The 2-fold score is close to -1 nearly everywhere: what a probe beside an atom does to the disc
# is a shift, and a shift is as odd under half a turn as can be. That is the signal of COM once
# more. The 3-fold score is high at one place alone, the vacancy: in the middle of three molybdenum
# columns the shift is nil, and what is left has their symmetry. Elsewhere the scores add little to
# COM on this scan. They are at their best with many diffraction discs, in patterns with Bragg
# spots.
#
# ## Questions
#
# **1.** In a scan, `z` has two levels and `handedness` is 0.5 everywhere. What kind of domains
# may these be?
#
# <details><summary>Answer</summary>
#
# Two different structures, each its own mirror image as far as this dose shows. They are not
# mirror twins: those would share `z`.
# </details>
#
# **2.** Why does nobody see the vacancy in a single pattern, although the electrons have seen it?
#
# <details><summary>Answer</summary>
#
# The probe is a few tenths of an angstrom wide. On the vacancy it meets what it meets in the
# middle of a hexagon: nothing. That a *sulphur* place is empty is known only from the places
# around.
# </details>
#
# **3.** A reviewer asks what the latents show that the dark field does not. What do you compute?
#
# <details><summary>Answer</summary>
#
# Predict `z` from dark field and COM (by nearest neighbours), and look at what is left: if the
# rest repeats in both halves of the electrons (notebook 4), it is more. If nothing is left, say
# that the dark field is enough.
# </details>
#
# ## Check

# %%
assert told > 0.97, "handedness tells the twins"
assert np.median(np.abs(mirrored.handedness[~twins] - 0.5)) < 0.05, "its own mirror image: 0.5"
assert apart["z, usual model"] > 3 > 0.5 > apart["z, mirror=True"], "mirror=True joins the twins"
assert max(apart["mirror score"], apart["3-fold score"]) < 0.5, "scores are blind to the hand"
assert np.nanmean(scores.mirror[~twins]) > np.nanmean(scores.mirror[twins]) + 0.2
assert precision["anomaly"] > 0.9, "the anomaly finds the missing column"
means = {name: np.mean(shares) for name, (shares, _) in table.items()}
assert abs(means["z1, z2"] - means["dark field"]) < 0.15, "the dark field is about as good"
assert np.nanmedian(two_fold) < -0.8, "what changes is a shift of the disc"
assert np.nanmedian(three_fold[at_vacancy]) > 0.3 > -0.2 > np.nanmedian(three_fold[~at_vacancy])
