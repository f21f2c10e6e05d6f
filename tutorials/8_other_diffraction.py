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
# # 8. Other diffraction
#
# The model is told nothing of electrons or of transmission. It needs a pattern at each position,
# and one point of the detector about which patterns turn. Two other methods give such data:
# EBSD in a scanning electron microscope, and ptychography with X-rays.
#
# **You will learn**
#
# - to map an EBSD scan: what the latents and the angle say of grains;
# - that the *projection centre* is the centre, and what an error of it costs;
# - what can be expected of nine measured patterns, and what cannot;
# - to map a scan whose positions lie on a spiral;
# - what to do with an illumination that never turns.
#
# When kikuchipy runs for the first time, it compiles its functions. That takes up to a minute.

# %%
# %matplotlib inline
from panels import require

require("hyperspy", "ebsd")

# %%
import bz2
import io
import os
import warnings
from pathlib import Path

import h5py
import kikuchipy as kp
import matplotlib.pyplot as plt
import numpy as np
from orix.quaternion import Rotation
from panels import maps, points
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.neighbors import KNeighborsRegressor

from py4dstem_rrvae import RRVAE

# %% [markdown]
# ## EBSD in one paragraph
#
# In *electron backscatter diffraction* the beam hits a steeply tilted sample (70°), and a screen
# beside the sample shows bright *Kikuchi bands*, one for each set of lattice planes. The point
# of the screen that is nearest to the place where the beam hits is the *projection centre*. The
# line from there to the screen is the screen's normal. **When the crystal turns about this
# normal, the pattern turns about the projection centre, and nothing else changes.** When the
# crystal tilts, other bands come into view: another pattern.
#
# So `angle` will say how a grain is turned about the screen's normal, and `z` which crystal
# direction points along it.
#
# ## A film of nickel
#
# kikuchipy brings a *master pattern* of nickel: the calculated intensity in every direction of
# the crystal. From it follows the pattern of any orientation. We make a film of eight grains. In
# each of them one of four crystal directions points along the screen's normal. Each grain is
# turned at random about the normal, and is a little bent. The projection centre is in the middle
# of the screen, so that the whole circle about it is seen.

# %%
master = kp.data.nickel_ebsd_master_pattern_small(projection="lambert")
SIZE, POINT = 48, 0.5  # pixels of the screen, and their size in mm


def screen(pc=(0.5, 0.5, 0.5), size=SIZE):
    """Detector with twice the pixels, which `project` then sums to `size`."""
    return kp.detectors.EBSDDetector(shape=(2 * size, 2 * size), sample_tilt=70, pc=pc)


