# SPDX-License-Identifier: GPL-3.0-or-later
"""Our models, baselines and peers on the same patterns, as a table.

``python -m benchmarks.compare [--peers-python PYTHON] [--results FOLDER] [--markdown FILE]``
runs every method on every data set and seed, each in a process and on a core of its own, and prints
Markdown. The results' folder gets the same figures as ``comparison.json``, and the latents and
angles of every run; what is in it already is not run again, so an interrupted run goes on where it
was. ``--print`` runs nothing. ``--methods``, ``--problems``, ``--seeds``, ``--patterns`` and
``--epochs`` (of peers and coordinate models) take a part; ``--onto docs/comparison.md`` puts its
rows into the tables there and leaves the others. The peers' Python is made by
`benchmarks.peers.install`; without it they are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .methods import METHODS
from .problems import PROBLEMS
from .quality import Row
from .scans import SCANS

TABLES, AFTER_TABLES = "## Tables\n\n", "\nThe same figures"
"""What stands before and after the tables of a page."""
ROOT = Path(__file__).parent.parent
Result = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One run: a method on a problem; `epochs` is 0 where the method knows better."""

    method: str
    problem: str
    seed: int
    patterns: int
    epochs: int

    @classmethod
    def of(cls, method: str, problem: str, seed: int, patterns: int, epochs: int) -> Job:
        return cls(method, problem, seed, patterns, epochs if METHODS[method].budgeted else 0)

    def path(self, folder: Path) -> Path:
        return folder / self.problem / f"{self.method}-{self.seed}.json"

    def read(self, folder: Path) -> Result | None:
        """Its result, unless there is none, or one of other settings."""
        path = self.path(folder)
        if not path.exists():
            return None
        result: Result = json.loads(path.read_text())
        return result if result["settings"] == self.settings() else None

    def settings(self) -> dict[str, Any]:
        """All that the result depends on."""
        return asdict(self) | {"options": self.options()}

    def options(self) -> dict[str, Any]:
        """What its process is told beside the patterns."""
        method = METHODS[self.method]
        what = method.peer or {"method": self.method}
        return what | ({"epochs": self.epochs} if method.budgeted else {}) | {"seed": self.seed}

    def command(self, peers_python: str | None) -> list[str]:
        """How to start its process."""
        if not METHODS[self.method].peer:
            return [sys.executable, "-m", "benchmarks.methods"]
        if peers_python is None:
            raise ValueError(f"{self.method} needs the peers' Python; see benchmarks.peers")
        return [peers_python, "-m", "benchmarks.peers.run"]

    def run(self, folder: Path, peers_python: str | None) -> Result:
        """Run it in a process of its own, score it, and write the result."""
        command = self.command(peers_python)
        problem = PROBLEMS[self.problem](self.patterns)
        single = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        path = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        with tempfile.TemporaryDirectory() as scratch:
            files = [f"{scratch}/in.npz", f"{scratch}/out.npz"]
            np.savez(
                files[0],
                train=problem.train,
                fresh=problem.fresh,
                options=json.dumps(self.options() | {"geometry": problem.geometry}),
            )
            done = subprocess.run(
                [*command, *files],
                env=os.environ | single | {"PYTHONPATH": path},
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise RuntimeError(f"{self} failed:\n{done.stderr[-2000:]}")
            found = np.load(files[1])
            z, angle = found["z"].astype(float), found["angle"].astype(float)
            figures = problem.figures(z, angle, found["expected"])
            cost = json.loads(str(found["cost"]))
        result = {"settings": self.settings(), "figures": figures, "cost": cost}
        target = self.path(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(target.with_suffix(".npz"), z=z, angle=angle)
        partial = target.with_suffix(".part")
        partial.write_text(json.dumps(result, indent=1))
        partial.replace(target)  # a file that is there is whole
        return result


def jobs(
    methods: Iterable[str], problems: Iterable[str], seeds: int, patterns: int, epochs: int
) -> list[Job]:
    """All, the first seed of everything first, so that an early table has every row."""
    return [
        Job.of(method, problem, seed, patterns, epochs)
        for seed in range(seeds)
        for problem in problems
        for method in methods
        if (seed == 0 or METHODS[method].seeded) and (problem in SCANS or not METHODS[method].disc)
    ]


def work(queue: Sequence[Job], folder: Path, peers_python: str | None) -> None:
    """Run what is not in the folder; a failed run is told of and does not stop the others."""
    for i, job in enumerate(queue):
        if job.read(folder) is None:
            print(f"{i + 1}/{len(queue)} {job.problem} {job.method} {job.seed}", file=sys.stderr)
            try:
                job.run(folder, peers_python)
            except RuntimeError as failure:
                print(failure, file=sys.stderr)


def collect(queue: Sequence[Job], folder: Path) -> list[Result]:
    """One entry a method and problem: figures and cost, medians over the seeds that are there."""
    entries = []
    for problem in dict.fromkeys(job.problem for job in queue):
        for method in dict.fromkeys(job.method for job in queue):
            own = [job for job in queue if (job.method, job.problem) == (method, problem)]
            if not own:
                continue
            found = [result for job in own if (result := job.read(folder)) is not None]
            entry: Result = {"problem": problem, "method": method, "seeds": len(found)}
            entry["epochs"], entry["patterns"] = own[0].epochs, own[0].patterns
            for part in ("figures", "cost"):
                names = found[0][part] if found else {}
                entry |= {name: _median([result[part][name] for result in found]) for name in names}
            entries.append(entry)
    return entries


def onto(page: Path, found: list[Result]) -> None:
    """Put rows that were run into a page's tables, and into the JSON file beside it.

    Rows of the same method and problem are replaced; all others stay as they are.
    """
    stored = page.with_suffix(".json")
    there = [*json.loads(stored.read_text()), *(entry for entry in found if entry["seeds"])]
    rows = {(entry["problem"], entry["method"]): entry for entry in there}
    places = [(problem, method) for problem in PROBLEMS for method in METHODS]
    entries = [rows[place] for place in places if place in rows]
    before, _, rest = page.read_text().partition(TABLES)
    after = rest[rest.index(AFTER_TABLES) :]
    stored.write_text(json.dumps(entries, indent=1))
    page.write_text(before + TABLES + markdown(entries) + after)


def _median(values: list[Any]) -> Any:
    """Of numbers, or of lists of them entry by entry; None for NaN, which JSON does not know."""
    median = np.median(values, axis=0)
    return np.where(np.isnan(median), None, median).tolist()


def _number(form: str) -> Callable[[Any], str]:
    return lambda value: form.format(value)


COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "10-NN accuracy": ("accuracy", _number("{:.3f}")),
    "ARI": ("ari", _number("{:.3f}")),
    "angle error / bound": (
        "angle",
        lambda v: " ".join("-" if x is None else f"{x:.2f}" for x in v),
    ),
    "turn error, degrees": ("turn", _number("{:.1f}")),
    "turn in z": ("leak", _number("{:.3f}")),
    "deformation R2": ("deformation", _number("{:.3f}")),
    "reconstruction": ("reconstruction", _number("{:.2f}")),
    "fit, s": ("fit_s", _number("{:.1f}")),
    "training, /s": ("training", _number("{:,.0f}")),
    "encoding, /s": ("encoding", _number("{:,.0f}")),
    "peak, MiB": ("peak_mib", _number("{:,.0f}")),
}


def row(entry: Result) -> Row:
    """Cells of an entry; "-" where the method has no such answer, or was not run."""
    if entry["seeds"]:
        rates = {"training": entry["shown"] / entry["fit_s"]} if entry["shown"] else {}
        entry = entry | rates | {"encoding": entry["encoded"] / entry["encode_s"]}
    label = METHODS[entry["method"]].label
    label += f", {entry['epochs']} epochs" if entry["epochs"] else ""
    head = {"method": label, "seeds": str(entry["seeds"] or "not run")}
    other = ("angle", "leak", "deformation") if entry["problem"] in SCANS else ("turn",)
    return head | {
        title: form(entry[name]) if name in entry else "-"
        for title, (name, form) in COLUMNS.items()
        if name not in other
    }


def heading(problem: str) -> str:
    """What a table calls a problem."""
    if problem in SCANS:
        name, _, size = problem.partition("-")
        return f"Scan: {name.replace('_', ' ')}" + (f", {size} x {size} pixels" if size else "")
    kind, size, counts = problem.rsplit("-", 2)
    return f"{kind.replace('_', ' ').capitalize()}, {size} x {size} pixels, {counts} counts"


def markdown(entries: list[Result]) -> str:
    """One table a problem."""
    parts = []
    for problem in dict.fromkeys(entry["problem"] for entry in entries):
        rows = [row(entry) for entry in entries if entry["problem"] == problem]
        lines = [
            f"### {heading(problem)}",
            "",
            f"| {' | '.join(rows[0])} |",
            f"|{'---|' * len(rows[0])}",
        ]
        lines += [f"| {' | '.join(cells.values())} |" for cells in rows]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--patterns", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=100, help="of the slow ones")
    parser.add_argument("--results", type=Path, default=Path("comparison"))
    parser.add_argument("--markdown", type=Path, help="also write the table there")
    parser.add_argument("--onto", type=Path, help="put the rows into the tables of this page")
    parser.add_argument("--print", action="store_true", help="print what there is, run nothing")
    parser.add_argument("--peers-python", default=os.environ.get("PEERS_PYTHON"))
    options = parser.parse_args()
    queue = jobs(options.methods, options.problems, options.seeds, options.patterns, options.epochs)
    if not options.print:
        runnable = [j for j in queue if options.peers_python or not METHODS[j.method].peer]
        work(runnable, options.results, options.peers_python)
    entries = collect(queue, options.results)
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "comparison.json").write_text(json.dumps(entries, indent=1))
    text = markdown(entries)
    print(text, end="")
    if options.markdown:
        options.markdown.write_text(text)
    if options.onto:
        onto(options.onto, entries)


if __name__ == "__main__":
    main()
