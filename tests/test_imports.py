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

# Modules outside the package and the only modules (regular expressions) that may import them.
ONLY = {
    "py4DSTEM": r"adapters\.py4dstem|adapters\._py4dstem_files",
    "emdfile": r"adapters\.py4dstem|adapters\._py4dstem_files",
    "hyperspy": r"adapters\.hyperspy|adapters\._hyperspy_(pyxem|files)|signals",
    "pyxem": r"adapters\._hyperspy_pyxem",
    "libertem": r"adapters\.libertem",
    "matplotlib": r"plot|plot_manifold|explore\.(pictures|view|widget)",
    "matplotlib_scalebar": r"plot",
    "ipywidgets": r"explore\.widget",
    "ipympl": r"explore\.widget",
    "abtem": r"simulate\.multislice",
    "ase": r"simulate\.specimens",
}
INNER = r"core(\..+)?|blocks|frames|center_checks|codes|encoding|sampling|origins|adoption"
INNER += r"|options|estimator|schedule|model_file|replacing|maps|angle_maps|standout"
INNER += r"|descriptors|anomalies|selection"
# Modules of the package and what of it they may import; the first row that fits counts.
ALLOWED = [
    (r"core(\..+)?", r"core(\..+)?"),
    (r"replacing", r"(?!.)"),
    (INNER, rf"{INNER}|"),
    (
        r"adapters\._?(?P<host>[a-z0-9]+).*",
        rf"{INNER}||plot|explore(\.words)?|signals|adapters|adapters\._(models|outputs|fingerprint)|adapters\._?(?P=host).*",
    ),
    (r"explore(\.(state|plane|words|widget))?", rf"{INNER}|explore(\..+)?"),
    (r"explore\.(pictures|view)", rf"{INNER}|plot|explore(\..+)?"),
    (r"plot|plot_manifold", rf"{INNER}|plot_manifold"),
    (r"synthetic", r"camera"),
    (r"camera", r"(?!.)"),
    (r"datasets", r"datasets|adapters\..+"),
    (r"simulate(\..+)?", r"datasets|replacing|simulate(\..+)?"),
    (r"sites", r"datasets"),
    (r"signals", rf"{INNER}|adapters\.hyperspy"),
    (r"cli", r"(?!core|simulate|plot|sites).*"),
    (r"_accessor", r"(?!.)"),
    (r"", r".*"),
]


def imported(source, module, modules):
    """Dotted modules that `module`, relative to the package, imports when it runs."""
    tree = ast.parse(source)
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test).endswith("TYPE_CHECKING")
        for node in ast.walk(block)
    }
    package = [PACKAGE, *module.split(".")[:-1]]
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                # What a package gives is a module of its own, or a name of the package itself.
                yield full if full.removeprefix(f"{PACKAGE}.") in modules else base


def forbidden(source, module, modules):
    """Arrows from `module` that must not be, as sentences."""
    name = module.removesuffix(".__init__").removesuffix("__init__")
    for target in imported(source, module, modules):
        top, _, inside = target.partition(".")
        if top == PACKAGE:
            row = next((row for row in ALLOWED if re.fullmatch(row[0], name)), None)
            if row is None:
                yield f"{module} has no place in the package yet"
                continue
            host = re.fullmatch(row[0], name).groupdict().get("host", "")
            if not re.fullmatch(row[1].replace("(?P=host)", host), inside):
                yield f"{module} must not import {inside or PACKAGE}"
        elif top in ONLY and not re.fullmatch(ONLY[top], name):
            yield f"{module} must not import {top}"


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
    assert {"core.model", "estimator", "adapters.py4dstem", "plot", "cli"} <= set(sources)
    found = [
        arrow
        for module, source in sources.items()
        for arrow in forbidden(source, module, names(sources))
    ]
    assert not found


@pytest.mark.parametrize(
    ("module", "source", "arrow"),
    [
        ("core.model", "from ..frames import Frames", "core.model must not import frames"),
        ("core.model", "from .. import __version__", f"core.model must not import {PACKAGE}"),
        ("core.model", "import matplotlib.pyplot as plt", "core.model must not import matplotlib"),
        ("estimator", "def f():\n    import py4DSTEM", "estimator must not import py4DSTEM"),
        ("estimator", "from .adapters import py4dstem", "estimator must not import adapters.py4d"),
        ("frames", "from emdfile import Node", "frames must not import emdfile"),
        ("maps", "from .plot import maps_figure", "maps must not import plot"),
        ("plot", "from .cli import main", "plot must not import cli"),
        ("explore.state", "import matplotlib", "explore.state must not import matplotlib"),
        ("explore.view", "import ipywidgets", "explore.view must not import ipywidgets"),
        ("explore.widget", "from ..adapters import py4dstem", "must not import adapters.py4dstem"),
        (
            "adapters.py4dstem",
            "from . import hyperspy",
            "py4dstem must not import adapters.hyperspy",
        ),
        ("adapters.hyperspy", "from .py4dstem import fit", "must not import adapters.py4dstem"),
        ("adapters._py4dstem_tree", "import py4DSTEM", "_py4dstem_tree must not import py4DSTEM"),
        ("adapters.py4dstem", "import hyperspy.api as hs", "must not import hyperspy"),
        ("adapters.libertem", "from . import hyperspy", "must not import adapters.hyperspy"),
        ("adapters.hyperspy", "from libertem.udf import UDF", "hyperspy must not import libertem"),
        ("cli", "import py4DSTEM", "cli must not import py4DSTEM"),
        ("datasets", "import abtem", "datasets must not import abtem"),
        ("_accessor", "from .estimator import RRVAE", "_accessor must not import estimator"),
        ("newcomer", "from .core import model", "newcomer has no place in the package yet"),
    ],
)
def test_the_checker_finds_a_forbidden_arrow(module, source, arrow):
    modules = {*names(package_modules()), "adapters.hyperspy", "newcomer"}
    (found,) = forbidden(source, module, modules)
    assert arrow in found


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("core.model", "import torch\nfrom .networks import PolarEncoder"),
        (
            "adapters.py4dstem",
            "import py4DSTEM\nfrom ..frames import Frames\nfrom . import _py4dstem_dpc",
        ),
        ("cli", "if TYPE_CHECKING:\n    from py4DSTEM import DataCube"),
        ("cli", "from .adapters import py4dstem\nfrom . import __version__"),
    ],
)
def test_the_checker_lets_the_others_pass(module, source):
    assert not list(forbidden(source, module, names(package_modules())))


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_importing_the_package_imports_nothing_heavy():
    done = run(
        f"import sys, {PACKAGE}; dir({PACKAGE}); {PACKAGE}.__version__\n"
        f"print(sorted(set(sys.modules) & set({HEAVY})))"
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_training_does_not_import_torch_s_compiler():
    # That takes a second of a training of six.
    done = run(
        f"import sys, numpy as np\nfrom {PACKAGE} import RRVAE\n"
        "frames = np.random.default_rng(0).poisson(3, (40, 16, 16))\n"
        "RRVAE(max_epochs=2, progress=False, device='cpu').fit(frames)\n"
        "print('torch._dynamo' in sys.modules)"
    )
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr


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
