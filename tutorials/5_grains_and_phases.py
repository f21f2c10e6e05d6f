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
# # 5. Grains and phases
#
# A polycrystalline film, recorded with 300 electrons per pattern. Each pattern is so poor that
# one can hardly see its symmetry. There are thousands of them.
#
# **You will learn**
#
# - to tell two phases that scatter equally strongly;
# - `angle` as the orientation of a grain, with error bars;
# - to smooth and to unwrap angles without mixing things that must not be mixed;
# - to find the grains, and what happens at their boundaries.

# %%
# %matplotlib inline
from panels import require

require()

# %%
import warnings

import matplotlib.pyplot as plt
import numpy as np
from panels import maps
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from py4dstem_rrvae import RRVAE, smooth_angle, synthetic, unwrap_angle

# %% [markdown]
# ## The film
#
# Eight grains of two phases, each turned at random: a square net (4-fold) and a hexagonal net
# (6-fold) of the same density. No physics: discs at the places of a reciprocal lattice, and
# Poisson noise. So we know the truth.

# %%
film = synthetic.polycrystal((48, 48), grains=8, counts=300, random_state=1)
nm = 2.0  # distance between positions
counts = film.frames
square, hexagon = (np.argwhere(film.inside & (film.phase == k))[40] for k in (0, 1))
one_grain = film.grain == film.grain[tuple(hexagon)]
maps(
    {
        "one pattern, square net": (counts[tuple(square)], "gray_r", ""),
        "one pattern, hexagonal net": (counts[tuple(hexagon)], "gray_r", ""),
        "mean of one grain": (counts[one_grain & film.inside].mean(0), "gray_r", ""),
        "mean of the scan": (counts.mean((0, 1)), "gray_r", ""),
    },
    step=0.05,
    units="Å$^{-1}$",
    bar=False,
)
# %% [markdown]
# ## What the usual maps show
#
# Dark field: electrons outside the central disc. COM: where the pattern's weight lies.

# %%
size = counts.shape[-1]
rows, cols = np.indices((size, size)) - (size - 1) / 2
dark_field = counts[..., np.hypot(rows, cols) > 6].sum(-1)
total = counts.sum((-2, -1))
com = np.hypot((counts * rows).sum((-2, -1)), (counts * cols).sum((-2, -1))) / total
maps(
    {
        "dark field": (dark_field, "inferno", "electrons"),
        "COM length": (com, "inferno", "pixels"),
        "truth: phase": (film.phase + 1, "classes", ""),
        "truth: angle x fold": (film.angle * film.fold, "cyclic", "rad"),
    },
    step=nm,
    units="nm",
)
# %% [markdown]
# COM shows nothing: a symmetric pattern has its weight in the middle, however it is turned. The
# dark field shows the phases faintly at best. (With a virtual detector that knows both lattices,
# one disc at each reflection, one could do better. But each grain is turned differently, and one
# would have to know the lattices.)
#
# ## Phases
#
# The model is told nothing of lattices.

# %%
model = RRVAE(latent_dim=2, random_state=0, progress=False).fit(counts)
codes = model.encode(counts)
print("latents switched off:", model.history_.collapsed)

# %% [markdown]
# One latent is enough to tell two phases; the other is switched off, as it should be.

# %%
z1 = codes.z[..., 0]
mixture = GaussianMixture(2, random_state=0, n_init=3).fit(z1.reshape(-1, 1))
phase = mixture.predict(z1.reshape(-1, 1)).reshape(z1.shape)
# The phase whose patterns are mostly 4-fold is number 1.
if np.mean(codes.fold[phase == 0] == 4) < 0.5:
    phase = 1 - phase
figure, axes = maps(
    {
        "z1": (z1, "viridis", ""),
        "two clusters of z1": (phase + 1, "classes", ""),
        "fold": (codes.fold, "classes", ""),
        "error": (codes.error, "magma", "noise"),
    },
    step=nm,
    units="nm",
)

