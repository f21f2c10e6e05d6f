# SPDX-License-Identifier: GPL-3.0-or-later
"""The menu's actions; the only importer of PyQt5."""

from __future__ import annotations

import ctypes
import io
import threading
import traceback
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr
from functools import partial
from typing import Any

from PyQt5.QtCore import QObject, Qt, QThread, pyqtSignal
from PyQt5.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QMenu,
    QMessageBox,
    QProgressDialog,
    QSpinBox,
    QWidget,
)
from tqdm import tqdm

import py4dstem_rrvae  # noqa: F401, gives data cubes their accessor

from .pictures import angle_colours, caption, drawable, progress, sentence, titles

TITLE = "rrVAE"
MODELS = "rrVAE models (*.rrvae);;All files (*)"
EXPECTED = (ValueError, TypeError, OSError, MemoryError, ImportError)
"""Errors whose sentence says all."""


class RRVAEPlugin(QObject):
    """Latent maps of the browser's scan, by ``datacube.rrvae``."""

    plugin_id = "py4dstem_rrvae.browser"
    display_name = TITLE
    uses_plugin_menu = True

    def __init__(self, parent: Any, plugin_menu: QMenu, **_: Any) -> None:
        super().__init__(parent)
        self.browser = parent
        self.work: Work | None = None
        self._cube: Any = None
        self._maps: Any = None
        self._coloured: tuple[Any, Any] = (None, None)
        self.fit_action: Any = plugin_menu.addAction("Fit this scan...", self.fit)
        self.encode_action: Any = plugin_menu.addAction("Load a model and encode...", self.encode)
        self.maps_menu: Any = plugin_menu.addMenu("Show map")
        self.save_action: Any = plugin_menu.addAction("Save model...", self.save)
        plugin_menu.aboutToShow.connect(self._refresh)
        parent.signal_datacube_changed.connect(self._refresh)
        for menu in (parent.scaling_menu, parent.autorange_menu):
            # Once the browser has drawn its image anew, in its own colours.
            menu.triggered.connect(self._colour, Qt.QueuedConnection)
        self._refresh()

    def close(self) -> None:
        """Stop what runs; the browser calls this as its window closes."""
        if self.work is not None:
            self.work.stop()
            self.work.wait()

    def fit(self) -> None:
        """Ask for options, train on the scan, and show the first latent."""
        dialog = Options(self.browser)
        if dialog.exec_() == QDialog.Accepted:
            self._start(partial(self.browser.datacube.rrvae.fit, **dialog.values()))

    def encode(self) -> None:
        """Ask for a model's file, encode the scan, and show the first latent."""
        path, _ = QFileDialog.getOpenFileName(self.browser, "Model", "", MODELS)
        if path:
            self._start(partial(self.browser.datacube.rrvae.encode, path))

    def save(self) -> None:
        """Ask for a name, and write the model that made the maps."""
        path, _ = QFileDialog.getSaveFileName(self.browser, "Save model", "model.rrvae", MODELS)
        if path:
            try:
                self._maps.model.save(path)
            except EXPECTED as error:
                QMessageBox.critical(self.browser, TITLE, sentence(error))
            else:
                self.browser.statusBar().showMessage(f"Model saved to {path}")

    def show_map(self, name: str) -> None:
        """Give the browser a map as its virtual image."""
        browser, shown = self.browser, self._maps[name]
        image, undefined = drawable(shown.data)
        browser.vimg_scale_linear_action.setChecked(True)
        calibration = browser.datacube.calibration
        browser.set_virtual_image(
            image,
            reset=True,
            pixel_size=calibration.get_R_pixel_size(),
            pixel_units=calibration.get_R_pixel_units().replace("A", "Å"),
        )
        if name == "angle":
            self._coloured = image, angle_colours(shown.data, self._maps["fold"].data)
            self._colour()
        browser.statusBar().showMessage(caption(name, shown.units, undefined))

    def _colour(self) -> None:
        """Draw the angle in its colours, as long as it is the virtual image."""
        image, colours = self._coloured
        if image is None or self.browser.unscaled_realspace_image is not image:
            self._coloured = None, None
            return
        self.browser.real_space_widget.setImage(
            colours.transpose(1, 0, 2), autoLevels=False, levels=(0, 1), autoRange=False
        )

    def _refresh(self) -> None:
        """Offer what can be done with the scan that is open; maps of another are forgotten."""
        cube = self.browser.datacube
        if self._maps is not None and (
            cube is not self._cube or self._maps["z1"].data.shape != tuple(cube.Rshape)
        ):
            self._cube = self._maps = None
        names: dict[str, str] = {}
        if self._maps is not None:
            names = titles(self._maps, self._maps.model.history_.collapsed)
        self.maps_menu.clear()
        for name, title in names.items():
            self.maps_menu.addAction(title, partial(self.show_map, name))
        for action in (self.fit_action, self.encode_action):
            action.setEnabled(cube is not None and self.work is None)
        for action in (self.maps_menu, self.save_action):
            action.setEnabled(bool(names))

    def _start(self, task: Callable[[], Any]) -> None:
        """Do something long in another thread, behind a dialog that shows how far it is."""
        self._cube, self.work = self.browser.datacube, Work(task, self)
        dialog = QProgressDialog("starting", "Stop", 0, 0, self.browser)
        dialog.setWindowTitle(TITLE)
        dialog.setWindowModality(Qt.WindowModal)
        dialog.setMinimumWidth(360)
        for never in (dialog.setAutoClose, dialog.setAutoReset):
            never(False)
        dialog.canceled.connect(self.work.stop)
        self.work.told.connect(partial(_show_progress, dialog))
        self.work.finished.connect(partial(self._done, self.work, dialog))
        dialog.show()
        self.work.start()
        self._refresh()

    def _done(self, work: Work, dialog: QProgressDialog) -> None:
        dialog.canceled.disconnect()
        dialog.close()
        dialog.deleteLater()
        self.work = None
        if work.maps is not None:
            self._maps = work.maps
        self._refresh()
        if work.maps is not None and self._maps is not None:
            self.show_map("z1")
        if work.stopped:
            self.browser.statusBar().showMessage("Stopped; the scan keeps the maps it had")
        if work.error is not None:
            QMessageBox.critical(self.browser, TITLE, work.error)
        elif work.warned:
            QMessageBox.warning(self.browser, TITLE, "\n\n".join(work.warned))
        work.deleteLater()


