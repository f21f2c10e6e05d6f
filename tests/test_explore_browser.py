# SPDX-License-Identifier: GPL-3.0-or-later
"""A page with an explorer in a real browser: a click and a drag of the mouse reach the kernel."""

import importlib.util
import json
import time

import numpy as np
import pytest

from benchmarks.browser import MISSING, explorer_canvas, opened, run_all, served, wait

pytestmark = pytest.mark.slow

PAGE = """
import json, os
from pathlib import Path
import numpy as np, py4DSTEM, py4dstem_rrvae

cube = py4DSTEM.DataCube(np.load("frames.npy"))
cube.rrvae.encode("model.rrvae", background="stored")
explorer = cube.rrvae.explore()

def tell(problem):
    first(problem)
    view = explorer.view
    places = {
        "map": view.map.ax.transData.transform((6, 1)).tolist(),
        "plane": view.plane.ax.bbox.extents.tolist(),
        "height": view.figure.bbox.height,
        "ratio": view.figure.canvas.device_pixel_ratio,
        "position": list(explorer.position),
        "point": explorer.state.point,
        "mask": explorer.mask.tolist(),
    }
    Path("part.json").write_text(json.dumps(places))
    os.replace("part.json", "places.json")

first, explorer.view.changed = explorer.view.changed, tell
explorer.view.figure.canvas.mpl_connect("draw_event", lambda _: tell(None))
explorer
"""


@pytest.fixture
def folder(tmp_path, few, quick):
    """What the page needs; the server's own files stay in it too."""
    np.save(tmp_path / "frames.npy", few.reshape(8, 10, 16, 16))
    quick.save(tmp_path / "model.rrvae")
    return tmp_path


WINDOW = (1600, 1400)
"""So that JupyterLab shows the whole figure below the code, in pixels."""
MEASURED = """
const picture = [...document.querySelectorAll(".jupyter-matplotlib canvas")].at(-2);
const [w, h] = [picture.width, picture.height];
return [...picture.getContext("2d").getImageData(0, 0.6 * h, 0.35 * w, 0.3 * h).data].join();
"""
"""Colours of the measured pattern, which is drawn below the map, without its title."""
no_lab = pytest.mark.skipif(
    importlib.util.find_spec("jupyterlab") is None, reason="needs jupyterlab"
)


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
@pytest.mark.parametrize("by", ["voila", pytest.param("lab", marks=no_lab)])
def test_a_mouse_in_a_browser_moves_the_position_and_sets_the_mask(by, folder, quick, few):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    z = quick.encode(few.reshape(8, 10, 16, 16)).z

    def places():
        return json.loads((folder / "places.json").read_text())

    def text(name):
        found = browser.find_elements(By.CLASS_NAME, f"rrvae-{name}")
        return found[0].text if found else ""

    def mouse():
        return ActionChains(browser, duration=50)

    with served(PAGE, folder, by) as address, opened(address, WINDOW) as browser:
        if by == "lab":
            run_all(browser)
        wait(lambda: text("position"))
        canvas = explorer_canvas(browser)
        wait((folder / "places.json").exists)
        assert text("position") == "row 4, column 5"

        def to(chain, x, y):
            """Move to a pixel of the figure, whose rows count upwards."""
            middle = canvas.size["width"] / 2, canvas.size["height"] / 2
            ratio = places()["ratio"]
            down = (places()["height"] - y) / ratio - middle[1]
            return chain.move_to_element_with_offset(canvas, x / ratio - middle[0], down)

        before = browser.execute_script(MEASURED)
        to(mouse(), *places()["map"]).click().perform()
        wait(lambda: text("position") == "row 1, column 6")
        wait(lambda: places()["position"] == [1, 6])
        wait(lambda: browser.execute_script(MEASURED) != before)

        left, bottom, right, top = places()["plane"]
        x, y = (left + right) / 2, (bottom + top) / 2
        to(mouse(), x, y).click().perform()
        wait(lambda: text("decoded-at"))
        wait(lambda: places()["point"] != z[1, 6].tolist())
        point = places()["point"]

        buttons = browser.find_elements(By.TAG_NAME, "button")
        next(button for button in buttons if button.text == "draw a box").click()
        time.sleep(0.5)
        chain = to(to(mouse(), x, y).click_and_hold(), right + 5, top - 5)
        chain.release().perform()
        wait(lambda: text("in-the-box") and np.any(places()["mask"]))
        time.sleep(1)  # the last of the drag
        mask = np.array(places()["mask"])
        assert 0 < mask.sum() < mask.size
        assert text("in-the-box") == f"{mask.sum()} of 80"
        # A pixel is a hundredth of the plane; the place of the press is that of the click before.
        near = 0.05
        assert (mask <= (z > np.array(point) - near).all(-1)).all()
        assert (mask >= (z > np.array(point) + near).all(-1)).all()