# %%
inside = film.inside  # one grain gives 99 % of the pattern
agree = adjusted_rand_score(film.phase[inside], phase[inside])
right = np.mean(codes.fold[inside] == film.fold[inside])
by_dark_field = GaussianMixture(2, random_state=0).fit_predict(dark_field[inside][:, None])
print(f"clusters and phases agree: {agree:.2f}  (1 perfect, 0 chance)")
print(f"the same from the dark field: {adjusted_rand_score(film.phase[inside], by_dark_field):.2f}")
print(f"fold is right at {right:.1%} of the positions inside grains")

# %% [markdown]
# Within the square phase `z1` differs a little from grain to grain: pixels are square too, and a
# turned pattern is never quite the same on them.
#
# `fold` is an independent witness: it is read from the symmetry of the pattern, not from a
# cluster. It says 4 and 6 without being told that such phases exist. (At some positions on the
# boundary it says something else.)
#
# Here are the patterns that the model draws for one position of each phase, beside what was
# recorded there.

# %%
drawn = model.reconstruct(codes)
maps(
    {
        "recorded, square": (counts[tuple(square)], "gray_r", ""),
        "drawn by the model": (drawn[tuple(square)], "gray_r", ""),
        "recorded, hexagonal": (counts[tuple(hexagon)], "gray_r", ""),
        "drawn by the model ": (drawn[tuple(hexagon)], "gray_r", ""),
    },
    step=0.05,
    units="Å$^{-1}$",
    bar=False,
)
# %% [markdown]
# ## Orientation
#
# `angle` says how the pattern is turned in the plane, modulo 90° (fold 4) or 60° (fold 6).
# Between two grains of *one* phase a difference of angles is a misorientation. Between two phases
# it is not: nothing says which direction of a square is "the same" as one of a hexagon. And it is
# the angle in the plane only; a tilt of the crystal changes intensities, which is a matter of
# `z`.

# %%
smooth = smooth_angle(codes.angle, codes.fold, sigma=1.0, angle_std=codes.angle_std)
fold = np.maximum(codes.fold, 1)
maps(
    {
        "truth: angle x fold": (film.angle * film.fold, "cyclic", "rad"),
        "angle x fold": (codes.angle * fold, "cyclic", "rad"),
        "smoothed over 1 position": (smooth * fold, "cyclic", "rad"),
        "error bar of angle": (np.degrees(codes.angle_std), "magma", "°"),
    },
    step=nm,
    units="nm",
)


# %%
def off(angle, chosen):
    """How far angles are off (degrees), phase by phase, after one constant zero for each phase."""
    errors = np.full(angle.shape, np.nan)
    for k, n in enumerate((4, 6)):
        own = chosen & (film.phase == k) & (codes.fold == n)
        phasor = np.exp(1j * n * (angle - film.angle)[own])
        errors[own] = np.angle(phasor / np.mean(phasor)) / n
    return np.degrees(np.abs(errors[np.isfinite(errors)]))


single, averaged = off(codes.angle, inside), off(smooth, inside)
said = np.degrees(np.mean(codes.angle_std[inside & (codes.fold == film.fold)]))
print(
    f"median error of one angle:       {np.median(single):.2f}°   (its error bar says {said:.2f}°)"
)
print(f"after smoothing over 1 position: {np.median(averaged):.2f}°")

# %% [markdown]
# From 300 electrons the angle is known to a third of a degree. Smoothing makes it better inside a
# grain. It averages only positions of the same fold. *But it does mix two grains of the same
# phase across their boundary*: there you see a seam of colours that neither grain has. So smooth
# after you know where grains end, or not at all.
#
# ## Grains
#
# Neighbours of the same fold whose smoothed angles differ by less than some limit belong to one
# grain. Which limit? Within a grain smoothed neighbours differ by some 0.1°. Across a boundary
# they differ by less than one thinks, because the probe and the smoothing turn a step into a
# slope: two of these grains are 6.5° apart, and where they meet neighbours differ by some 2°
# only.


