# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress bars with the time left: in a notebook, and on a terminal; none in a log."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from tqdm import std
from tqdm.auto import notebook_tqdm, tqdm

# Which of the two tqdm finds by itself.
IN_NOTEBOOK = notebook_tqdm is not std.tqdm


def shown(stage: str | None) -> bool:
    """Whether a bar is seen by anybody; a stage of None has none."""
    return stage is not None and (IN_NOTEBOOK or sys.stderr.isatty())


def progress_bar(stage: str | None, **about: Any) -> tqdm:
    """Bar of a stage, as "training"; `about` as `tqdm` takes it."""
    return tqdm(desc=stage, disable=not shown(stage), **about)


def dask_progress(stage: str | None) -> AbstractContextManager[Any]:
    """Bar of the tasks that dask's own schedulers do meanwhile."""
    if not shown(stage):
        return nullcontext()
    from tqdm.dask import TqdmCallback

    callback: AbstractContextManager[Any] = TqdmCallback(desc=stage)
    return callback
