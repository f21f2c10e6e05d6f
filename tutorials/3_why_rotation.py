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
# # 3. Why rotation?
#
# PCA and NMF are the usual tools to sort thousands of patterns. They sort by *pixels*. A pattern
# that is turned has other pixels, so for them it is another pattern. This notebook shows what
# follows from that, and what it means that a number is *invariant*.
#
# **You will learn**
#
# - how many components PCA and NMF spend on one pattern in several directions;
# - what *invariant* (does not change) and *equivariant* (turns along) mean, by turning a pattern;
# - what that does to a map of grains;
# - when you do not need any learning for it.

# %%
# %matplotlib inline
from panels import require

require()

# %%
import warnings

import matplotlib.pyplot as plt
import numpy as np
from panels import maps
from sklearn.decomposition import NMF, PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from py4dstem_rrvae import RRVAE, synthetic
from py4dstem_rrvae.plot import cyclic_colours

warnings.filterwarnings("ignore", category=ConvergenceWarning)  # NMF stops at max_iter

# %% [markdown]
# ## One pattern in six directions
#
# A ring with one bright spot, as from one strong reflection, in six directions. How many
# components does it take?

# %%
SIZE = 32
q = (np.arange(SIZE) - (SIZE - 1) / 2) / (SIZE / 2)
rows, cols = np.meshgrid(q, q, indexing="ij")
radius, azimuth = np.hypot(rows, cols), np.arctan2(cols, rows)


def turned(angles, lobes=1, sharpness=30.0):
    """Expected counts of a ring with bright lobes, turned by each of some angles (radians)."""
    ring = np.exp(-0.5 * ((radius - 0.55) / 0.09) ** 2) * (radius < 1)
    away = lobes * (azimuth - np.reshape(angles, (-1, 1, 1)))
    pattern = ring * np.exp(sharpness * (np.cos(away) - 1)) + 0.002 * (radius < 1)
    return 5000 * pattern / pattern.sum((1, 2), keepdims=True)


rng = np.random.default_rng(0)
six = turned(2 * np.pi * np.arange(6) / 6)
many = rng.poisson(six[np.arange(600) % 6])  # 100 noisy patterns of each direction

roots = np.sqrt(many.reshape(len(many), -1))
nmf = NMF(6, init="nndsvda", max_iter=500, random_state=0).fit(roots)
pca = PCA(6).fit(roots)
model = RRVAE(2, center=((SIZE - 1) / 2,) * 2, max_epochs=25, random_state=0, progress=False)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    model.fit(many)
codes = model.encode(many)
decoded = model.reconstruct(codes)

share = {"NMF": [], "PCA": []}
for n in range(1, 7):
    fitted = NMF(n, init="nndsvda", max_iter=500, random_state=0)
    of_nmf = fitted.inverse_transform(fitted.fit_transform(roots))
    of_pca = pca.mean_ + (roots - pca.mean_) @ pca.components_[:n].T @ pca.components_[:n]
    clean = np.sqrt(six.reshape(6, -1))[np.arange(600) % 6]
    spread = np.square(clean - clean.mean(0)).sum()
    for name, found in {"NMF": of_nmf, "PCA": of_pca}.items():
        share[name].append(1 - np.square(found - clean).sum() / spread)

shown = {f"NMF {k + 1}": c.reshape(SIZE, SIZE) for k, c in enumerate(nmf.components_)}
shown["this model's one"] = np.sqrt(decoded[0])  # NMF had square roots as well
room = {name: (np.pad(image, ((0, 6), (0, 0))), "gray_r", "") for name, image in shown.items()}
maps(room, step=2 / SIZE, units="q max", columns=7, bar=False)
# %%
figure, ax = plt.subplots(figsize=(5.5, 3), layout="constrained")
for (name, values), marker in zip(share.items(), "os", strict=True):
    ax.plot(range(1, 7), values, marker + "-", label=name)
of_model = 1 - np.square(np.sqrt(decoded.reshape(600, -1)) - clean).sum() / spread
ax.axhline(of_model, color="0.3", ls="--", label="this model: an angle, no component")
ax.set(xlabel="components", ylabel="share explained", ylim=(0, 1.05))
ax.legend(fontsize=9)
print(f"latents of this model that carry anything: {2 - sum(model.history_.collapsed)}")
print("the package says:", said[0].message)