# %%
def grains_of(limit):
    """Number of the grain at each position, 0 where it is smaller than 25 positions."""

    def joined(axis):
        one = [np.delete(values, -1, axis) for values in (smooth, codes.fold)]
        other = [np.delete(values, 0, axis) for values in (smooth, codes.fold)]
        n = one[1]
        step = np.abs(np.angle(np.exp(1j * n * (one[0] - other[0])))) / np.maximum(n, 1)
        return (n == other[1]) & (step < np.radians(limit))

    number = np.arange(smooth.size).reshape(smooth.shape)
    down, right = joined(0), joined(1)
    start = np.concatenate([number[:-1][down], number[:, :-1][right]])
    end = np.concatenate([number[1:][down], number[:, 1:][right]])
    graph = coo_array((np.ones(len(start)), (start, end)), shape=(smooth.size,) * 2)
    labels = connected_components(graph, directed=False)[1].reshape(smooth.shape)
    found = np.zeros(smooth.shape, dtype=int)
    for k, label in enumerate(k for k in np.unique(labels) if np.sum(labels == k) > 25):
        found[labels == label] = k + 1
    return found


grains, too_few = grains_of(0.7), grains_of(3.0)
maps(
    {
        "truth: grains": (film.grain + 1, "classes", ""),
        "found, limit 0.7°": (grains, "classes", ""),
        "found, limit 3°": (too_few, "classes", ""),
        "truth: one grain gives 99 %": (film.inside.astype(int), "classes", ""),
    },
    step=nm,
    units="nm",
)
# %%
present = np.unique(film.grain[film.inside])
sure = (grains > 0) & inside
agreement = adjusted_rand_score(film.grain[sure], grains[sure])
print(f"{grains.max()} grains found, {len(present)} in the film; agreement {agreement:.2f}")
print("grain  phase  angle (°)  error bar (°)  positions")
for k in range(1, grains.max() + 1):
    own = grains == k
    n = int(np.median(codes.fold[own]))
    mean = np.angle(np.mean(np.exp(1j * n * codes.angle[own]))) % (2 * np.pi) / n
    bar = np.degrees(np.mean(codes.angle_std[own])) / np.sqrt(own.sum())
    print(f"{k:5} {n:4}-fold {np.degrees(mean):8.1f} {bar:12.2f} {own.sum():12}")

# %% [markdown]
# (A median error is 0.67 of a standard deviation: the two numbers printed above agree.)
#
# The error bar of a grain's mean is that of one pattern over the root of the number of patterns.
# It holds the counting noise only. Distortions of the camera (notebook 4) are larger than 0.05°.
#
# **At a boundary** the probe sees two grains, and the pattern is a sum. Between two phases `z1`
# lies between, and `fold` may be 2. Between two grains of one phase the fold stays. The error bar
# of the angle, `angle_std`, grows where two directions are in the pattern, and `error` where no
# turn explains it. Mark such positions instead of reading an orientation from them.

# %%
edge, beyond = ~inside, {}
for name, values in {"angle_std": np.degrees(codes.angle_std), "error": codes.error}.items():
    beyond[name] = np.mean(values[edge] > np.quantile(values[inside], 0.95))
    print(
        f"{name:>9}: larger than nearly all inside grains at {beyond[name]:.0%} of the boundaries"
    )

# %% [markdown]
# ## A bent crystal: unwrapping
#
# Where a lattice turns slowly, `angle` jumps by the period (60° for 6-fold). `unwrap_angle` adds
# whole periods so that neighbours fit. Here a 6-fold pattern turns by 180° from left to right.

