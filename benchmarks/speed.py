# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast: stage by stage against the processor's floor, and against the host and the peers.

``python -m benchmarks.speed [--parts stages training ari host scan start] [--threads N]
[--peers PYTHON] [--device NAME] [--repeats 3] [--json FILE]`` prints tables. Every ratio is of two
times of one run, with the same number of threads; a number is the median of the repeats, with the
spread from the smallest to the largest. PYTHON is that of an environment that has AtomAI and
pyroVED. The figures of one machine are in ``benchmarks/NOTES.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from py4dstem_rrvae import RRVAE, synthetic
from py4dstem_rrvae.device import choose_device
from py4dstem_rrvae.model.architectures import Recipe
from py4dstem_rrvae.model.base import LatentModel
from py4dstem_rrvae.threads import one_thread
from py4dstem_rrvae.training import loop as training
from py4dstem_rrvae.training.defaults import schedule_of

from . import scores, speed_floor
from .quality import Row, table

PARTS = ("stages", "training", "ari", "host", "scan", "start")
SIZE, PATTERNS, COUNTS = 48, 2000, 5000
Result = dict[str, Any]
# Peers are trained without; each of our epochs ends with it.
HELD_OUT_TOO = "training, with held-out loss"


class Clock:
    """Times of something done several times, seconds."""

    def __init__(self, repeats: int, device: torch.device) -> None:
        self.repeats, self.device = repeats, device

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def __call__(
        self, work: Callable[[], Any], times: int = 1, earlier: Result | None = None
    ) -> Result:
        """Wall and process time of one of ``times`` calls, median over repeats old and new."""
        wall, cpu = (earlier["all_wall_s"], earlier["all_cpu_s"]) if earlier else ([], [])
        for _ in range(self.repeats):
            self.wait()
            before = time.perf_counter(), time.process_time()
            for _ in range(times):
                work()
            self.wait()
            wall.append((time.perf_counter() - before[0]) / times)
            cpu.append((time.process_time() - before[1]) / times)
        return {
            "wall_s": statistics.median(wall),
            "wall_spread_s": [min(wall), max(wall)],
            "cpu_s": statistics.median(cpu),
            "all_wall_s": wall,
            "all_cpu_s": cpu,
        }


class Sample:
    """Known patterns, and a model in the state in which training starts."""

    def __init__(self, device: str) -> None:
        self.frames = synthetic.lobes(PATTERNS, size=SIZE, counts=COUNTS).frames
        self.estimator = RRVAE(random_state=0, progress=False, device=device)
        self.prepared = self.estimator._prepare(self.frames, 8)
        chance = torch.Generator().manual_seed(0)
        self.parts = training.split(self.prepared.stabilised, chance)

    def model(self) -> LatentModel:
        """A new one, initialised."""
        ready, transform = self.prepared, self.prepared.binner.transform
        electrons = ready.intensity.mean_electrons(ready.stabilised, transform.weight)
        model = Recipe(2).build(transform.weight, transform.dof, electrons=electrons)
        model.initialise(self.parts[0], "auto")
        return model


def per_pattern(time: Result, n: int) -> Row:
    low, high = (1e6 * t / n for t in time["wall_spread_s"])
    return {
        "wall, us": f"{1e6 * time['wall_s'] / n:.2f} ({low:.2f} to {high:.2f})",
        "CPU, us": f"{1e6 * time['cpu_s'] / n:.2f}",
        "patterns/s": f"{n / time['wall_s']:,.0f}",
    }


def stages(sample: Sample, clock: Clock) -> Result:
    """Each stage with its operations, bytes and floor, per pattern."""
    rates = speed_floor.rates(clock.device)
    print(f"\nThis processor: {rates.matmul / 1e9:.0f} GFLOP/s, copies {rates.copy / 1e9:.1f} GB/s")
    result, rows = {}, []
    for stage in speed_floor.stages(sample):
        stage.work()
        took = clock(stage.work, stage.times)
        floor = stage.floor(rates)
        spent = took["cpu_s" if clock.device.type == "cpu" else "wall_s"]
        share = floor * stage.patterns / spent
        own = {"stage": stage.name, "operations": f"{stage.operations:,.0f}"}
        own |= {"bytes": f"{stage.bytes:,.0f}"} | per_pattern(took, stage.patterns)
        rows.append(own | {"floor, us": f"{1e6 * floor:.2f}", "share": f"{share:.0%}"})
        result[stage.name] = took | {"patterns": stage.patterns, "floor_s": floor}
    table(f"Stages, {SIZE} x {SIZE} pixels, per pattern", rows)
    return result | {"matmul_flop_s": rates.matmul, "copy_byte_s": rates.copy}


