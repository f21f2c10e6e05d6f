# SPDX-License-Identifier: GPL-3.0-or-later
"""Clicks, drags and keys on matplotlib's own canvas, and what they draw."""

import numpy as np
import pytest
from exploring import SCAN, click, codes_of, drag, event, pixels, press, view_of
from matplotlib import rc_context
from matplotlib.colors import to_rgb

from py4dstem_rrvae.explore import State
from py4dstem_rrvae.explore.pictures import CHOSEN, LESS_MEAN, MOST_DOTS, NEAR
from py4dstem_rrvae.explore.state import REACH
from py4dstem_rrvae.explore.view import BOX
from py4dstem_rrvae.explore.words import Scale

PIXEL = 0.03
"""Of the plane, in latents, rounded up: events are at whole pixels."""


@pytest.fixture(scope="module")
def frames(few):
    return few.reshape(*SCAN, 16, 16)


@pytest.fixture(scope="module")
def known(quick, frames):
    return quick.encode(frames)


@pytest.fixture
def view(frames, known, quick):
    said = []
    view = view_of(State(frames, known, model=quick), scale=Scale(0.5, "nm"), changed=said.append)
    view.said = said
    return view


def shown(view):
    """Patterns that are drawn: measured, decoded."""
    return [ax.images[0].get_array() for ax in view.figure.axes[2:4]]


def colours(view, ax):
    """All colours within some axes."""
    box = ax.bbox.extents.round().astype(int)
    image = pixels(view)[::-1][box[1] : box[3], box[0] : box[2], :3]
    return {tuple(c) for c in image.reshape(-1, 3).tolist()}


def has(view, ax, colour):
    return tuple(round(255 * part) for part in to_rgb(colour)) in colours(view, ax)


def test_a_user_s_own_settings_turn_nothing_upside_down(frames, known, quick):
    def drawn():
        view = view_of(State(frames, known, model=quick))
        view.state.select(-9, 0, -9, 9)
        view.refresh()
        return pixels(view)

    usual = drawn()
    with rc_context({"image.origin": "lower", "image.interpolation": "bilinear"}):
        view = view_of(State(frames, known, model=quick))
        assert all(ax.yaxis_inverted() for ax in (view.map.ax, *view.figure.axes[2:4]))
    with rc_context({"image.origin": "lower"}):
        np.testing.assert_array_equal(drawn(), usual)


def test_a_click_on_the_map_shows_that_position(view, frames):
    click(view, view.map.ax, 7.4, 1.6)
    assert view.state.position == (2, 7)
    measured, decoded = shown(view)
    np.testing.assert_array_equal(measured, frames[2, 7])
    np.testing.assert_array_equal(decoded, view.state.decoded)
    assert view.said == [None]
    first, second = (ax.images[0].norm for ax in view.figure.axes[2:4])
    assert first is second


def test_a_click_draws_what_drawing_all_would(view):
    before = pixels(view)
    click(view, view.map.ax, 7, 2)
    quick = pixels(view)
    view.figure.canvas.draw()
    assert (quick != before).any()
    np.testing.assert_array_equal(quick, pixels(view))


def test_a_click_draws_nothing_that_stands_still(view, monkeypatch):
    drawn = []
    monkeypatch.setattr(type(view.figure), "draw", lambda *_: drawn.append(1))
    click(view, view.map.ax, 7, 2)
    click(view, view.plane.ax, 0, 0)
    assert not drawn


def test_positions_alike_light_up(view):
    ax = view.map.ax
    low, high = view.plane.ax.viewLim.get_points()
    grid = np.stack(np.meshgrid(*np.linspace(low, high, 20)[1:-1].T), -1).reshape(-1, 2)
    lonely = next(p for p in grid if not view.state.plane.near(p, 2 * REACH).any())
    event(view, "button_press_event", view.plane.ax, *lonely)
    assert not view.state.near.any()
    assert not has(view, ax, NEAR)
    event(view, "button_release_event", view.plane.ax, *view.state._point_of((0, 0)))
    assert view.state.near[0, 0]
    assert has(view, ax, NEAR)


def test_dragging_in_the_plane_decodes_where_the_mouse_is(view, monkeypatch):
    monkeypatch.setattr("py4dstem_rrvae.explore.view.PAUSE", -1.0)
    seen, plane = [], view.plane.ax
    view.changed = lambda _: seen.append((view.state.point, view.state.decoded.copy()))
    position = view.state.position
    drag(view, plane, (0, 0), (0.4, 0.1), (0.8, 0.3))
    points = np.array([point for point, _ in seen])
    np.testing.assert_allclose(points, [(0, 0), (0.4, 0.1), (0.8, 0.3), (0.8, 0.3)], atol=PIXEL)
    assert (seen[0][1] != seen[2][1]).any()
    assert view.state.position == position
    np.testing.assert_array_equal(shown(view)[1], view.state.decoded)
    event(view, "motion_notify_event", plane, 0, 0)
    assert view.state.point == pytest.approx((0.8, 0.3), abs=PIXEL)


def test_a_mouse_that_is_too_quick_is_caught_where_it_lets_go(view, monkeypatch):
    monkeypatch.setattr("py4dstem_rrvae.explore.view.PAUSE", 1e9)
    drag(view, view.plane.ax, (0, 0), *((k / 100, 0) for k in range(50)))
    assert view.state.point == pytest.approx((0.49, 0), abs=PIXEL)
    assert len(view.said) == 2


