# SPDX-License-Identifier: GPL-3.0-or-later
"""The menu rrVAE in the real py4D-browser, whose window is drawn but not put on a screen."""

import importlib.util
import os
import time
from functools import partial
from pathlib import Path

import numpy as np
import py4DSTEM
import pytest
from estimators import QUICK

import py4dstem_rrvae
from py4dstem_rrvae import RRVAE, datasets
from py4dstem_rrvae.plot import UNDEFINED, cyclic_colours

MISSING = [name for name in ("py4D_browser", "PyQt5") if importlib.util.find_spec(name) is None]
FOLDER = Path(py4dstem_rrvae.__file__).parents[1] / "py4d_browser_plugin" / "rrvae"
in_the_browser = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(MISSING),
        reason=f'needs {" and ".join(MISSING)}: pip install ".[py4dbrowser]" (Python 3.11)',
    ),
    # Of the browser's own.
    pytest.mark.filterwarnings("default"),
]
PATIENCE = 120.0
"""Seconds."""


@pytest.fixture(scope="module")
def pictures():
    """The part without Qt, which needs no browser."""
    spec = importlib.util.spec_from_file_location("pictures", FOLDER / "pictures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_undefined_values_are_drawn_as_the_smallest(pictures):
    image, undefined = pictures.drawable(np.array([[3.0, np.nan], [-2.0, np.inf]]))
    assert (image.tolist(), undefined) == ([[3.0, -2.0], [-2.0, -2.0]], 2)
    image, undefined = pictures.drawable(np.full((2, 2), np.nan))
    assert (image.tolist(), undefined) == ([[0.0, 0.0], [0.0, 0.0]], 4)
    fold = np.array([[1, 6]])
    image, undefined = pictures.drawable(fold)
    assert image is not fold and image.dtype == float and undefined == 0


def test_angles_a_period_apart_have_one_colour_and_undefined_ones_are_dark(pictures):
    fold = np.array([1, 2, 3, 6, 0])
    angle = np.array([0.3, 0.3 / 2, 0.3 / 3, 0.3 / 6, np.nan])
    colours = pictures.angle_colours(angle, fold)
    again = pictures.angle_colours(angle + 2 * np.pi / np.maximum(fold, 1), fold)
    np.testing.assert_allclose(colours, again, atol=0.02)
    assert colours.shape == (5, 3)
    assert np.ptp(colours[:4], axis=0).max() < 0.02
    np.testing.assert_allclose(colours[0], cyclic_colours()(0.3 / (2 * np.pi))[:3])
    np.testing.assert_allclose(colours[4], float(UNDEFINED))
    np.testing.assert_allclose(pictures.angle_colours(np.array([1.0]), np.array([0])), 0.15)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("\rtraining:  25%|##5       | 1/4 [00:00<00:02,  1.13epoch/s]", ("Training", 25)),
        ("finding the beam: 100%|##########| 96/96 [00:01<00:00]", ("Finding the beam", 100)),
        ("100%", None),
        ("error: 3% of the frames", None),
        ("", None),
    ],
)
def test_progress_bars_are_understood(pictures, line, told):
    assert pictures.progress(line.strip("\r")) == told


