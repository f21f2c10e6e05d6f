# SPDX-License-Identifier: GPL-3.0-or-later
"""The figure of the maps: what is drawn, in which colours, at which scale."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.colors import to_rgb
from matplotlib_scalebar.scalebar import ScaleBar

from py4dstem_rrvae.maps.latent import LatentMap, period_of
from py4dstem_rrvae.plot import UNDEFINED, cyclic_colours, maps_figure
from py4dstem_rrvae.plot.canvas import as_drawn

SCAN = (12, 20)


def some_maps():
    rng = np.random.default_rng(0)
    fold = np.ones(SCAN, dtype=int)
    fold[:, 5:], fold[:, 10:], fold[:, 15:] = 2, 3, 0
    angle = np.where(fold > 0, rng.uniform(0, 1, SCAN) * np.nan_to_num(period_of(fold)), np.nan)
    maps = [
        LatentMap(name, rng.normal(size=SCAN), units, None, "")
        for name, units in {
            "com_x": "A^-1",
            "com_y": "A^-1",
            "dpc_phase": "2 pi rad",
            "z1": "dimensionless",
            "z2": "dimensionless",
            "z1_std": "dimensionless",
            "error": "dimensionless",
        }.items()
    ]
    maps += [
        LatentMap("angle", angle, "rad", period_of(fold), ""),
        LatentMap("fold", fold, "dimensionless", None, ""),
    ]
    return {map_.name: map_ for map_ in maps}


def draw(maps, **options):
    figure = maps_figure(maps, **({"pixel_size": 0.5, "units": "A"} | options))
    figure.canvas.draw()
    return {ax.get_title(): ax for ax in figure.axes if ax.get_title()}


def shown(ax):
    return ax.images[0].get_array()


def test_panels_in_order_and_nothing_else():
    panels = draw(some_maps(), collapsed=["z2"])
    assert list(panels) == [
        "COM magnitude",
        "COM direction",
        "DPC phase",
        "z1",
        "z2 (collapsed)",
        "angle x fold",
        "fold",
        "error",
    ]
    maps = some_maps()
    np.testing.assert_allclose(
        shown(panels["COM magnitude"]), np.hypot(maps["com_x"].values, maps["com_y"].values)
    )


def test_hands_scores_and_angles_without_jumps_are_drawn_where_there_are_any():
    rng = np.random.default_rng(0)
    names = ["handedness", "rotation_5", "rotation_6", "rotation_2", "mirror_score", "mirror_axis"]
    maps = {n: LatentMap(n, rng.random(SCAN), "", None, "") for n in names}
    fold = np.full(SCAN, 3)
    smoothed = LatentMap("angle_smoothed", rng.random(SCAN), "rad", period_of(fold), "")
    turned = LatentMap("angle_unwrapped", 9 * rng.random(SCAN), "rad", None, "")
    maps |= {"angle_smoothed": smoothed, "angle_unwrapped": turned}
    panels = draw(maps)
    assert list(panels) == [
        "smoothed angle x fold",
        "unwrapped angle",
        "handedness",
        "2-fold score",
        "6-fold score",
        "mirror score",
        "mirror axis x 2",
    ]
    np.testing.assert_allclose(shown(panels["smoothed angle x fold"]), 3 * smoothed.values)
    np.testing.assert_allclose(shown(panels["mirror axis x 2"]), 2 * maps["mirror_axis"].values)
    assert panels["handedness"].images[0].get_clim() == (0, 1)
    ranges = {panels[f"{n}-fold score"].images[0].get_clim() for n in (2, 6)}
    assert len(ranges | {panels["mirror score"].images[0].get_clim()}) == 1


@pytest.mark.parametrize(("median", "drawn"), [(0.1, True), (0.6, False)])
def test_reliability_is_drawn_where_angles_are_doubtful(median, drawn):
    values = np.full(SCAN, median)
    values[0] = 0  # no angle there
    maps = some_maps() | {"angle_reliability": LatentMap("angle_reliability", values, "", None, "")}
    assert ("reliability of the angle" in draw(maps)) is drawn


def test_latents_are_drawn_alone_and_in_numerical_order():
    maps = {f"z{k}": LatentMap(f"z{k}", np.ones(SCAN), "", None, "") for k in (10, 9, 1)}
    assert list(draw(maps)) == ["z1", "z9", "z10"]


def test_angles_a_period_apart_have_one_colour():
    maps = some_maps()
    angle = maps["angle"]
    moved = LatentMap("angle", angle.values + angle.period, "rad", angle.period, "")
    before = draw(maps)["angle x fold"].images[0]
    after = draw(maps | {"angle": moved})["angle x fold"].images[0]
    assert not np.ma.allclose(before.get_array(), angle.values)
    difference = before.to_rgba(before.get_array()) - after.to_rgba(after.get_array())
    assert np.abs(difference).max() < 0.05


def test_directions_share_the_angle_s_colours():
    panels = draw(some_maps())
    com, angle = (panels[name].images[0] for name in ("COM direction", "angle x fold"))
    assert com.get_clim() == angle.get_clim() == (0, pytest.approx(2 * np.pi))
    np.testing.assert_array_equal(com.cmap.colors, angle.cmap.colors)


def test_undefined_angles_are_grey():
    image = draw(some_maps())["angle x fold"].images[0]
    rgba = image.to_rgba(image.get_array())
    np.testing.assert_allclose(rgba[0, -1, :3], to_rgb(UNDEFINED))
    assert not np.allclose(rgba[0, 0, :3], to_rgb(UNDEFINED))


def test_the_cyclic_colours_close_and_differ():
    colours = cyclic_colours().colors
    steps = np.linalg.norm(np.diff(colours, axis=0, append=colours[:1]), axis=1)
    assert steps.max() < 0.05
    opposite = np.linalg.norm(colours - np.roll(colours, 128, axis=0), axis=1)
    assert opposite.min() > 0.25


def test_folds_are_labelled_with_their_numbers():
    figure = maps_figure({"fold": some_maps()["fold"]}, pixel_size=1.0, units="nm")
    figure.canvas.draw()
    (bar,) = figure.axes[0].child_axes
    assert [label.get_text() for label in bar.get_yticklabels()] == ["none", "1", "2", "3"]


def test_one_bad_position_does_not_take_all_the_colours():
    maps = {"z1": LatentMap("z1", np.random.default_rng(1).normal(size=(40, 40)), "", None, "")}
    maps["z1"].values[3, 4] = 1e6
    assert draw(maps)["z1"].images[0].get_clim()[1] < 10


@pytest.mark.parametrize("values", [np.full(SCAN, np.nan), np.full(SCAN, 3.0)])
def test_maps_without_contrast_are_drawn(values):
    low, high = draw({"z1": LatentMap("z1", values, "", None, "")})["z1"].images[0].get_clim()
    assert low < high


@pytest.mark.parametrize(
    ("pixel_size", "units", "label"),
    [
        (0.5, "A", "2 Å"),
        (3.7, "nm", "20 nm"),
        (1, "pixels", "5 px"),
        (2e-3, "furlong", "0.01 furlong"),
    ],
)
def test_the_scale_bar_has_the_scan_s_scale(pixel_size, units, label):
    ax = draw(some_maps(), pixel_size=pixel_size, units=units)["z1"]
    (bar,) = (artist for artist in ax.artists if isinstance(artist, ScaleBar))
    length = float(label.split()[0])
    assert bar.scale_formatter(bar.fixed_value, bar.units) == label
    assert bar.dx == pixel_size
    assert length == pytest.approx(bar.fixed_value)
    assert length <= SCAN[1] * pixel_size / 3


def test_colour_bars_carry_units():
    panels = draw(some_maps())
    labels = {name: ax.child_axes[0].get_ylabel() for name, ax in panels.items()}
    assert labels["COM magnitude"] == "Å$^{-1}$"
    assert labels["DPC phase"] == "2π rad"
    assert labels["z1"] == ""


@pytest.mark.slow
def test_pyplot_is_left_alone(tmp_path):
    code = (
        "import sys, numpy as np\n"
        "from py4dstem_rrvae.maps import LatentMap\n"
        "from py4dstem_rrvae.plot import maps_figure\n"
        "z = LatentMap('z1', np.ones((4, 5)), '', None, '')\n"
        "maps_figure({'z1': z}, pixel_size=1.0, units='A').savefig(sys.argv[1])\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "z.png")], check=True)


def test_saving_needs_no_display(tmp_path, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    figure = maps_figure(some_maps(), pixel_size=0.5, units="A", title="graphene")
    figure.savefig(tmp_path / "maps.png")
    assert (tmp_path / "maps.png").stat().st_size > 10_000


@pytest.mark.parametrize("words", ["cut $1 of $2", r"\$a_{$", r"$\frac{$", "$x_$"])
def test_words_of_the_user_that_are_no_formula_are_drawn_as_they_are(words):
    draw(some_maps(), title=words, units=words)
    draw({"z1": LatentMap("z1", np.zeros(SCAN), words, None, "")})


def test_formulas_of_the_user_are_set():
    assert as_drawn("Bi$_2$Se$_3$ $x") == "Bi$_2$Se$_3$ $x"
    assert as_drawn("$x_$") == r"\$x_\$"


def test_latex_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    with rc_context({"text.usetex": True}), pytest.raises(ValueError, match="set text with LaTeX"):
        maps_figure(some_maps(), pixel_size=0.5, units="A")


def test_nothing_to_draw():
    with pytest.raises(ValueError, match=r"must hold one of com_x .* got z1_std"):
        maps_figure({"z1_std": some_maps()["z1_std"]}, pixel_size=1.0, units="A")
    with pytest.raises(ValueError, match="got none"):
        maps_figure({}, pixel_size=1.0, units="A")


def test_maps_of_different_scans_are_refused():
    maps = some_maps() | {"z2": LatentMap("z2", np.ones((3, 4)), "", None, "")}
    with pytest.raises(ValueError, match=r"2-D of one shape; got \[\(3, 4\), \(12, 20\)\]"):
        maps_figure(maps, pixel_size=1.0, units="A")
    with pytest.raises(ValueError, match=r"2-D of one shape; got \[\(4,\)\]"):
        maps_figure({"z1": LatentMap("z1", np.ones(4), "", None, "")}, pixel_size=1.0, units="A")