def test_a_box_is_dragged_and_held_within_the_plane(view, known):
    view.mode = BOX
    left, right = view.plane.ax.get_xlim()
    bottom, top = view.plane.ax.get_ylim()
    drag(view, view.plane.ax, (0, 0), (right + 50, top + 50))
    np.testing.assert_allclose(view.state.box, (0, right, 0, top), atol=PIXEL)
    np.testing.assert_array_equal(
        view.state.mask, (known.z >= np.array(view.state.box)[::2]).all(-1)
    )
    assert 0 < view.state.mask.sum() < 80
    for ax in (view.map.ax, view.plane.ax):
        assert has(view, ax, CHOSEN)
    drag(view, view.plane.ax, (0, 0), (left - 1, bottom - 1))
    np.testing.assert_array_equal(
        view.state.mask, (known.z <= np.array(view.state.box)[1::2]).all(-1)
    )


def test_other_buttons_and_other_places_do_nothing(view):
    click(view, view.map.ax, 7, 2, button=3)
    click(view, view.figure.axes[2], 3, 3)
    drag(view, view.figure.axes[3], (3, 3), (5, 5))
    assert not view.said
    view.figure.canvas.widgetlock(view)  # as while the toolbar zooms
    click(view, view.map.ax, 7, 2)
    assert not view.said


def test_arrow_keys_step_and_stop_at_the_edge(view):
    view.state.go_to(0, 8)
    for key, position in (
        *(("right", (0, 9)), ("right", (0, 9)), ("up", (0, 9))),
        *(("down", (1, 9)), ("left", (1, 8)), ("q", (1, 8))),
    ):
        press(view, key)
        assert view.state.position == position


def test_every_map_can_be_shown(view):
    assert view.map.name.startswith("z1")
    for name in view.map.names:
        view.show_map(name)
        assert view.map.ax.get_title() == name
        assert len(view.map.ax.images) == 2
        click(view, view.map.ax, 1, 3)
        assert view.state.position == (3, 1)
    assert {"fold", "error"} < set(view.map.names)


@pytest.mark.parametrize("name", ["linear", "square root", "logarithm", LESS_MEAN])
def test_both_patterns_share_every_scale(view, name):
    view.show_intensity(name)
    click(view, view.map.ax, 1, 3)
    norms = [ax.images[0].norm for ax in view.figure.axes[2:4]]
    assert norms[0] is norms[1]
    low, high = norms[0].vmin, norms[0].vmax
    largest = max(np.abs(p).max() for p in (view.state.measured, view.state.decoded))
    assert 0 < high <= largest
    if name == LESS_MEAN:
        assert low == -high
        np.testing.assert_array_equal(shown(view)[0], view.state.measured - view.state.mean)
    else:
        assert low == (high / 1000 if name == "logarithm" else 0)
        np.testing.assert_array_equal(shown(view)[0], view.state.measured)


def test_without_a_model_nothing_is_decoded(frames, known):
    view = view_of(State(frames, known))
    click(view, view.plane.ax, 0, 0)
    assert LESS_MEAN not in view.patterns.intensities
    assert view.figure.axes[3].get_title() == "not decoded\nno model is given"
    assert not view.figure.axes[3].images[0].get_visible()


def test_latents_that_are_all_off_are_told_in_the_plane(frames, known, quick):
    view = view_of(State(frames, known, model=quick, collapsed=[True, True]))
    assert "all latents are switched off" in view.plane.ax.texts[0].get_text()
    click(view, view.plane.ax, 0.5, 0.5)
    click(view, view.map.ax, 7, 2)
    assert view.state.position == (2, 7)
    assert "collapsed" in view.map.names[0]


def test_a_blank_scan_is_drawn(frames, known):
    codes = codes_of(np.full((*SCAN, 2), np.nan), error=np.full(SCAN, np.nan), fold=0)
    view = view_of(State(0 * frames, codes))
    for name in view.patterns.intensities:
        view.show_intensity(name)
    click(view, view.map.ax, 7, 2)
    assert "no position has finite latents" in view.plane.ax.texts[0].get_text()


def test_many_positions_are_counted(frames):
    side = int(MOST_DOTS**0.5) + 1
    z = np.random.default_rng(0).normal(size=(side, side, 2))
    view = view_of(State(np.broadcast_to(frames[0, 0], (side, side, 16, 16)), codes_of(z)))
    (image,) = view.plane.ax.images
    assert image.get_array().sum() == side**2
    assert not any(len(line.get_xdata()) > 1 for line in view.plane.ax.lines)


def test_what_goes_wrong_is_told(view, monkeypatch):
    def closed(*_):
        raise ValueError("the file is closed")

    monkeypatch.setattr(view.state, "go_to", closed)
    click(view, view.map.ax, 7, 2)
    assert view.said == ["the file is closed"]


def test_a_saved_figure_has_all_in_it(view, tmp_path):
    # What moves is left out of the drawing that is kept, but not of a file.
    click(view, view.map.ax, 7, 2)
    before = pixels(view)
    view.figure.savefig(tmp_path / "a.png", dpi=80)
    from matplotlib.image import imread

    saved = (255 * imread(tmp_path / "a.png")).round().astype(int)
    assert np.mean(np.abs(saved - before.astype(int)) > 8) < 0.02
    click(view, view.map.ax, 1, 1)
    click(view, view.map.ax, 7, 2)
    np.testing.assert_array_equal(pixels(view), before)