def test_the_package_s_own_bars_are_understood(pictures, few, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    RRVAE(**QUICK | {"progress": True, "center": "each"}).fit(few).encode(few)
    lines = capsys.readouterr().err.replace("\r", "\n").splitlines()
    stages = [found[0] for found in map(pictures.progress, lines) if found]
    in_order = list(dict.fromkeys(stages))
    assert in_order == ["Finding the beam", "Sampling", "Training", "Encoding"]


def test_captions_name_units_and_what_is_undefined(pictures):
    assert pictures.caption("z1", "dimensionless", 0) == "z1"
    assert pictures.caption("angle_std", "rad", 0) == "angle_std, rad"
    assert pictures.caption("angle", "rad", 1367) == "angle, rad; 1,367 undefined, dark"


class Window:
    """The browser's window, and a person before it."""

    def __init__(self, viewer):
        self.app, self.viewer, self.told = viewer.qtapp, viewer, []
        (loaded,) = (
            each for each in viewer.loaded_plugins if each["id"] == "py4dstem_rrvae.browser"
        )
        self.plugin, self.menu = loaded["plugin"], loaded["menu"]

    def action(self, *titles):
        menu = self.menu
        for title in titles:
            menu.aboutToShow.emit()
            (action,) = (each for each in menu.actions() if each.text() == title)
            menu = action.menu()
        return action

    def choose(self, *titles, answer=None):
        """Click on a line of the menu, answer its dialog, and wait until all is done."""
        from PyQt5.QtCore import QTimer

        action = self.action(*titles)
        assert action.isEnabled()
        if answer is not None:
            QTimer.singleShot(100, partial(self._answer, answer))
        boxes = QTimer()
        boxes.timeout.connect(self._read_boxes)
        boxes.start(50)
        action.trigger()
        self.wait(lambda: self.plugin.work is None)
        boxes.stop()

    def wait(self, done):
        end = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < end
            self.app.processEvents()
            time.sleep(0.01)
        self.app.processEvents()

    def _answer(self, answer):
        # A dialog runs a loop of its own, in which an error would be lost.
        dialog = self.app.activeModalWidget()
        try:
            answer(dialog)
        except BaseException:
            dialog.reject()
            raise

    def _read_boxes(self):
        from PyQt5.QtWidgets import QMessageBox

        box = self.app.activeModalWidget()
        if isinstance(box, QMessageBox):
            self.told.append(box.text())
            box.accept()

    @property
    def drawn(self):
        """What the real-space view draws, (Rx, Ry) or (Rx, Ry, 3)."""
        return np.swapaxes(self.viewer.real_space_widget.image, 0, 1)


def options(dialog, **values):
    from PyQt5.QtWidgets import QDialogButtonBox, QSpinBox

    for name, value in values.items():
        dialog.findChild(QSpinBox, name).setValue(value)
    dialog.findChild(QDialogButtonBox).button(QDialogButtonBox.Ok).click()


def file_name(dialog, path):
    from PyQt5.QtWidgets import QDialogButtonBox, QLineEdit

    dialog.findChild(QLineEdit, "fileNameEdit").setText(str(path))
    dialog.findChild(QDialogButtonBox).buttons()[0].click()


@pytest.fixture(scope="module")
def viewer(tmp_path_factory):
    """The one window of this process, with settings of its own; a second one would be no truer."""
    with pytest.MonkeyPatch.context() as surroundings:
        surroundings.setenv("QT_QPA_PLATFORM", os.environ.get("QT_QPA_PLATFORM", "offscreen"))
        surroundings.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("settings")))
        from PyQt5.QtWidgets import QApplication

        app = QApplication.instance() or QApplication([])
        from py4D_browser import DataViewer

        viewer = DataViewer()
        yield viewer
        viewer.tooltip_timer.stop()
        viewer.close()
        app.processEvents()


@pytest.fixture
def window(viewer):
    """The window with no scan, and whoever sits before it."""
    viewer.datacube = None
    viewer.signal_datacube_changed.emit()
    viewer.show()
    return Window(viewer)


@pytest.fixture
def scan(tmp_path):
    """Part of the shipped graphene in a file that the browser opens with its calibration."""
    cube = datasets.graphene()
    part = py4DSTEM.DataCube(cube.data[:32, :24], name="datacube")
    calibration = cube.calibration
    part.calibration.set_origin((calibration.get_qx0_mean(), calibration.get_qy0_mean()))
    for what in ("R_pixel_size", "R_pixel_units", "Q_pixel_size", "Q_pixel_units"):
        getattr(part.calibration, f"set_{what}")(getattr(calibration, f"get_{what}")())
    path = tmp_path / "graphene.h5"
    py4DSTEM.save(path, part, mode="o")
    return path


