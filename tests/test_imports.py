# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may import whom, and that importing the package imports almost nothing."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import py4dstem_rrvae
from py4dstem_rrvae import _accessor

PACKAGE = "py4dstem_rrvae"
HEAVY = ["torch", "py4DSTEM", "emdfile", "hyperspy", "pyxem", "matplotlib", "sklearn", "scipy"]
HEAVY += ["numpy", "h5py", "dask", "libertem", "ipywidgets", "ipympl"]

# Rooms (folders and modules of the root) in the order in which data flows, with those that each may
# enter besides itself. A module of `adapters` may enter those of its own host alone.
ROOMS = {
    "_accessor": "",
    "_version": "",
    "device": "",
    "threads": "",
    "progress": "",
    "replacing": "",
    "camera": "",
    "detector": "device",
    "model": "detector threads",
    "training": "detector model device threads progress",
    "codes": "model",
    "scan": "detector model training codes device threads progress",
    "options": "detector model training scan",
    "model_file": "detector model training scan options replacing _version",
    "estimator": "detector model training scan codes options model_file device threads",
    "selection": "model training scan options estimator device",
    "maps": "codes",
    "symmetry": "detector model scan maps device threads",
    "plot": "training codes maps estimator selection",
    "explore": "scan codes maps plot estimator",
    "adapters": "threads scan codes estimator maps symmetry plot explore replacing _version",
    "datasets": "adapters",
    "synthetic": "camera",
    "simulate": "datasets replacing",
    "cli": "estimator maps adapters datasets replacing _version",
    "": "_accessor _version codes scan estimator selection maps symmetry datasets",
}
# Parts that all adapters share.
SHARED = {"_models", "_outputs", "_fingerprint", "_docstrings"}
# Modules outside the package and the only modules (regular expressions) that may import them.
ONLY = {
    "py4DSTEM": r"adapters\.py4dstem|adapters\._py4dstem_files",
    "emdfile": r"adapters\.py4dstem|adapters\._py4dstem_files",
    "hyperspy": r"adapters\.hyperspy(_signals)?|adapters\._hyperspy_(pyxem|files)",
    "pyxem": r"adapters\._hyperspy_pyxem",
    "libertem": r"adapters\.libertem",
    "matplotlib": r"plot\..+|explore\.(pictures|view|widget)",
    "matplotlib_scalebar": r"plot\.panels",
    "ipywidgets": r"explore\.widget",
    "ipympl": r"explore\.widget",
    "abtem": r"simulate\.multislice",
    "ase": r"simulate\.specimens",
    "PyQt5": r"(?!)",  # none: only the plugin of py4D-browser, which lies outside
    "py4D_browser": r"(?!)",
}
# What modules of that plugin may import besides the standard library and each other.
PLUGIN = {
    "__init__": "",
    "pictures": "numpy numpy.typing py4dstem_rrvae.plot",
    "work": "PyQt5.QtCore tqdm",
    "plugin": "PyQt5 PyQt5.QtCore py4dstem_rrvae",
}


