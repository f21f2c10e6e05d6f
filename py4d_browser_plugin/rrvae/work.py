# SPDX-License-Identifier: GPL-3.0-or-later
"""Something long in a thread of its own."""

from __future__ import annotations

import ctypes
import io
import threading
import traceback
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr
from typing import Any

from PyQt5.QtCore import QObject, QThread, pyqtSignal
from tqdm import tqdm

from .pictures import progress

EXPECTED = (ValueError, TypeError, OSError, MemoryError, ImportError)
"""Errors whose sentence says all."""


def sentence(error: Exception) -> str:
    """What a person is told of an error; of an unexpected one the console has the rest."""
    if not isinstance(error, EXPECTED):
        traceback.print_exception(error)
    return str(error) or type(error).__name__


class Work(QThread):
    """A task that tells how far it is, and can be stopped.

    What came of it is there once `finished` is emitted: `result`, or `error`, or neither where it
    was stopped; and the sentences of its warnings.
    """

    told = pyqtSignal(str, int)

    def __init__(self, task: Callable[[], Any], parent: QObject) -> None:
        super().__init__(parent)
        self.result: Any = None
        self.error: str | None = None
        self.warned: list[str] = []
        self._task, self._lock = task, threading.Lock()
        self._ident: int | None = None

    def run(self) -> None:
        """Called by Qt, in the thread."""
        try:
            self._ident = threading.get_ident()
            try:
                self._try()
            finally:
                with self._lock:
                    self._ident = None
        except KeyboardInterrupt:
            pass

    def _try(self) -> None:
        with warnings.catch_warnings(record=True) as caught, redirect_stderr(_Bars(self.told.emit)):
            warnings.simplefilter("always", UserWarning)
            try:
                self.result = self._task()
            except Exception as error:
                self.error = sentence(error)
        said = [str(each.message) for each in caught if issubclass(each.category, UserWarning)]
        self.warned = list(dict.fromkeys(said))

    def stop(self) -> None:
        """Interrupt the task, as Ctrl-C does in the main thread."""
        # A thread that is interrupted while it holds the bars' lock would keep it for ever.
        with tqdm.get_lock(), self._lock:
            if self._ident is not None:
                interrupt = ctypes.py_object(KeyboardInterrupt)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._ident), interrupt)


class _Bars(io.TextIOBase):
    """In place of stderr: progress bars go to a function, other lines to stdout."""

    def __init__(self, tell: Callable[[str, int], Any]) -> None:
        self._tell = tell

    def write(self, text: str) -> int:
        if found := progress(text.strip("\r\n")):
            self._tell(*found)
        elif text.strip():
            print(text.rstrip())
        return len(text)

    def isatty(self) -> bool:
        """Somebody looks: bars are not left out, as they are in a log."""
        return True
