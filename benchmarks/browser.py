# SPDX-License-Identifier: GPL-3.0-or-later
"""A notebook's page with widgets in Chromium, without a window, and its mouse.

Debian: ``apt-get install chromium chromium-driver``; Python: ``pip install ".[browser]"``.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import nbformat

T = TypeVar("T")

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
MODULES = ("selenium", "voila", "ipympl")
COMMANDS = {
    "voila": ("voila", "page.ipynb", "--Voila.ip=127.0.0.1"),
    "lab": (
        *("jupyterlab", "--ServerApp.ip=127.0.0.1", "--ServerApp.allow_root=True"),
        *("--IdentityProvider.token=", "--LabApp.news_url=", "--LabApp.check_for_updates_class="),
    ),
}
"""Module that serves the page, and its words: Voila, which runs it, or JupyterLab."""
MISSING = (
    ""
    if BROWSER and DRIVER and all(importlib.util.find_spec(name) for name in MODULES)
    else "needs Chromium with its driver, and a server of notebooks: apt-get install chromium "
    'chromium-driver; pip install ".[browser]"'
)
"""What to install; empty where all is there."""
READY, SETTLED = 120.0, 1.0
"""Seconds."""
LEAST = 300
"""Height of a canvas that has its size, in pixels."""
ARGUMENTS = ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu")


@contextmanager
def served(code: str, folder: Path, by: str = "voila") -> Iterator[str]:
    """Address of the page that a notebook of one cell makes; all files lie in the folder."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    nbformat.write(notebook, folder / "page.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", *COMMANDS[by], "--no-browser", f"--port={port}"]
    before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    here = {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, before)]),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
    }
    # The kernel chooses its own backend.
    others = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    said = folder / "server.log"
    with (
        said.open("w") as log,
        subprocess.Popen(command, cwd=folder, env=others | here, stdout=log, stderr=log) as server,
    ):
        try:
            wait(lambda: "running at" in said.read_text())
            yield f"http://127.0.0.1:{port}/" + ("lab/tree/page.ipynb" if by == "lab" else "")
        finally:
            server.terminate()


@contextmanager
def opened(address: str, size: tuple[int, int] = (1100, 900)) -> Iterator[Any]:
    """A selenium driver of a browser that shows a page."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for argument in (*ARGUMENTS, f"window-size={size[0]},{size[1]}"):
        options.add_argument(f"--{argument}")
    browser = webdriver.Chrome(options, Service(DRIVER))
    try:
        browser.get(address)
        yield browser
    finally:
        browser.quit()


def run_all(browser: Any) -> None:
    """In JupyterLab, choose "Run All Cells" of the menu "Run"."""
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.common.by import By

    def chosen(kind: str, text: str) -> bool:
        """Whether the item was there to be clicked; menus are drawn anew at any time."""
        with suppress(StaleElementReferenceException):
            for item in browser.find_elements(By.CLASS_NAME, f"lm-{kind}-itemLabel"):
                if item.text == text and item.is_displayed():
                    item.click()
                    return True
        return False

    wait(lambda: browser.find_elements(By.CSS_SELECTOR, ".jp-Notebook .jp-CodeCell"))
    # Until the kernel has been started, the menu does nothing.
    wait(
        lambda: browser.find_elements(
            By.CSS_SELECTOR, '.jp-Notebook-ExecutionIndicator[data-status="idle"]'
        )
    )
    wait(lambda: chosen("MenuBar", "Run"))
    wait(lambda: chosen("Menu", "Run All Cells"))


def explorer_canvas(browser: Any) -> Any:
    """The element that takes the mouse, once it has its size."""
    from selenium.webdriver.common.by import By

    def large() -> list[Any]:
        found = browser.find_elements(By.CSS_SELECTOR, ".jupyter-matplotlib canvas")
        return [canvas for canvas in found if canvas.size["height"] > LEAST]

    wait(large)
    time.sleep(SETTLED)
    return large()[-1]


def wait(condition: Callable[[], T]) -> T:
    """What a condition gives once it is true.

    Raises
    ------
    TimeoutError
        If it is not for two minutes.
    """
    end = time.monotonic() + READY
    while not (found := condition()):
        if time.monotonic() > end:
            raise TimeoutError("the page is not ready, or has not changed, for two minutes")
        time.sleep(0.05)
    return found