class TestInTheBrowser:
    pytestmark = in_the_browser

    def test_nothing_is_offered_without_a_scan(self, window):
        for title in (
            "Fit this scan...",
            "Load a model and encode...",
            "Show map",
            "Save model...",
        ):
            assert not window.action(title).isEnabled()

    def test_a_fit_s_maps_become_the_virtual_image(self, window, scan, tmp_path):
        viewer = window.viewer
        viewer.load_file(str(scan))
        assert not window.action("Show map").isEnabled()
        window.choose(
            "Fit this scan...",
            answer=partial(options, latent_dim=3, random_state=7, max_epochs=2),
        )
        maps = viewer.datacube.tree("rrvae").tree
        model = viewer.datacube.rrvae.model
        assert (model.latent_dim, model.random_state, model.max_epochs) == (3, 7, 2)
        np.testing.assert_array_equal(viewer.unscaled_realspace_image, maps("z1").data)
        np.testing.assert_array_equal(window.drawn, maps("z1").data)

        names = [action.text() for action in window.action("Show map").menu().actions()]
        assert names[:3] == ["z1", "z2", "z3"] and {"angle", "fold", "error"} <= set(names)
        window.choose("Show map", "error")
        np.testing.assert_array_equal(viewer.unscaled_realspace_image, maps("error").data)
        assert viewer.statusBar().currentMessage() == "error"

        window.choose("Save model...", answer=partial(file_name, path=tmp_path / "saved.rrvae"))
        assert RRVAE.load(tmp_path / "saved.rrvae").latent_dim == 3

    def test_angles_keep_their_colours_until_another_image_comes(self, window, scan):
        viewer = window.viewer
        viewer.load_file(str(scan))
        window.choose("Fit this scan...", answer=partial(options, max_epochs=2))
        angle, fold = (viewer.datacube.tree("rrvae").tree(name).data for name in ("angle", "fold"))
        undefined = np.argwhere(fold == 0)
        window.choose("Show map", "angle")
        image = viewer.unscaled_realspace_image
        np.testing.assert_array_equal(image[fold > 0], angle[fold > 0])
        assert window.drawn.shape == (*angle.shape, 3)
        for row, col in [(0, 0), (5, 17), *undefined[:1]]:
            share = angle[row, col] * fold[row, col] / (2 * np.pi) % 1
            expected = cyclic_colours()(np.ma.masked_invalid(share))[:3]
            np.testing.assert_allclose(window.drawn[row, col], expected)
        for menu in (viewer.scaling_menu, viewer.autorange_menu):
            for action in menu.actions():
                action.trigger()
                window.wait(lambda: True)
                assert window.drawn.shape == (*angle.shape, 3), action.text()
        window.choose("Show map", "z1")
        assert window.drawn.ndim == 2
        viewer.update_real_space_view()
        viewer.scaling_menu.actions()[1].trigger()
        window.wait(lambda: True)
        assert window.drawn.ndim == 2

    def test_a_saved_model_encodes_another_scan(self, window, scan, tmp_path):
        cube = datasets.graphene()
        cube.rrvae.fit(max_epochs=2, random_state=0, progress=False, device="cpu")
        cube.rrvae.model.save(tmp_path / "model.rrvae")
        window.viewer.load_file(str(scan))
        window.choose(
            "Load a model and encode...",
            answer=partial(file_name, path=tmp_path / "model.rrvae"),
        )
        other = py4DSTEM.read(scan)
        expected = other.rrvae.encode(tmp_path / "model.rrvae")["z1"].data
        np.testing.assert_allclose(window.viewer.unscaled_realspace_image, expected, rtol=1e-6)
        assert window.told == []

        window.viewer.set_datacube(other, "another")
        assert not window.action("Show map").isEnabled()
        assert not window.action("Save model...").isEnabled()

    def test_errors_and_warnings_are_told_in_a_box(self, window, tmp_path):
        counts = np.random.default_rng(0).poisson(3, (2, 3, 16, 16))
        window.viewer.set_datacube(py4DSTEM.DataCube(counts), "too few")
        before = window.viewer.unscaled_realspace_image
        window.choose("Fit this scan...", answer=options)
        (told,) = window.told
        assert "at least 8" in told and len(told.splitlines()) == 1
        assert window.viewer.unscaled_realspace_image is before

        (tmp_path / "model.rrvae").write_bytes(b"nothing")
        window.choose(
            "Load a model and encode...", answer=partial(file_name, path=tmp_path / "model.rrvae")
        )
        assert "is no rrVAE model file" in window.told[1]

        frames = py4dstem_rrvae.synthetic.lobes(80, size=16, counts=2000).frames
        window.viewer.set_datacube(py4DSTEM.DataCube(frames.reshape(8, 10, 16, 16)), "no origin")
        window.choose("Fit this scan...", answer=partial(options, max_epochs=1))
        assert "the calibration has no origin" in window.told[2]
        assert window.action("Show map").isEnabled()

    def test_the_window_lives_while_it_trains_and_a_fit_can_be_stopped(self, window, scan):
        from PyQt5.QtCore import QTimer
        from PyQt5.QtWidgets import QProgressDialog, QPushButton

        viewer = window.viewer
        viewer.load_file(str(scan))
        before = viewer.unscaled_realspace_image
        seen = []

        def look():
            (dialog,) = viewer.findChildren(QProgressDialog)
            seen.append((dialog.labelText(), dialog.value()))
            if seen[-1] > ("Training", 0) and seen[-1][0] == "Training":
                dialog.findChild(QPushButton).click()

        timer = QTimer()
        timer.timeout.connect(lambda: window.plugin.work and look())
        timer.start(50)
        window.choose("Fit this scan...", answer=partial(options, max_epochs=100))
        timer.stop()
        steps, percents = zip(*seen, strict=True)
        assert "Training" in steps and "Encoding" not in steps
        assert max(percents[steps.index("Training") :]) < 100
        assert len(seen) > 3
        assert viewer.unscaled_realspace_image is before
        assert "Stopped" in viewer.statusBar().currentMessage()
        assert not window.action("Show map").isEnabled()
        window.choose("Fit this scan...", answer=partial(options, max_epochs=1))
        assert window.action("Show map").isEnabled()

    def test_closing_the_window_ends_what_runs(self, window, scan):
        window.viewer.load_file(str(scan))
        fit = window.viewer.datacube.rrvae.fit
        window.plugin._start(partial(fit, random_state=0, max_epochs=5000))
        work = window.plugin.work
        end = time.monotonic() + 2
        window.wait(lambda: time.monotonic() > end)
        window.viewer.close()
        assert work.isFinished() and work.result is None