# %%
lobed = synthetic.lobes(2 * 32 * 32, size=32, counts=1000, numbers=(6,), random_state=3)
half = np.flatnonzero(lobed.angle < np.pi)[: 32 * 32]  # the others are turned farther
order = half[np.argsort(lobed.angle[half])]
side = int(np.sqrt(len(order)))
chosen = order[np.linspace(0, len(order) - 1, side * side).astype(int)]
bent = lobed.frames[chosen].reshape(side, side, 32, 32).swapaxes(0, 1)
turn = lobed.angle[chosen].reshape(side, side).T
of_bent = RRVAE(1, random_state=0, progress=False, max_epochs=40)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # patterns of one kind: all latents may be switched off
    bent_codes = of_bent.fit(bent).encode(bent)
unwrapped = unwrap_angle(bent_codes.angle, bent_codes.fold, mask=bent_codes.fold == 6)
maps(
    {
        "truth": (np.degrees(turn), "viridis", "°"),
        "angle, 0 to 60°": (np.degrees(bent_codes.angle), "viridis", "°"),
        "angle x fold, cyclic colours": (bent_codes.angle * 6, "cyclic", "rad"),
        "unwrapped": (np.degrees(unwrapped), "viridis", "°"),
    },
    step=nm,
    units="nm",
)
# %%
figure, ax = plt.subplots(figsize=(6, 2.8), layout="constrained")
middle = side // 2
x = np.arange(side) * nm
ax.plot(x, np.degrees(turn[middle] - turn[middle, 0]), color="0.6", lw=4, label="truth")
ax.plot(x, np.degrees(bent_codes.angle[middle]), ".", color="#cc6677", label="angle")
start = unwrapped[middle] - unwrapped[middle, 0]
ax.plot(x, np.degrees(start), color="#332288", label="unwrapped, from its start")
ax.set(xlabel="position (nm)", ylabel="degrees")
ax.legend(fontsize=9)
# %% [markdown]
# Cyclic colours show the same without unwrapping, and cannot be wrong. Unwrap only where you need
# a slope (a bending in degrees per nm), and never across a grain boundary: what is added there is
# a guess. `unwrap_angle` treats every region of one fold for itself; two grains of the same phase
# that touch are one region for it, so give it a `mask` of one grain.
#
# ## Questions
#
# **1.** Two neighbouring grains of the hexagonal phase have the same colour in "angle x fold".
# Are they one grain?
#
# <details><summary>Answer</summary>
#
# They have the same orientation in the plane modulo 60°. They may be one grain, or twins that
# differ by 60°, or differ in tilt. Look at `z` and at the mean patterns.
# </details>
#
# **2.** Why is the map of angles black (or of another fold) at some boundaries?
#
# <details><summary>Answer</summary>
#
# The sum of two patterns keeps only the symmetry that both have: of a 4-fold and a 6-fold one, the
# 2-fold. Two squares, however turned, are 4-fold together, and `fold` stays 4.
# </details>
#
# **3.** Your film has a third phase with 5 % of the positions. Will `GaussianMixture(2)` show it?
#
# <details><summary>Answer</summary>
#
# No, two clusters are two clusters. Look at the histogram of `z1` (and `z2`), at `error` and at
# `fold` first, and let the data say how many there are.
# </details>
#
# ## Check

# %%
assert agree > 0.98, "phases are told"
assert adjusted_rand_score(film.phase[inside], by_dark_field) < 0.5, "the dark field does not"
assert right > 0.98, "the fold is right inside grains"
assert np.median(single) < 0.4 and np.median(averaged) < 0.7 * np.median(single)
assert 0.6 < np.mean(single < np.degrees(codes.angle_std[inside & (codes.fold == film.fold)])) < 0.8
assert agreement > 0.95 and grains.max() == len(present) > too_few.max(), "grains are found"
assert min(beyond.values()) > 0.15, "boundaries fit worse, and their angles are less certain"
slope = np.nanmean(np.diff(unwrapped, axis=1)) / np.mean(np.diff(turn, axis=1))
assert abs(slope - 1) < 0.05, "unwrapped angles rise as the truth does"