# %% [markdown]
# NMF needs one component for each direction, and PCA one less, because it keeps the mean apart.
# This model needs *none*: both latents are switched off, since the patterns differ in nothing but
# an angle, and the angle is a number of its own. (With hundreds of directions NMF and PCA do not
# need hundreds of components: some ten are enough to write any turn of this spot, but none of
# them means anything alone.)
#
# The package warns when all latents are off, because it often means that something is wrong. Here
# it is right that "patterns are all alike" but for their turn.
#
# ## Three classes in any direction
#
# Now 2,000 patterns of three classes: 2, 3 or 6 lobes, each in a random direction, and with a
# small random change of the ring's radius. Colours in the upper row show the class, in the lower
# row the turn.

# %%
train = synthetic.lobes(2000, size=SIZE, counts=5000, random_state=0)
test = synthetic.lobes(1000, size=SIZE, counts=5000, random_state=1)
learned = RRVAE(2, random_state=0, progress=False).fit(train.frames)
of_test = learned.encode(test.frames)


def pixels(frames):
    """Square roots of counts, a pattern a row."""
    return np.sqrt(np.asarray(frames, dtype=float).reshape(len(frames), -1))


by_pca = PCA(12, random_state=0).fit(pixels(train.frames))
by_nmf = NMF(12, init="nndsvda", max_iter=200, random_state=0).fit(pixels(train.frames))
scores = {
    "PCA": by_pca.transform(pixels(test.frames)),
    "NMF": by_nmf.transform(pixels(test.frames)),
    "this model": of_test.z,
}

figure, axes = plt.subplots(2, 3, figsize=(10, 6), layout="constrained")
turn = test.angle * test.fold % (2 * np.pi)
for column, (name, values) in zip(axes.T, scores.items(), strict=True):
    for label, (colour, marker) in enumerate(
        zip(["#332288", "#117733", "#cc6677"], "o^s", strict=True)
    ):
        own = test.label == label
        column[0].scatter(
            *values[own, :2].T, s=9, c=colour, marker=marker, label=f"{(2, 3, 6)[label]} lobes"
        )
    points = column[1].scatter(
        *values[:, :2].T, s=9, c=turn, cmap=cyclic_colours(), vmin=0, vmax=2 * np.pi
    )
    column[0].set_title(name)
    for ax in column:
        ax.set(xlabel="first", ylabel="second")
axes[0, 2].legend(fontsize=9)
bar = figure.colorbar(points, ax=axes[1], ticks=[0, np.pi, 2 * np.pi])
bar.set_ticklabels(["0", "π", "2π"])
bar.set_label("turn x fold")
# %%
agreement = {}
for name, values in scores.items():
    # Twelve components for PCA and NMF: all they have.
    guess = GaussianMixture(3, random_state=0, n_init=3, reg_covar=1e-4).fit_predict(values)
    agreement[name] = adjusted_rand_score(test.label, guess)
    print(
        f"{name:<12} clusters agree with the classes: {agreement[name]:.2f}  (1 perfect, 0 chance)"
    )

# %% [markdown]
# In PCA and NMF a class is a loop or a blob: as the pattern turns, the scores go round (second row:
# colours go round too). In the latents a class is a line, along which the ring's radius changes,
# and the turn is mixed all over it.
#
# ## Turn one pattern
#
# **Invariant** means: turn the pattern, and the number stays. **Equivariant** means: turn the
# pattern by 10°, and the number moves by 10°. Here a fresh 3-fold pattern, never seen in
# training, is turned step by step and counted anew each time.

# %%
degrees = np.arange(0, 120, 5)
clean = np.concatenate([turned(np.radians(d), lobes=3, sharpness=2.0) for d in degrees])
fresh = np.random.default_rng(7).poisson(clean)
answer = learned.encode(fresh)
spread_of = {name: values.std(0) for name, values in scores.items()}
mean_of = {name: values.mean(0) for name, values in scores.items()}
series = {
    "PCA": (by_pca.transform(pixels(fresh)) - mean_of["PCA"]) / spread_of["PCA"],
    "NMF": (by_nmf.transform(pixels(fresh)) - mean_of["NMF"]) / spread_of["NMF"],
    "this model": (answer.z - mean_of["this model"]) / spread_of["this model"],
}
figure, axes = plt.subplots(1, 4, figsize=(10.5, 2.9), layout="constrained")
for ax, (name, values) in zip(axes, series.items(), strict=False):
    ax.plot(degrees, values, lw=1.2)
    ax.set(title=f"{name}: {values.shape[1]} numbers", xlabel="turn (°)", ylim=(-3, 4.5))
