# SPDX-License-Identifier: GPL-3.0-or-later
"""The menu's actions."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial
from typing import Any

from PyQt5 import QtWidgets
from PyQt5.QtCore import QObject, Qt

import py4dstem_rrvae  # noqa: F401, gives data cubes their accessor

from .pictures import angle_colours, caption, drawable
from .work import Work, sentence

TITLE = "rrVAE"
MODELS = "rrVAE models (*.rrvae);;All files (*)"
OPTIONS = {  # label, least, most, default
    "latent_dim": ("Latents", 1, 16, 2),
    "random_state": ("Seed", 0, 2**31 - 1, 0),
    "max_epochs": ("Epochs at most", 0, 10_000, 0),
}


class RRVAEPlugin(QObject):
    """Latent maps of the browser's scan, by ``datacube.rrvae``."""

    plugin_id = "py4dstem_rrvae.browser"
    display_name = TITLE
    uses_plugin_menu = True

    def __init__(self, parent: Any, plugin_menu: QtWidgets.QMenu, **_: Any) -> None:
        super().__init__(parent)
        self.browser = parent
        self.work: Work | None = None
        self._cube: Any = None
        self._maps: Any = None
        self._coloured: tuple[Any, Any] = None, None
        self._needs_scan = [
            plugin_menu.addAction("Fit this scan...", self.fit),
            plugin_menu.addAction("Load a model and encode...", self.encode),
        ]
        self._names: Any = plugin_menu.addMenu("Show map")
        self._needs_maps = [self._names, plugin_menu.addAction("Save model...", self.save)]
        plugin_menu.aboutToShow.connect(self._refresh)
        parent.signal_datacube_changed.connect(self._refresh)
        for menu in (parent.scaling_menu, parent.autorange_menu):
            # After the browser, which draws its image anew in its own colours.
            menu.triggered.connect(self._colour, Qt.QueuedConnection)
        self._refresh()

    def close(self) -> None:
        """Stop what runs; the browser calls this as its window closes."""
        if self.work is not None:
            self.work.stop()
            self.work.wait()

    def fit(self) -> None:
        """Ask for options, train on the scan, and show the first latent."""
        options = _ask(self.browser)
        if options is not None:
            self._start(partial(self.browser.datacube.rrvae.fit, **options))

    def encode(self) -> None:
        """Ask for a model's file, encode the scan, and show the first latent."""
        path, _ = QtWidgets.QFileDialog.getOpenFileName(self.browser, "Model", "", MODELS)
        if path:
            self._start(partial(self.browser.datacube.rrvae.encode, path))

    def save(self) -> None:
        """Ask for a name, and write the model that made the maps."""
        path, _ = QtWidgets.QFileDialog.getSaveFileName(
            self.browser, "Save model", "model.rrvae", MODELS
        )
        if path:
            try:
                self._maps.model.save(path)
                self.browser.statusBar().showMessage(f"Saved in {path}")
            except Exception as error:
                QtWidgets.QMessageBox.critical(self.browser, TITLE, sentence(error))

    def show_map(self, name: str) -> None:
        """Make a map the browser's virtual image."""
        browser, shown = self.browser, self._maps[name]
        image, undefined = drawable(shown.data)
        browser.vimg_scale_linear_action.setChecked(True)
        browser.set_virtual_image(image, reset=True)
        if name == "angle":
            self._coloured = image, angle_colours(shown.data, self._maps["fold"].data)
            self._colour()
        browser.statusBar().showMessage(caption(name, shown.units, undefined))

    def _colour(self) -> None:
        """Draw the angle in its colours, as long as it is the virtual image."""
        image, colours = self._coloured
        if image is None or self.browser.unscaled_realspace_image is not image:
            self._coloured = None, None
        else:
            self.browser.real_space_widget.setImage(
                colours.transpose(1, 0, 2), autoLevels=False, levels=(0, 1), autoRange=False
            )

    def _refresh(self) -> None:
        """Offer what can be done with the scan that is open; maps of another are forgotten."""
        cube, maps = self.browser.datacube, self._maps
        if maps and (cube is not self._cube or maps["z1"].data.shape != tuple(cube.Rshape)):
            self._maps = maps = None
        self._names.clear()
        for name in maps or ():
            self._names.addAction(name, partial(self.show_map, name))
        for action in self._needs_scan:
            action.setEnabled(cube is not None and self.work is None)
        for action in self._needs_maps:
            action.setEnabled(bool(maps))

    def _start(self, task: Callable[[], Any]) -> None:
        """Do something long, behind a dialog that shows how far it is."""
        work, dialog = Work(task, self), QtWidgets.QProgressDialog(self.browser)
        dialog.setWindowTitle(TITLE)
        dialog.setWindowModality(Qt.WindowModal)
        dialog.setMinimumWidth(360)
        dialog.setAutoReset(False)
        dialog.setLabelText("Starting")
        dialog.setCancelButtonText("Stop")
        dialog.canceled.connect(work.stop)
        work.told.connect(partial(_show_progress, dialog))
        work.finished.connect(partial(self._done, work, dialog))
        self._cube, self.work = self.browser.datacube, work
        self._refresh()
        dialog.show()
        # Garbage may hold objects of Qt, which no thread but this one may delete.
        gc.disable()
        work.start()

    def _done(self, work: Work, dialog: QtWidgets.QProgressDialog) -> None:
        gc.enable()
        for each in (dialog, work):
            each.deleteLater()
        self.work, self._maps = None, work.result or self._maps
        self._refresh()
        if work.result and self._maps:
            self.show_map("z1")
        if work.error is not None:
            QtWidgets.QMessageBox.critical(self.browser, TITLE, work.error)
        elif work.warned:
            QtWidgets.QMessageBox.warning(self.browser, TITLE, "\n\n".join(work.warned))
        elif not work.result:
            self.browser.statusBar().showMessage("Stopped; the scan keeps the maps it had")


def _show_progress(dialog: QtWidgets.QProgressDialog, step: str, percent: int) -> None:
    gc.collect(1)
    if not dialog.wasCanceled():
        dialog.setLabelText(step)
        dialog.setValue(percent)


def _ask(parent: QtWidgets.QWidget) -> dict[str, int | None] | None:
    """Options of `RRVAE` from a small dialog; None if it is cancelled."""
    dialog = QtWidgets.QDialog(parent)
    dialog.setWindowTitle(TITLE)
    form, boxes = QtWidgets.QFormLayout(dialog), {}
    for name, (label, least, most, default) in OPTIONS.items():
        boxes[name] = QtWidgets.QSpinBox(dialog, objectName=name, minimum=least, maximum=most)
        boxes[name].setValue(default)
        form.addRow(label, boxes[name])
    boxes["max_epochs"].setSpecialValueText("automatic")
    ends = QtWidgets.QDialogButtonBox.Ok | QtWidgets.QDialogButtonBox.Cancel
    buttons = QtWidgets.QDialogButtonBox(ends, dialog)
    buttons.accepted.connect(dialog.accept)
    buttons.rejected.connect(dialog.reject)
    form.addRow(buttons)
    if dialog.exec_() != QtWidgets.QDialog.Accepted:
        return None
    values: dict[str, int | None] = {name: box.value() for name, box in boxes.items()}
    return values | {"max_epochs": values["max_epochs"] or None}
