# SPDX-License-Identifier: GPL-3.0-or-later
"""Docstrings of accessor methods: those of the functions that they call, said once."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])
SECTION = re.compile(r"^Parameters\n-+\n(?P<entries>.*?)(?=^\w[\w ]*\n-+\n|\Z)", re.M | re.S)
# Names, perhaps with a type, and the indented lines below.
ENTRY = re.compile(r"^(?P<names>[\w*, ]+?)(?: :.*)?\n(?:^[ \t]+.*\n?|^\n)*", re.M)


def documented(function: Callable[..., Any], example: str) -> Callable[[Method], Method]:
    """Give a method the docstring of the function that it calls, and an example.

    Parameters that the method has not, as the host itself, are left out.

    Parameters
    ----------
    function
        With a numpydoc docstring.
    example
        Lines of Python.
    """
    lines = "\n".join(f">>> {line}  # doctest: +SKIP" for line in example.splitlines())

    def give(method: Method) -> Method:
        known = {f"{'**' * (p.kind is p.VAR_KEYWORD)}{name}" for name, p in _parameters(method)}

        def kept(section: re.Match[str]) -> str:
            entries = [
                entry[0]
                for entry in ENTRY.finditer(section["entries"])
                if known & set(entry["names"].split(", "))
            ]
            return "Parameters\n----------\n" + "".join(entries) if entries else ""

        told = SECTION.sub(kept, inspect.getdoc(function) or "").rstrip()
        method.__doc__ = f"{told}\n\nExamples\n--------\n{lines}\n"
        return method

    return give


def _parameters(method: Callable[..., Any]) -> Any:
    return inspect.signature(method).parameters.items()