axes[0].set_ylabel("score / its spread")
measured = np.degrees(np.unwrap(answer.angle, period=2 * np.pi / 3))
measured += np.median(degrees - measured)  # where zero is, is a convention
axes[3].plot(degrees, degrees, color="0.6", lw=3)
axes[3].errorbar(degrees, measured, np.degrees(answer.angle_std), fmt=".", ms=4, color="#332288")
axes[3].set(title="this model: angle", xlabel="turn (°)", ylabel="angle (°)", xticks=[0, 60, 120])
# %%
moves = {name: int((values.std(0) > 0.25).sum()) for name, values in series.items()}
off = np.std(measured - degrees)
print("numbers that move by more than a quarter of their spread:", moves)
said_bar = np.degrees(answer.angle_std.mean())
print(f"the angle follows the turn to {off:.2f}°; its error bar says {said_bar:.2f}°")

# %% [markdown]
# The latents stay (invariant), the angle follows (equivariant). PCA and NMF move several numbers
# at once, and no single one of them is the angle.
#
# Turn it yourself, if ipywidgets is there (it belongs to the extra `tutorials`). Without it, or
# on paper, the panels below show four turns.

# %%
from importlib.util import find_spec


def show(number=0):
    """The pattern at one turn, and what the model says of it."""
    _, (left, right) = plt.subplots(1, 2, figsize=(6, 2.6), layout="constrained")
    left.imshow(fresh[number], cmap="gray_r")
    left.set(title=f"turned by {degrees[number]}°", xticks=[], yticks=[])
    right.scatter(*scores["this model"][:, :2].T, s=3, c="0.8")
    right.errorbar(
        *answer.z[number],
        xerr=answer.z_std[number, 0],
        yerr=answer.z_std[number, 1],
        fmt="o",
        color="#cc6677",
        capsize=3,
    )
    right.set(xlabel="z1", ylabel="z2", title=f"angle {measured[number]:.0f}°")
    plt.show()


if find_spec("ipywidgets"):
    from ipywidgets import IntSlider, interact

    interact(show, number=IntSlider(value=0, min=0, max=len(degrees) - 1, description="turn / 5°"))
steps = [0, 5, 10, 20]
maps(
    {
        f"{degrees[k]}°: z1 {answer.z[k, 0]:.1f}, z2 {answer.z[k, 1]:.1f}": (
            fresh[k],
            "gray_r",
            "",
        )
        for k in steps
    },
    step=2 / SIZE,
    units="q max",
    bar=False,
)
# %% [markdown]
# ## On a map of grains
#
# Twelve grains of two phases, a square and a hexagonal net, each grain turned at random. A map
# should show two phases, and, in another panel, how grains are turned.

# %%
crystal = synthetic.polycrystal((40, 40), grains=12, size=SIZE, counts=1000, random_state=2)
of_crystal = RRVAE(2, random_state=0, progress=False).fit(crystal.frames).encode(crystal.frames)
flat = pixels(crystal.frames.reshape(-1, SIZE, SIZE))
two = PCA(2, random_state=0).fit_transform(flat).reshape(40, 40, 2)
parts = NMF(2, init="nndsvda", max_iter=200, random_state=0).fit_transform(flat).reshape(40, 40, 2)
maps(
    {
        "truth: phase": (crystal.phase + 1, "classes", ""),
        "PCA 1": (two[..., 0], "viridis", ""),
        "NMF 1": (parts[..., 0], "viridis", ""),
        "z1": (of_crystal.z[..., 0], "viridis", ""),
        "truth: angle x fold": (crystal.angle * crystal.fold, "cyclic", "rad"),
        "PCA 2": (two[..., 1], "viridis", ""),
        "NMF 2": (parts[..., 1], "viridis", ""),
        "angle x fold": (of_crystal.angle * np.maximum(of_crystal.fold, 1), "cyclic", "rad"),
    },
    step=2,
    units="nm",
)
# %%
inside = crystal.inside
tells = {
    name: adjusted_rand_score(
        crystal.phase[inside],
        GaussianMixture(2, random_state=0, n_init=3, reg_covar=1e-4).fit_predict(values[inside]),
    )
    for name, values in {"PCA": two, "NMF": parts, "this model": of_crystal.z}.items()
}
for name, value in tells.items():
    print(f"{name:<12} two clusters agree with the two phases: {value:.2f}")

# %% [markdown]
# In PCA and NMF every grain has its own grey level, and no map shows two phases. `z1` has two
# levels, and `angle` holds the rest (with another zero than the truth, which is a convention).
# Look closely: within one phase `z1` still differs a little from grain to grain. Sharp discs on
# coarse pixels do not turn perfectly, on any camera.
#
# ## When you do not need learning
#
# Turning invariant is easy if you know what to look for. Take a ring of each pattern, Fourier
# transform it along the angle, and keep only the moduli. PCA of these numbers is invariant, takes
# a fraction of a second, and tells these three classes as well as the model does. So try it
# first. It fails where classes differ in *phases* between rings. Here are both cases: lobes, and
# two rings of three lobes where the outer ring is twisted against the inner.