def imported(source, module, modules):
    """Dotted modules that `module`, relative to the package, imports, and if for types alone."""
    tree = ast.parse(source)
    for_types = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test).endswith("TYPE_CHECKING")
        for node in ast.walk(block)
    }
    package = [PACKAGE, *module.split(".")[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in for_types) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                # What a package gives is a module of its own, or a name of the package itself.
                known = full.removeprefix(f"{PACKAGE}.") in modules
                yield full if known else base, id(node) in for_types


def room(module):
    return module.partition(".")[0]


def host(module):
    """Which host's a module of `adapters` is; none where all share it."""
    name = module.removeprefix("adapters").removeprefix(".")
    return None if name in {"", *SHARED} else name.removeprefix("_").partition("_")[0]


def forbidden(source, module, modules):
    """Arrows from `module` that must not be, as sentences."""
    name = module.removesuffix(".__init__").removesuffix("__init__")
    for target, for_types in imported(source, module, modules):
        top, _, inside = target.partition(".")
        if top == PACKAGE:
            if room(name) not in ROOMS:
                yield f"{module} has no place in the package yet"
                continue
            allowed = {room(name), *ROOMS[room(name)].split()}
            adapters = room(name) == room(inside) == "adapters"
            foreign = adapters and host(inside) not in {None, host(name)}
            if room(inside) not in allowed or foreign:
                yield f"{module} must not import {inside or PACKAGE}"
        elif top in ONLY and not for_types and not re.fullmatch(ONLY[top], name):
            yield f"{module} must not import {top}"


def circles(arrows):
    """Modules, of ``{module: those that it imports}``, that import each other in the end."""
    left = {module: {*targets} - {module} for module, targets in arrows.items()}
    while ends := {module for module, targets in left.items() if not targets & left.keys()}:
        left = {module: targets for module, targets in left.items() if module not in ends}
    return left


def package_modules():
    root = Path(py4dstem_rrvae.__file__).parent
    return {
        ".".join(path.relative_to(root).with_suffix("").parts): path.read_text(encoding="utf-8")
        for path in sorted(root.rglob("*.py"))
    }


def names(modules):
    return {module.removesuffix(".__init__").removesuffix("__init__") for module in modules}


def test_arrows_point_inwards():
    sources = package_modules()
    assert {"model.rrvae", "estimator", "adapters.py4dstem", "cli"} <= set(sources)
    assert set(ROOMS) == {room(name) for name in names(sources)}
    found = [
        arrow
        for module, source in sources.items()
        for arrow in forbidden(source, module, names(sources))
    ]
    assert not found


@pytest.mark.parametrize(
    ("module", "source", "arrow"),
    [
        ("model.rrvae", "from ..scan.frames import Frames", "must not import scan.frames"),
        ("model.rrvae", "from ..training import loop", "must not import training.loop"),
        ("model.rrvae", "from .. import RRVAE", f"model.rrvae must not import {PACKAGE}"),
        ("model.rrvae", "import matplotlib.pyplot as plt", "rrvae must not import matplotlib"),
        ("model.angle", "from ..symmetry.scores import X", "must not import symmetry.scores"),
        ("detector.bins", "from ..model.angle import X", "bins must not import model.angle"),
        ("training.loop", "from ..scan import sampling", "loop must not import scan.sampling"),
        ("scan.frames", "from ..estimator import RRVAE", "frames must not import estimator"),
        ("scan.frames", "from emdfile import Node", "scan.frames must not import emdfile"),
        (
            "scan.frames",
            "if TYPE_CHECKING:\n    from ..estimator import RRVAE",
            "scan.frames must not import estimator",
        ),
        ("estimator", "def f():\n    import py4DSTEM", "estimator must not import py4DSTEM"),
        ("estimator", "from .adapters import py4dstem", "estimator must not import adapters.py4d"),
        ("maps.latent", "from ..plot import maps_figure", "maps.latent must not import plot"),
        ("plot.figures", "from ..cli import main", "plot.figures must not import cli"),
        ("explore.state", "import matplotlib", "explore.state must not import matplotlib"),
        ("explore.view", "import ipywidgets", "explore.view must not import ipywidgets"),
        ("explore.widget", "from ..adapters import py4dstem", "must not import adapters.py4dstem"),
        (
            "adapters.py4dstem",
            "from . import hyperspy",
            "py4dstem must not import adapters.hyperspy",
        ),
        ("adapters._models", "from .py4dstem import fit", "must not import adapters.py4dstem"),
        ("adapters.hyperspy", "from .py4dstem import fit", "must not import adapters.py4dstem"),
        ("adapters._py4dstem_tree", "import py4DSTEM", "_py4dstem_tree must not import py4DSTEM"),
        ("adapters.py4dstem", "import hyperspy.api as hs", "must not import hyperspy"),
        ("adapters.libertem", "from . import hyperspy", "must not import adapters.hyperspy"),
        ("adapters.hyperspy", "from libertem.udf import UDF", "hyperspy must not import libertem"),
        ("cli", "import py4DSTEM", "cli must not import py4DSTEM"),
        ("explore.widget", "from PyQt5 import QtCore", "explore.widget must not import PyQt5"),
        ("datasets", "import abtem", "datasets must not import abtem"),
        ("_accessor", "from .estimator import RRVAE", "_accessor must not import estimator"),
        ("newcomer", "from .model import rrvae", "newcomer has no place in the package yet"),
    ],
)
def test_the_checker_finds_a_forbidden_arrow(module, source, arrow):
    modules = {*names(package_modules()), "adapters.hyperspy", "newcomer"}
    (found,) = forbidden(source, module, modules)
    assert arrow in found


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("model.rrvae", "import torch\nfrom .networks import PolarEncoder"),
        (
            "adapters.py4dstem",
            "import py4DSTEM\nfrom ..scan.frames import Frames\nfrom . import _py4dstem_dpc",
        ),
        ("cli", "if TYPE_CHECKING:\n    from py4DSTEM import DataCube"),
        ("cli", "from .adapters import py4dstem\nfrom ._version import __version__"),
    ],
)
def test_the_checker_lets_the_others_pass(module, source):
    assert not list(forbidden(source, module, names(package_modules())))


