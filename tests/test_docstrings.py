# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``help`` and a notebook's question mark say of public names."""

import inspect
import re

import pytest

import py4dstem_rrvae
from py4dstem_rrvae import RRVAE
from py4dstem_rrvae.adapters._docstrings import documented
from py4dstem_rrvae.adapters._hyperspy_accessor import SignalAccessor
from py4dstem_rrvae.adapters._py4dstem_accessor import DataCubeAccessor

ACCESSORS = {"datacube.rrvae": DataCubeAccessor, "signal.rrvae": SignalAccessor}
METHODS = {
    f"{name}.{method}": function
    for name, accessor in ACCESSORS.items()
    for method, function in inspect.getmembers(accessor, inspect.isfunction)
    if not method.startswith("_")
}
PUBLIC = {
    name: getattr(py4dstem_rrvae, name)
    for name in py4dstem_rrvae.__all__
    if callable(getattr(py4dstem_rrvae, name))
}
PUBLIC |= {
    f"RRVAE.{name}": function
    for name, function in inspect.getmembers(RRVAE, inspect.isfunction)
    if not name.startswith("_") and function.__module__ == RRVAE.__module__
}
# Rooms of the package, which no reader of a docstring should have to enter.
ROOMS = r"`(detector|model|training|scan|symmetry|maps|adapters)\.\w+"


@pytest.mark.parametrize("name", METHODS)
def test_methods_on_the_host_s_objects_are_told_whole(name):
    told = inspect.getdoc(METHODS[name])
    for parameter in list(inspect.signature(METHODS[name]).parameters)[1:]:
        assert re.search(rf"^\**(\w+, )*{parameter}\b", told, re.M), parameter
    assert "Examples\n--------\n>>> " in told
    assert name.partition(".")[0] in told.partition("Examples")[2]
    assert not re.search(rf"{ROOMS}|see `", told)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_point_at_no_room(name):
    assert not re.search(ROOMS, PUBLIC[name].__doc__)


def test_a_method_gets_what_it_has_and_not_the_host():
    def function(host, mask, sigma=1.0, **options):
        """Do it.

        Parameters
        ----------
        host
            What it is done to.

            In two paragraphs.
        mask : ndarray, shape (H, W)
            True where kept.
        sigma, other
            Widths.
        **options
            More.

        Raises
        ------
        ValueError
            If it cannot be.
        """

    class Accessor:
        @documented(function, "host.do()\nhost.do(2)")
        def do(self, sigma, **options):
            """Own words."""

        @documented(function, "host.done()")
        def done(self):
            """Own words."""

    assert Accessor.do.__doc__ == (
        "Do it.\n\nParameters\n----------\nsigma, other\n    Widths.\n**options\n    More.\n\n"
        "Raises\n------\nValueError\n    If it cannot be.\n\nExamples\n--------\n"
        ">>> host.do()  # doctest: +SKIP\n>>> host.do(2)  # doctest: +SKIP\n"
    )
    assert "Parameters" not in Accessor.done.__doc__
    assert "What it is done to" not in Accessor.done.__doc__