# %%
def moduli(frames, rings=8, steps=48):
    """Moduli of the angular harmonics of some rings: invariant, without learning."""
    from scipy.ndimage import map_coordinates

    angles = 2 * np.pi * np.arange(steps) / steps
    radii = (np.arange(rings) + 1) / (rings + 1) * SIZE / 2
    where = [
        (SIZE - 1) / 2 + np.outer(radii, np.cos(angles)),
        (SIZE - 1) / 2 + np.outer(radii, np.sin(angles)),
    ]
    polar = [map_coordinates(frame.astype(float), where, order=1) for frame in frames]
    return np.abs(np.fft.rfft(np.sqrt(polar), axis=-1))[..., :9].reshape(len(frames), -1)


def classes_told(values, label):
    """Agreement of three clusters with the classes."""
    guess = GaussianMixture(3, random_state=0, n_init=3, reg_covar=1e-4).fit_predict(values)
    return adjusted_rand_score(label, guess)


twisted = synthetic.twisted_rings(2000, size=SIZE, counts=5000, random_state=0)
of_twisted = RRVAE(2, random_state=0, progress=False).fit(twisted.frames).encode(twisted.frames)
without = {
    "lobes": classes_told(PCA(2).fit_transform(moduli(test.frames)), test.label),
    "twisted rings": classes_told(PCA(2).fit_transform(moduli(twisted.frames)), twisted.label),
}
with_model = {
    "lobes": agreement["this model"],
    "twisted rings": classes_told(of_twisted.z, twisted.label),
}
print("                moduli + PCA   this model")
for name in without:
    print(f"{name:<15} {without[name]:12.2f} {with_model[name]:12.2f}")

# %%
firsts = [twisted.frames[np.argmax(twisted.label == k)] for k in range(3)]
examples = {
    f"twisted by {twist}°": (one, "gray_r", "")
    for twist, one in zip((0, 40, 80), firsts, strict=True)
}
maps(examples, step=2 / SIZE, units="q max", bar=False, columns=3, width=7)

# %% [markdown]
# There is a hand-made invariant for twisted rings too (the bispectrum, see the comparison in the
# documentation), and PCA of it separates them as well. What the model adds is that you need not
# know which one, that it gives the angle with an error bar, and that it can draw what it has
# found.
#
# ## Questions
#
# **1.** PCA separates the twelve grains nicely by colour. Is that not what one wants?
#
# <details><summary>Answer</summary>
#
# It is, if you want grains. But two grains of the same phase get different colours, and two of
# different phases may get the same one. You cannot read from PCA whether two grains differ in
# structure or only in direction.
# </details>
#
# **2.** A specimen has a single orientation everywhere (one thin crystal). What does invariance
# buy?
#
# <details><summary>Answer</summary>
#
# Less. Sites that are equivalent by symmetry, like the two sublattices of graphene, still have
# turned patterns, and these become one kind. But if nothing turns, PCA is as good and faster. The
# comparison in the documentation found PCA with 20 components as good as anything on a perfect
# crystal of ZnS.
# </details>
#
# **3.** Is a mirror image of a pattern the same for the model?
#
# <details><summary>Answer</summary>
#
# No. A mirror image is not a turn. A right-handed and a left-handed pattern get different `z`,
# unless you ask for `mirror=True`; then they share `z`, and a map `handedness` tells them apart
# (notebook 6).
# </details>
#
# ## Check

# %%
assert share["NMF"][4] < 0.95 < share["NMF"][5], "NMF: one component for each of six directions"
assert share["PCA"][3] < 0.95 < share["PCA"][4], "PCA: one less"
assert all(model.history_.collapsed) and of_model > 0.9, "this model: the angle alone"
assert agreement["this model"] > 0.95 > 0.8 > max(agreement["PCA"], agreement["NMF"])
assert moves["this model"] == 0 and min(moves["PCA"], moves["NMF"]) >= 2, "what moves in a turn"
assert off < 3 * np.degrees(answer.angle_std.mean()), "the angle follows the turn"
assert tells["this model"] > 0.95 > 0.8 > max(tells["PCA"], tells["NMF"]), "phases of grains"
assert without["lobes"] > 0.95, "no learning is needed for lobes"
assert without["twisted rings"] < 0.3 and with_model["twisted rings"] > 0.95