def _show_progress(dialog: QProgressDialog, what: str, percent: int) -> None:
    if not dialog.wasCanceled():
        dialog.setLabelText(what)
        dialog.setMaximum(100)
        dialog.setValue(percent)


class Work(QThread):
    """A task in a thread of its own, which tells how far it is and can be stopped."""

    told = pyqtSignal(str, int)

    def __init__(self, task: Callable[[], Any], parent: QObject) -> None:
        super().__init__(parent)
        self._task = task
        self._lock = threading.Lock()
        self._ident: int | None = None
        self.maps: Any = None
        self.error: str | None = None
        self.stopped = False
        self.warned: list[str] = []

    def run(self) -> None:
        """Called by Qt, in the thread."""
        try:
            try:
                self._ident = threading.get_ident()
                self._try()
            finally:
                with self._lock:
                    self._ident = None
        except KeyboardInterrupt:
            self.stopped = self.maps is None

    def _try(self) -> None:
        with warnings.catch_warnings(record=True) as caught, redirect_stderr(Bars(self.told.emit)):
            warnings.simplefilter("always", UserWarning)
            try:
                self.maps = self._task()
            except Exception as error:
                self.error = sentence(error)
                if not isinstance(error, EXPECTED):
                    traceback.print_exc()
        said = [str(each.message) for each in caught if issubclass(each.category, UserWarning)]
        self.warned = list(dict.fromkeys(said))

    def stop(self) -> None:
        """Interrupt the task, as Ctrl-C does in the main thread."""
        # A thread that is interrupted while it holds the bars' lock would keep it for ever.
        with tqdm.get_lock(), self._lock:
            if self._ident is not None:
                interrupt = ctypes.py_object(KeyboardInterrupt)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._ident), interrupt)


class Bars(io.TextIOBase):
    """Takes the place of stderr: progress bars go to a function, what else is written to stdout."""

    def __init__(self, tell: Callable[[str, int], Any]) -> None:
        self._tell = tell

    def write(self, text: str) -> int:
        """Called by tqdm, once per bar."""
        found = progress(text.strip("\r\n"))
        if found is not None:
            self._tell(*found)
        elif text.strip():
            print(text.strip())
        return len(text)


class Options(QDialog):
    """What to train with."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle(TITLE)
        form = QFormLayout(self)
        self.latents, self.seed, self.epochs = (QSpinBox() for _ in range(3))
        for label, box, least, most, value in (
            ("Latents", self.latents, 1, 16, 2),
            ("Seed", self.seed, 0, 2**31 - 1, 0),
            ("Epochs at most", self.epochs, 0, 10_000, 0),
        ):
            box.setRange(least, most)
            box.setValue(value)
            form.addRow(label, box)
        self.epochs.setSpecialValueText("automatic")
        self.buttons = QDialogButtonBox(QDialogButtonBox.Ok | QDialogButtonBox.Cancel)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        form.addRow(self.buttons)

    def values(self) -> dict[str, Any]:
        """Options of `RRVAE`."""
        return {
            "latent_dim": self.latents.value(),
            "random_state": self.seed.value(),
            "max_epochs": self.epochs.value() or None,
        }