def throughput(sample: Sample, clock: Clock, peers: str | None) -> Result:
    """Training and encoding, ours and the peers'."""
    estimator, epochs = sample.estimator, 4
    training_part, _ = sample.parts
    schedule = replace(schedule_of(estimator.get_params(), len(training_part)), max_epochs=epochs)

    def chance() -> torch.Generator:
        return torch.Generator().manual_seed(0)

    def steps() -> None:
        model = sample.model()
        loop = training._Loop(model, schedule, len(training_part), chance())
        with one_thread():
            for _ in range(epochs):
                loop.epoch(training_part)

    fitted = RRVAE(max_epochs=2, random_state=0, progress=False, device=estimator.device)
    fitted.fit(sample.frames)
    many = np.concatenate([sample.frames] * 8)
    shown = epochs * len(training_part)
    work: dict[str, tuple[Callable[[], Any], int]] = {
        "training": (steps, shown),
        HELD_OUT_TOO: (
            lambda: training.train(sample.model(), *sample.parts, schedule, chance()),
            shown,
        ),
        "encoding": (lambda: fitted.encode(many), len(many)),
    }
    # A repeat of the peers' takes half a minute, one of ours half a second: so ours are more, half
    # of them before the peers and half after, and what else the machine does falls on both.
    often = Clock(5 * clock.repeats, clock.device)
    for once, _ in work.values():
        once()
    ours = {what: often(once) for what, (once, _) in work.items()}
    others = _peers(sample, clock, peers) if peers else {}
    ours = {
        what: often(once, earlier=ours[what]) | {"patterns": patterns}
        for what, (once, patterns) in work.items()
    }
    result = {"py4dstem_rrvae": ours} | others
    rows = []
    for name, times in result.items():
        for what, took in times.items():
            row = {"model": name, "what": what}
            for clocked in ("wall", "cpu"):
                rate = took["patterns"] / took[f"{clocked}_s"]
                mine = ours[what]["patterns"] / ours[what][f"{clocked}_s"]
                row[f"patterns per {clocked} s"] = f"{rate:,.0f}"
                row[f"ours over it ({clocked})"] = f"{mine / rate:.2f}"
            rows.append(row)
    table("Training, and encoding (ours: all codes, from the counts)", rows)
    return result


def _peers(sample: Sample, clock: Clock, python: str) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "frames.npy", sample.frames)
        command = [python, Path(__file__).with_name("speed_peers.py"), folder]
        command += [str(torch.get_num_threads()), str(clock.repeats), clock.device.type]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        found: Result = json.loads((Path(folder) / "times.json").read_text())
    return found


def time_to_ari(device: str, clock: Clock) -> Result:
    """From counts to all codes, and what these are worth."""
    train, fresh = (synthetic.lobes(PATTERNS, counts=COUNTS, random_state=s) for s in (0, 1))
    rows, result = [], {}
    for name, options in speed_floor.SETTINGS.items():
        model = RRVAE(random_state=0, progress=False, device=device, **options)
        took = clock(lambda model=model: model.fit(train.frames).encode(train.frames))
        codes = model.encode(fresh.frames)
        worth = {
            "ari": scores.ari(codes.z, fresh.label),
            "deformation": scores.deformation(codes.z, fresh),
            "angle": scores.angle_error_over_bound(fresh, codes.angle),
        }
        result[name] = took | worth
        low, high = took["wall_spread_s"]
        row = {"settings": name, "wall, s": f"{took['wall_s']:.1f} ({low:.1f} to {high:.1f})"}
        row |= {"CPU, s": f"{took['cpu_s']:.1f}", "ARI": f"{worth['ari']:.4f}"}
        row["deformation R2"] = f"{worth['deformation']:.3f}"
        row["angle error / bound"] = " ".join(f"{a:.2f}" for a in worth["angle"])
        rows.append(row)
    table(f"fit and encode of {PATTERNS} patterns; scores of others", rows)
    return result