def project(orientations, detector):
    """Pattern of each orientation, (n, rows, columns), each pixel a mean over its area."""
    fine = master.get_patterns(
        orientations.flatten(), detector, compute=True, show_progressbar=False
    ).data
    n, rows, columns = fine.shape
    return fine.reshape(n, rows // 2, 2, columns // 2, 2).mean(axis=(2, 4))


to_screen = Rotation.from_matrix(screen().sample_to_detector.to_matrix())


def along_normal(direction):
    """Rotation that brings the screen's normal onto a direction of the crystal."""
    direction = np.asarray(direction) / np.linalg.norm(direction)
    axis = np.cross([0, 0, 1], direction)
    sine = np.linalg.norm(axis)
    if sine < 1e-9:
        return Rotation.identity()
    return Rotation.from_axes_angles(axis / sine, np.arctan2(sine, direction[2]))


def turned(standing, turn):
    """Orientations of a crystal after turns about the screen's normal (row to column axis)."""
    return standing * Rotation.from_axes_angles([0, 0, -1], np.atleast_1d(turn)) * to_screen


directions, folds = [(0, 0, 1), (1, 1, 1), (0, 1, 1), (1, 2, 3)], np.array([4, 3, 2, 1])
names = ["[001]", "[111]", "[011]", "[123]"]
standing = [along_normal(direction) for direction in directions]

# %%
rng = np.random.default_rng(3)
side, step = 32, 0.5  # positions, and their distance in um
seeds = rng.uniform(0, side, (8, 2))
row, col = np.indices((side, side))
grain = np.hypot(row[..., None] - seeds[:, 0], col[..., None] - seeds[:, 1]).argmin(-1)
kind = grain % 4
bending = np.radians(rng.uniform(-0.3, 0.3, (8, 2)))[grain]  # per position
offset = np.stack([row, col], -1) - seeds[grain]
turn = rng.uniform(0, 2 * np.pi, 8)[grain] + (bending * offset).sum(-1)


def film(detector):
    """Noise-free patterns of the film on a detector."""
    shape = [n // 2 for n in detector.shape]
    clean = np.empty((side, side, *shape), dtype=np.float32)
    for k in range(4):
        clean[kind == k] = project(turned(standing[k], turn[kind == k]), detector)
    return clean


def recorded(clean, counts):
    """Counts of a camera: bands of weak contrast on a background, and Poisson noise."""
    return rng.poisson(counts * (1 + 0.35 * clean)).astype(np.uint16)


clean = film(screen())
counts = recorded(clean, 20)
examples = [tuple(np.argwhere(kind == k)[50]) for k in range(4)]
maps(
    {
        **{f"{names[k]}, without noise": (clean[examples[k]], "gray", "") for k in range(4)},
        **{f"{names[k]}, recorded": (counts[examples[k]], "gray", "") for k in range(4)},
    },
    step=POINT,
    units="mm",
    bar=False,
)
quarter = [project(turned(standing[3], angle), screen())[0] for angle in (0.2, 0.2 + np.pi / 2)]
print("turned by 90°, largest difference:", np.abs(np.rot90(quarter[0]) - quarter[1]).max())

# %% [markdown]
# The last line is the promise of this geometry: a crystal that is turned by 90° gives the pattern
# turned by 90°, but for rounding.
#
# In one recorded pattern you hardly see the bands: there are 16 electrons in a pixel, and the bands
# change that by one or two.
#
# ## What the usual maps show
#
# The centre of mass (COM) of a Kikuchi pattern says next to nothing, because bands run over the
# whole screen in all directions.

# %%
middle = (SIZE - 1) / 2
rows, columns = np.indices((SIZE, SIZE)) - middle
total = counts.sum((-2, -1))
com = ((counts * rows).sum((-2, -1)) + 1j * (counts * columns).sum((-2, -1))) / total
maps(
    {
        "mean intensity": (counts.mean((-2, -1)), "inferno", "electrons"),
        "COM length": (np.abs(com), "inferno", "pixels"),
        "COM direction": (np.angle(com), "cyclic", "rad"),
        "truth: turn x fold": (turn * folds[kind], "cyclic", "rad"),
    },
    step=step,
    units="µm",
)
# %% [markdown]
# ## What the model shows
#
# There is no direct beam in an EBSD pattern whose place could be found. **Give the projection
# centre**, which every indexing program knows. In pixels counted from 0 it is
# `PCy * rows - 0.5, PCx * columns - 0.5` in the convention of Bruker and kikuchipy.

# %%
model = RRVAE(latent_dim=2, center=(middle, middle), random_state=0, progress=False)
codes = model.fit(counts).encode(counts)
maps(
    {
        "truth: grains": (grain, "classes", ""),
        "z1": (codes.z[..., 0], "viridis", ""),
        "z2": (codes.z[..., 1], "viridis", ""),
        "fold": (codes.fold, "classes", ""),
    },
    step=step,
    units="µm",
)
# %% [markdown]
# Two grains with the same direction along the normal have the same latents, however they are
# turned: that is what the latents are for. `fold` is the symmetry of the pattern: 4 along [001],
# 3 along [111], 2 along [011], 1 along [123]. (In a powder of orientations no two grains are alike,
# and `z` changes from grain to grain.)
#
# What the model draws for the four positions above, without noise, as far as the circle
# about the centre lies well inside the screen:

# %%
drawn = np.where(np.hypot(rows, columns) < middle - 5, model.reconstruct(codes), np.nan)
maps(
    {f"{names[k]}, drawn": (drawn[examples[k]], "gray", "") for k in range(4)},
    step=POINT,
    units="mm",
    bar=False,
)
# %% [markdown]
# The bands are there, though noise hides them in each recorded pattern: the model has learned them
# from all positions of a kind, each turned to fit. Now the turns.


# %%
def off(angle, fold, own):
    """Errors of angles in degrees, each kind with a zero of its own; NaN where folds are wrong."""
    errors = np.full(angle.shape, np.nan)
    for k in range(4):
        chosen = own & (kind == k) & (fold == folds[k])
        if chosen.any():
            phasor = np.exp(1j * folds[k] * (angle - turn)[chosen])
            errors[chosen] = np.angle(phasor / phasor.mean()) / folds[k]
    return np.degrees(errors)


everywhere = np.ones_like(kind, dtype=bool)
# A kind's zero is free: how is [001] turned against [111]? Here each takes that of the truth.
error = off(codes.angle, codes.fold, everywhere)
by_com = off(np.angle(com), folds[kind], everywhere)
maps(
    {
        "truth: turn x fold": (turn * folds[kind], "cyclic", "rad"),
        "angle x fold": ((turn + np.radians(error)) * folds[kind], "cyclic", "rad"),
        "|angle - turn|": (np.abs(error), "magma", "°"),
        "error bar of angle": (np.degrees(codes.angle_std), "magma", "°"),
    },
    step=step,
    units="µm",
)
# %%
mixture = GaussianMixture(4, random_state=0, n_init=5).fit(codes.z.reshape(-1, 2))
found = mixture.predict(codes.z.reshape(-1, 2)).reshape(kind.shape)
agree = adjusted_rand_score(kind.ravel(), found.ravel())
print(f"clusters of z and directions agree: {agree:.2f}  (1 perfect, 0 chance)")
print("direction  positions  fold right  error of angle (°)  error bar (°)  COM's error (°)")
for k in range(4):
    own = kind == k
    print(
        f"{names[k]:9} {own.sum():10} {np.mean(codes.fold[own] == folds[k]):11.0%}"
        f" {np.nanmedian(np.abs(error[own])):19.2f}"
        f" {np.degrees(np.median(codes.angle_std[own])):14.2f}"
        f" {np.nanmedian(np.abs(by_com[own])):16.1f}"
    )

# %% [markdown]
# A guess would be wrong by 22, 30, 45 and 90° (a quarter of each period), and COM's direction is
# little better but for the 1-fold patterns. The model's is right to a quarter of a degree, and its
# error bar says so (a median error is 0.67 of a standard deviation).
#
# ## When the projection centre is not where you say
#
# Now the centre lies some pixels to the right of the middle, and we do not tell the model.

# %%
shifts = np.array([0.0, 0.25, 0.5, 1.0, 1.5, 2.0])
wrong, right = [], []
for shift in shifts:
    moved = recorded(film(screen((0.5 + shift / SIZE, 0.5, 0.5))), 20)
    theirs = model.encode(moved)
    right.append(np.mean(theirs.fold == folds[kind]))
    # With the true fold, so that the angle is judged apart from the fold.
    best = off(np.mod(theirs.angle, 2 * np.pi / folds[kind]), folds[kind], theirs.fold > 0)
    wrong.append(np.nanmedian(np.abs(best)))
figure, (left, other) = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained")
left.plot(shifts, wrong, "o-", color="#332288")
left.set(xlabel="projection centre off by (pixels)", ylabel="error of angle (°)", yscale="log")
other.plot(shifts, np.multiply(right, 100), "o-", color="#cc6677")
other.set(xlabel="projection centre off by (pixels)", ylabel="fold right (%)", ylim=(0, 105))
for shift, angle, share in zip(shifts, wrong, right, strict=True):
    print(f"off by {shift:4.2f} pixels: angle to {angle:.2f}°, fold right at {share:.0%}")

# %% [markdown]
# The fold suffers first: about a wrong point no pattern is symmetric. Half a pixel is 1 % of this
# screen. An error of that size costs little, one of two pixels everything.
#
# ## Nine measured patterns
#
# kikuchipy also brings nine patterns that were measured on nickel, 3 x 3 positions. We divide by
# the background, as is usual.

# %%
measured = kp.data.nickel_ebsd_small()
measured.remove_static_background("divide", show_progressbar=False)
measured.remove_dynamic_background("divide", show_progressbar=False)
nine = measured.data.astype(float)
pitch = measured.axes_manager.navigation_axes[0].scale  # um
pc = measured.detector.pc_average
center = (pc[1] * nine.shape[-2] - 0.5, pc[0] * nine.shape[-1] - 0.5)
print(f"projection centre at row {center[0]:.1f}, column {center[1]:.1f} of {nine.shape[-2:]}")
figure, axes = maps(
    {f"row {i // 3}, column {i % 3}": (nine[i // 3, i % 3], "gray", "") for i in range(9)},
    step=1,
    units="pixels",
    columns=3,
    width=6,
    bar=False,
)
for ax in axes:
    ax.plot(center[1], center[0], "+", color="#ddcc77", markersize=11, markeredgewidth=2)

# %% [markdown]
# The yellow cross is the projection centre. It is near the upper edge, so **a turn brings in what
# was outside the screen.** The geometry above was chosen so that turns are exact; this one is not.
#
# *What nine patterns cannot do:* train a model. It would learn nine patterns by heart, and noise.
# *What they need no model for:* whether two of them are of one grain. Correlate them.

# %%
flat = nine.reshape(9, -1)
alike = np.corrcoef(flat)
one = alike[0] > 0.4  # of the grain of the first pattern
same = one[:, None] == one
figure, ax = plt.subplots(figsize=(3.6, 2.9), layout="constrained")
image = ax.imshow(np.where(np.eye(9) > 0, np.nan, alike), cmap="viridis", vmin=0)
figure.colorbar(image, label="correlation")
ax.set(xlabel="pattern", ylabel="pattern", xticks=range(9), yticks=range(9))
pairs = ~np.eye(9, dtype=bool)
print(f"same grain:   {alike[pairs & same].min():.2f} to {alike[pairs & same].max():.2f}")
print(f"other grain:  {alike[~same].min():.2f} to {alike[~same].max():.2f}")

# %% [markdown]
# Two grains: the left column, and the rest. Positions are counted row by row.
#
# *What a model can do for them:* learn from simulated patterns. The patterns were indexed (their
# orientations come with them). We take the two grains' orientations, turn the crystals about the
# screen's normal to everywhere, and project them onto a screen with the measured projection
# centre. The contrast and the noise are made as strong as the measured ones: two patterns of one
# grain correlate by a half, so half of what varies in them is noise.

# %%
camera = screen(tuple(pc), nine.shape[-1])
first = int(np.flatnonzero(one)[0]), int(np.flatnonzero(~one)[0])
indexed = measured.xmap.rotations.flatten()
both = [indexed[i] * ~to_screen for i in first]
which, turns = rng.integers(2, size=1000), rng.uniform(0, 2 * np.pi, 1000)
simulated = np.empty((1000, *nine.shape[-2:]))
for k in range(2):
    simulated[which == k] = project(turned(both[k], turns[which == k]), camera)
at_dose = 160
learned = RRVAE(latent_dim=1, center=center, max_epochs=50, random_state=0, progress=False)
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    learned.fit(recorded(simulated, at_dose))
print("the model warns:", *[warning.message for warning in told])

# %% [markdown]
# The warning is right: less than half of the circle is on the screen. Now the nine patterns, scaled
# so that what they share with the simulated ones is as strong as there.

# %%
as_indexed = project(indexed, camera)
pixels = (patterns.reshape(9, -1) for patterns in (nine, as_indexed))
shared = np.mean([np.corrcoef(*pair)[0, 1] for pair in zip(*pixels, strict=True)])
spread = (nine - nine.mean((-2, -1), keepdims=True)) / nine.std((-2, -1), keepdims=True)
mean, contrast = 1 + 0.35 * simulated.mean(), 0.35 * simulated.std() / shared
scaled = np.clip(at_dose * (mean + contrast * spread), 0, None).round().astype(np.uint16)
of_nine = learned.encode(scaled)
expected = learned.encode(recorded(as_indexed, at_dose))  # as they were indexed
by_index = expected.angle.reshape(3, 3)
apart = np.degrees(np.angle(np.exp(1j * (of_nine.angle - by_index))))
maps(
    {
        "grain, by correlation": (np.where(one, 1, 2).reshape(3, 3), "classes", ""),
        "z1": (of_nine.z[..., 0], "viridis", ""),
        "angle": (of_nine.angle, "cyclic", "rad"),
        "|angle - indexing|": (np.abs(apart), "magma", "°"),
    },
    step=pitch,
    units="µm",
)
print(f"error: {of_nine.error.min():.2f} to {of_nine.error.max():.2f}, simulated ones 1.0")
for k, name in enumerate(("left column", "the rest")):
    own = (one if k == 0 else ~one).reshape(3, 3)
    z, degrees = of_nine.z[own, 0], np.degrees(of_nine.angle[own])
    print(
        f"{name}: z1 {z.min():.2f} to {z.max():.2f}, simulated"
        f" {expected.z[own.ravel(), 0].mean():.2f}; angle {degrees.mean():.1f}°,"
        f" within {np.ptp(degrees):.1f}°"
    )
farthest, usual = np.abs(apart).max(), np.median(np.abs(apart))
print(f"angle against indexing: median {usual:.2f}°, most {farthest:.2f}°")

# %% [markdown]
# The model was trained on no measured pattern, and sorts all nine by grain. Their turns agree with
# the indexing to half a degree.
#
# *What may not be concluded:*
#
# - `error` is above 3: the simulation explains the measured patterns in part only, so the
#   latents scatter farther about the simulated ones than their error bars say.
# - The two orientations were known. The model says which of the two, and how far turned. A third
#   orientation would be given one of these, with a large `error`.
# - Nine patterns show nothing of how often this fails.
#
# ## X-ray ptychography
#
# In *ptychography* a beam of some width visits places that overlap, and from all patterns together
# an image is computed. The maps of this package need no such computation: each pattern is looked
# at for itself. They can be had before the reconstruction, or where it fails.
#
# The next cells need two measured scans of a *Siemens star*, a test object of radial spokes:
# `siemens-star-small.npz.bz2` of the project tike, and `PETRAIII_P25_Near_Field_Ptycho.cxi` of the
# project cdtools. Put them into a folder, and set the environment variable
# `PY4DSTEM_RRVAE_MEASURED` to it before Jupyter starts. Without them these cells are skipped.

# %%
place = os.environ.get("PY4DSTEM_RRVAE_MEASURED")
files = ("siemens-star-small.npz.bz2", "PETRAIII_P25_Near_Field_Ptycho.cxi")
folder = Path(place) if place and all((Path(place) / file).exists() for file in files) else None
if folder is None:
    print(
        "These cells are skipped: set PY4DSTEM_RRVAE_MEASURED to a folder with "
        f"{' and '.join(files)}."
    )


def disagreement(angle, places, middle, beyond=0.0):
    """Angle against the azimuth about a point, degrees; both are the same after 180°.

    Only positions farther than `beyond` set the zero, and are meant.
    """
    row, col = (places - middle).T
    phasor = np.exp(2j * (angle - np.arctan2(col, row)))
    meant = np.hypot(row, col) >= beyond
    return np.degrees(np.angle(phasor / np.nanmean(phasor[meant])) / 2), meant


def middle_of_star(angle, places, tried, beyond=0.0):
    """Point about which angles and azimuths agree best, among those tried."""
    costs = []
    for point in tried:
        differs, meant = disagreement(angle, places, point, beyond)
        costs.append(np.nanmedian(np.abs(differs[meant])))
    return tried[int(np.argmin(costs))]


# %% [markdown]
# ### Far field
#
# 516 patterns on a spiral. They were saved with the beam in the corner (`fftshift` brings it to
# the middle). The positions are in pixels of the image that one would reconstruct; the pixel's
# size is not in the file.

# %%
if folder:
    with bz2.open(folder / files[0]) as packed:
        star = np.load(io.BytesIO(packed.read()))
    patterns = np.fft.fftshift(star["data"][0], axes=(-2, -1))
    places = star["scan"][0].astype(float)
    chosen = [60, 90, 151, 272, 302, 363]
    maps(
        {
            f"at ({places[i][0]:.0f}, {places[i][1]:.0f})": (
                np.sqrt(patterns[i, 24:104, 24:104]),
                "gray_r",
                "",
            )
            for i in chosen
        },
        step=1,
        units="pixels",
        columns=6,
        bar=False,
    )

# %% [markdown]
# Each pattern shows the edges of the spokes under the beam as stripes. The pale disc is the shadow
# of a stop in the middle of the lens. It does not disturb, because it is round and in the middle.
#
# What comes as (n, rows, columns) needs no grid. `center` is found in the mean pattern. A warning
# says that the beam wanders by a third of a pixel; `center="each"` follows it, takes more than
# twice the time, and changes nothing here.

# %%
if folder:
    of_star = RRVAE(latent_dim=2, random_state=0, progress=False)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        star_codes = of_star.fit(patterns).encode(patterns)
    print(*[warning.message for warning in told], sep="\n")
    tried = np.stack(np.meshgrid(*[np.arange(-40, 41, 2)] * 2, indexing="ij"), -1).reshape(-1, 2)
    star_middle = middle_of_star(star_codes.angle, places, tried, beyond=95)
    row, col = (places - star_middle).T
    radius, azimuth = np.hypot(row, col), np.arctan2(col, row)
    differs, _ = disagreement(star_codes.angle, places, star_middle, beyond=95)
    print("middle of the star:", star_middle)
    points(
        {
            "azimuth x 2": (2 * azimuth, "cyclic", "rad"),
            "angle x 2": (2 * (azimuth + np.radians(differs)), "cyclic", "rad"),
            "|angle - azimuth|": (np.minimum(np.abs(differs), 10), "magma", "° (10 or more)"),
            "z1": (star_codes.z[:, 0], "viridis", ""),
        },
        places,
        units="pixels",
    )

# %%
if folder:
    zones = [(0, 50), (50, 95), (95, 140), (140, 240)]
    print("distance   patterns  median difference (°)  error bar (°)")
    medians = []
    for low, high in zones:
        own = (radius >= low) & (radius < high) & np.isfinite(differs)
        medians.append(np.median(np.abs(differs[own])))
        bar = np.degrees(np.median(star_codes.angle_std[own]))
        print(f"{low:3} to {high:3} {own.sum():9} {medians[-1]:17.1f} {bar:18.2f}")
    folding = KFold(5, shuffle=True, random_state=0)
    guessed = cross_val_predict(KNeighborsRegressor(8), star_codes.z, radius, cv=folding)
    known = 1 - np.var(radius - guessed) / np.var(radius)
    print(f"of the distance's variance, z explains {known:.0%} (in patterns left out)")
    far = (radius >= 95) & (np.abs(differs) < 8)
    guessed = cross_val_predict(
        KNeighborsRegressor(15), star_codes.z[far], differs[far], cv=folding
    )
    by_z = 1 - np.var(differs[far] - guessed) / np.var(differs[far])
    print(f"of the difference's variance where spokes are wide, z explains {by_z:.0%}")
    figure, axes = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained", sharex=True)
    for k, ax in enumerate(axes):
        ax.plot(radius, star_codes.z[:, k], ".", color="#332288", markersize=4)
        ax.set(xlabel="distance from the star's middle (pixels)", ylabel=f"z{k + 1}")

# %% [markdown]
# *What the maps show.* The middle of the star is found from the angles alone: it is the point
# about which they agree with the azimuth. Where spokes are wide apart, they agree to 2°. `z` holds
# how wide the spokes are: it tells the distance from the middle.
#
# *What they do not show.* Near the middle the beam covers many spokes, and a fan of spokes is not
# one direction: the angle stays the same, as if nothing turned. In the upper right corner there are
# hardly any stripes, and the angle means nothing either. Where spokes are wide, the error bar is
# 2°, too. The counts alone would let the angle repeat to 0.2°; but much of a pattern is no stripe,
# two latents do not hold it, and the bar says how far it pulls the angle. The bar does not hold how
# the zero of the angle moves from one kind of pattern to the next: which direction of a pattern
# with one edge is "the same" as one of a pattern with three? A fifth to a third of the difference
# is of this kind, as `z` foretells it. So read differences between *like* patterns to the error
# bar, and others to some degrees.
#
# ### Near field
#
# Here the detector stands so near that each pattern is a magnified shadow of the star, 200 of them.
# The mask of the camera and the positions are in the file. We sum 2 x 2 pixels, as 50 x 50 show
# all there is.

# %%
if folder:
    with h5py.File(folder / files[1]) as file:
        entry = file["entry_1"]
        shadows = entry["instrument_1/detector_1/data"][:].reshape(200, 50, 2, 50, 2).sum((2, 4))
        bad = entry["instrument_1/detector_1/mask"][:] != 0  # 1 means: leave out
        moved = entry["sample_1/geometry_1/translation"][:][:, 1::-1] * 1e6  # row, col in um
    keep = ~bad.reshape(50, 2, 50, 2).any((1, 3))
    average = shadows.mean(0)
    lit = average > 0.1 * average.max()
    middle_of_beam = tuple(np.argwhere(lit).mean(0))
    near_places = -moved  # the sample moves, so the beam moves over it the other way
    maps(
        {
            "mean of the scan": (np.sqrt(average), "gray_r", ""),
            **{
                f"at ({near_places[i][0]:.0f}, {near_places[i][1]:.0f}) µm": (
                    np.sqrt(shadows[i]),
                    "gray_r",
                    "",
                )
                for i in (0, 12, 60, 120, 190)
            },
        },
        step=2 * 0.055,
        units="mm",
        columns=6,
        bar=False,
    )

# %% [markdown]
# The bright disc with its stripes on the left is the illumination. It is in every pattern, and it
# never turns. By default the model takes only what is round for fixed. So the strongest thing
# that breaks the symmetry is the illumination, and `angle` says how *it* is turned: by the same
# angle everywhere. `background="mean"` says instead: the mean of the scan is fixed, look at what
# differs from it.

# %%
if folder:
    near = {}
    for background in ("auto", "mean"):
        of_near = RRVAE(
            center=middle_of_beam,
            mask=keep,
            background=background,
            max_epochs=150,
            random_state=0,
            progress=False,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the wandering beam: nothing here has a beam
            near[background] = of_near.fit(shadows).encode(shadows)
    axes_tried = [np.arange(low, high, 0.5) for low, high in ((32, 46), (46, 60))]
    tried = np.stack(np.meshgrid(*axes_tried, indexing="ij"), -1).reshape(-1, 2)
    near_middle = middle_of_star(near["mean"].angle, near_places, tried)
    row, col = (near_places - near_middle).T
    near_azimuth, distance = np.arctan2(col, row), np.hypot(row, col)
    followed, _ = disagreement(near["mean"].angle, near_places, near_middle)
    near_error = {
        name: np.nanmedian(np.abs(disagreement(its.angle, near_places, near_middle)[0]))
        for name, its in near.items()
    }
    points(
        {
            "azimuth x 2": (2 * near_azimuth, "cyclic", "rad"),
            'angle x 2, "auto"': (2 * near["auto"].angle, "cyclic", "rad"),
            'angle x 2, "mean"': (2 * (near_azimuth + np.radians(followed)), "cyclic", "rad"),
            'z1, "mean"': (near["mean"].z[:, 0], "viridis", ""),
        },
        near_places,
        units="µm",
    )
    stuck = np.degrees(np.nanstd(near["auto"].angle))
    guessed = cross_val_predict(KNeighborsRegressor(8), near["mean"].z, distance, cv=folding)
    near_known = 1 - np.var(distance - guessed) / np.var(distance)
    print(f'"auto": all angles within {stuck:.1f}° (standard deviation)')
    print(f'"mean": middle of the star at {near_middle}, angles to {near_error["mean"]:.1f}°')
    print(f'"mean": z explains {near_known:.0%} of the distance from it')

# %% [markdown]
# With the mean as background the angle follows the spokes to some 6°. The middle of the star that
# follows from the angles is where the first shadow shows it. `z1` tells the distance from it. Next
# to the middle, spokes go in all directions, and the angle is undefined (black).
#
# *What the maps do not show:* 6° is four times the error bar, for the zero of the angle moves. A
# shadow shows the star moved about on the detector. That is a shift, not a turn, and the model has
# no shift: its latents must spell it out as so many different patterns, and two cannot do it all.
#
# ## Questions
#
# **1.** A grain is turned about the *sample's* normal, as all maps of grains draw it. What do `z`
# and `angle` say?
#
# <details><summary>Answer</summary>
#
# The sample's surface is tilted by 70° to the horizontal, and its normal is 20° from the screen's.
# Such a turn tilts the crystal as seen from the screen: another direction points along the
# screen's normal. Both `z` and `angle` change. For an orientation in the sample's frame one needs
# an indexing program; the maps are for seeing grains and bending without one.
# </details>
#
# **2.** You scan over 2 mm of a sample, and the projection centre moves by up to 2 mm on the
# screen. What now?
#
# <details><summary>Answer</summary>
#
# On the first screen that is four pixels, and the fold and the latents would be wrong. Give one
# centre for each position: `RRVAE(center=array)`, where the array has the shape (rows, columns, 2).
# The indexing program has fitted how the centre follows from the position.
# </details>
#
# **3.** Two trainings on the far-field scan, with two seeds, give angles that are 10° apart, and
# the error bar says 2°. Is the error bar wrong?
#
# <details><summary>Answer</summary>
#
# Not among patterns that are alike: there the two differ by 0.6° (median). But patterns with other
# `z` have other zeros, and each training chooses them anew. Ask for differences between patterns
# with the same `z`.
# </details>
#
# ## Check

# %%
assert np.allclose(np.rot90(quarter[0]), quarter[1], atol=1e-6), "the truth of the turn is exact"
assert agree > 0.98, "latents tell the directions along the normal"
assert np.mean(codes.fold == folds[kind]) > 0.98, "and the fold is right"
assert np.nanmedian(np.abs(error)) < 0.35, "the angle is right"
assert 0.5 < np.nanmean(np.abs(error) < np.degrees(codes.angle_std)) < 0.9, "its error bar too"
assert np.nanmedian(np.abs(by_com)) > 10 * np.nanmedian(np.abs(error)), "COM's direction is not"
assert right[0] > 0.96 > 0.8 > right[3], "a pixel off, and the fold is wrong"
assert wrong[0] < wrong[3] < wrong[4], "and the angle gets worse"
assert alike[pairs & same].min() > alike[~same].max(), "correlation tells the two grains"
z_left, z_rest = (of_nine.z[own.reshape(3, 3), 0] for own in (one, ~one))
assert z_left.min() > z_rest.max() or z_left.max() < z_rest.min(), "and so does the model"
assert np.abs(apart).max() < 1.5, "with the turns that indexing found"
assert of_nine.error.min() > 1.4, "but it does not explain the measured patterns"
if folder:
    assert max(medians[2:]) < 4 < medians[0], "the angle follows the spokes where they are wide"
    assert known > 0.7, "z holds how wide they are"
    assert by_z > 0.1, "what the angle is off by goes with z, so it is no noise"
    assert stuck < 2 and near_error["auto"] > 30, "a fixed illumination holds the angle"
    assert near_error["mean"] < 10, "unless it is told to be fixed"
    assert near_known > 0.7, "and z tells the distance"