def test_the_plugin_of_py4d_browser_enters_by_the_accessor():
    folder = Path(py4dstem_rrvae.__file__).parents[1] / "py4d_browser_plugin"
    assert [path.name for path in folder.iterdir() if path.name != "__pycache__"] == ["rrvae"]
    found = {}
    for path in (folder / "rrvae").glob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        taken = [
            alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names
        ]
        taken += [
            node.module for node in nodes if isinstance(node, ast.ImportFrom) if not node.level
        ]
        found[path.stem] = {
            name for name in taken if name.partition(".")[0] not in sys.stdlib_module_names
        }
    assert found == {name: set(allowed.split()) for name, allowed in PLUGIN.items()}


def benchmarks():
    root = Path(__file__).parent.parent / "benchmarks"
    return {path.stem: path.read_text(encoding="utf-8") for path in root.glob("*.py")}


def arrows(sources):
    known = names(sources)
    return {
        module.removesuffix(".__init__").removesuffix("__init__"): {
            target.removeprefix(PACKAGE).removeprefix(".")
            for target, _ in imported(source, module, known)
            if target.partition(".")[0] == PACKAGE
        }
        for module, source in sources.items()
    }


@pytest.mark.slow
def test_no_modules_import_each_other():
    assert not circles(arrows(package_modules()))
    own = {
        name: {target.partition(".")[0] for target in targets}
        for name, targets in arrows(benchmarks()).items()
    }
    assert own
    assert not circles(own)


def test_circles_are_found():
    planted = {
        "a": "if TYPE_CHECKING:\n    from .b import X",
        "b": "from . import c",
        "c": "from .a import Y",
        "d": "from .a import Z",
        "e": "import torch",
    }
    assert set(circles(arrows(planted))) >= {"a", "b", "c"}
    assert "e" not in circles(arrows(planted))


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_importing_the_package_imports_nothing_heavy():
    done = run(
        f"import sys, {PACKAGE}; dir({PACKAGE}); {PACKAGE}.__version__\n"
        f"print(sorted(set(sys.modules) & set({HEAVY})))"
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


@pytest.mark.slow
def test_training_does_not_import_torch_s_compiler():
    # That takes a second of a training of six.
    done = run(
        f"import sys, numpy as np\nfrom {PACKAGE} import RRVAE\n"
        "frames = np.random.default_rng(0).poisson(3, (40, 16, 16))\n"
        "RRVAE(max_epochs=2, progress=False, device='cpu').fit(frames)\n"
        "print('torch._dynamo' in sys.modules)"
    )
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "order", ["import py4DSTEM, py4dstem_rrvae", "import py4dstem_rrvae, py4DSTEM"]
)
def test_either_may_be_imported_first(order):
    done = run(
        f"{order}\n"
        "import sys, numpy as np\n"
        "assert 'py4dstem_rrvae.estimator' not in sys.modules\n"
        "assert 'py4dstem_rrvae.adapters' not in sys.modules\n"
        "cube = py4DSTEM.DataCube(np.ones((3, 3, 8, 8)))\n"
        "assert cube.rrvae is cube.rrvae\n"
        "print(type(cube.rrvae).__name__, py4DSTEM.DataCube.rrvae.__doc__)"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("DataCubeAccessor Latent maps of this scan")


def test_public_names_are_there_and_others_are_not():
    assert set(py4dstem_rrvae.__all__) <= set(dir(py4dstem_rrvae))
    for name in py4dstem_rrvae.__all__:
        assert getattr(py4dstem_rrvae, name) is not None
    assert py4dstem_rrvae.RRVAE.__module__ == "py4dstem_rrvae.estimator"
    with pytest.raises(AttributeError, match="'py4dstem_rrvae' has no attribute 'RVAE'"):
        _ = py4dstem_rrvae.RVAE


class Host:
    """A host's class, as the accessor sees it."""


TARGET = f"{__name__}:Accessor"


class Accessor:
    def __init__(self, host):
        self.host = host


def test_a_name_that_is_taken_is_left_alone(monkeypatch):
    monkeypatch.setattr(Host, "maps", "theirs", raising=False)
    with pytest.warns(UserWarning, match="Host already has an attribute 'maps', which is left"):
        _accessor.register(__name__, "Host", "maps", TARGET)
    assert Host.maps == "theirs"


def test_registering_twice_changes_nothing(monkeypatch):
    monkeypatch.setattr(Host, "maps", None, raising=False)
    monkeypatch.delattr(Host, "maps")
    _accessor.register(__name__, "Host", "maps", TARGET)
    first = Host.maps
    _accessor.register(__name__, "Host", "maps", TARGET)
    assert Host.maps is first
    host = Host()
    assert host.maps is host.maps
    assert host.maps.host is host
    assert Host().maps is not host.maps
    del Host.maps


def test_a_host_without_the_class_is_told():
    with pytest.warns(UserWarning, match="has no Nobody, so it gets no .maps"):
        _accessor.register(__name__, "Nobody", "maps", TARGET)