def against_host(device: str, clock: Clock) -> Result:
    """Fit and all maps, and the host's DPC, on one data cube."""
    import py4DSTEM

    side, pixels = 128, 128
    tile = synthetic.lobes(1024, size=pixels, counts=COUNTS).frames.astype(np.uint16)
    data = np.tile(tile, (side * side // len(tile), 1, 1)).reshape(side, side, pixels, pixels)
    cube = py4DSTEM.DataCube(data)
    cube.calibration.set_origin(((pixels - 1) / 2, (pixels - 1) / 2))
    cube.calibration.set_R_pixel_size(0.2)
    cube.calibration.set_R_pixel_units("A")
    cube.calibration.set_Q_pixel_size(0.02)
    cube.calibration.set_Q_pixel_units("A^-1")

    def host() -> None:
        dpc = py4DSTEM.process.phase.DPC(datacube=cube, energy=60e3, verbose=False)
        with np.errstate(invalid="ignore", divide="ignore"):
            dpc.preprocess(plot_rotation=False, plot_center_of_mass=False)
            dpc.reconstruct(progress_bar=False)

    def ours() -> None:
        cube.rrvae.fit(random_state=0, progress=False, device=device)

    result = {"host DPC": clock(host), "fit and all maps": clock(ours)}
    result["maps alone"] = clock(lambda: cube.rrvae.encode(cube.rrvae.model))
    dpc = result["host DPC"]["wall_s"]
    rows = []
    for name, took in result.items():
        low, high = took["wall_spread_s"]
        row = {"what": name, "wall, s": f"{took['wall_s']:.1f} ({low:.1f} to {high:.1f})"}
        rows.append(
            row | {"CPU, s": f"{took['cpu_s']:.1f}", "over DPC": f"{took['wall_s'] / dpc:.2f}"}
        )
    table(f"{side} x {side} positions of {pixels} x {pixels} pixels, uint16", rows)
    return result


ONE_SCAN = """
import h5py, json, sys, time, torch
from benchmarks.worker import peak_mib as peak
from py4dstem_rrvae import RRVAE
torch.set_num_threads(int(sys.argv[2]))
model = RRVAE(random_state=0, progress=False, device=sys.argv[3], center=(15.5, 15.5))
with h5py.File(sys.argv[1]) as file:
    RRVAE(max_epochs=1, progress=False, device=sys.argv[3]).fit(file["data"][0, :64])
    before, start = peak(), time.perf_counter()
    model.fit(file["data"])
    trained = time.perf_counter()
    model.encode(file["data"])
    end = time.perf_counter()
print(json.dumps({"fit_s": trained - start, "encode_s": end - trained, "MiB": peak() - before}))
"""


def against_scan_size(device: str) -> Result:
    """Time and memory of scans of three sizes, each in a process of its own."""
    tile = synthetic.lobes(1024, size=32, counts=COUNTS).frames.astype(np.uint16)
    result, rows = {}, []
    for side in (128, 256, 512):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "scan.h5"
            with h5py.File(path, "w") as file:
                data = file.create_dataset("data", (side, side, 32, 32), "u2")
                for row in range(side):
                    data[row] = tile[(row * side + np.arange(side)) % len(tile)]
            command = [sys.executable, "-c", ONE_SCAN, path, str(torch.get_num_threads()), device]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
        found: Result = json.loads(done.stdout)
        result[str(side * side)] = found
        rate = f"{side * side / found['encode_s']:,.0f}"
        row = {"positions": f"{side * side:,}", "fit, s": f"{found['fit_s']:.1f}"}
        row |= {"encode, s": f"{found['encode_s']:.1f}", "encoded/s": rate}
        rows.append(row | {"peak beyond imports, MiB": f"{found['MiB']:.0f}"})
    table("Scans of 32 x 32 pixels, uint16, in an HDF5 file", rows)
    return result


def start_up(clock: Clock) -> Result:
    """Time until the package is imported and its command has spoken."""
    python = [sys.executable, "-c"]
    commands = {
        "python alone": [*python, "pass"],
        "import py4dstem_rrvae": [*python, "import py4dstem_rrvae"],
        "py4dstem-rrvae --help": [
            *python,
            "import sys; sys.argv = ['py4dstem-rrvae', '--help']; "
            "from py4dstem_rrvae.cli import main; main()",
        ],
    }
    result = {}
    for name, command in commands.items():
        run = lambda command=command: subprocess.run(command, check=True, capture_output=True)  # noqa: E731
        run()
        result[name] = clock(run)
    table(
        "Start-up",
        [{"command": n, "wall, s": f"{t['wall_s']:.3f}"} for n, t in result.items()],
    )
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers", metavar="PYTHON", help="with AtomAI and pyroVED")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    clock, sample = Clock(options.repeats, device), Sample(options.device)
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    print(f"torch {torch.__version__}, {device}, {options.threads} threads, load {load}")
    run: dict[str, Callable[[], Result]] = {
        "stages": lambda: stages(sample, clock),
        "training": lambda: throughput(sample, clock, options.peers),
        "ari": lambda: time_to_ari(options.device, clock),
        "host": lambda: against_host(options.device, clock),
        "scan": lambda: against_scan_size(options.device),
        "start": lambda: start_up(clock),
    }
    result: Result = {"torch": torch.__version__, "device": str(device), "load": load}
    result |= {"threads": options.threads} | {part: run[part]() for part in options.parts}
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
