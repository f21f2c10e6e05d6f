# SPDX-License-Identifier: GPL-3.0-or-later
"""One prepared run on a machine with a CUDA device: whether all is right there, and how fast.

``bash benchmarks/on_device.sh [--cpu] [--json FILE] [--seconds 450]`` needs no network and none of
the hosts. First come checks, each of which passes or fails, then tables of speed beside what the
device's memory, its products and the bus take at least; all of it goes to the JSON file, which is
written anew after each part. What does not begin within the time is said to be missing. ``--cpu``
does the same on the processor at small sizes. It exits with 1 if a check failed.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import pickle
import re
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from py4dstem_rrvae import RRVAE, Codes, Frames, synthetic
from py4dstem_rrvae.detector.bin_operator import as_floats
from py4dstem_rrvae.scan.encoding import DEVICE_CHUNK
from py4dstem_rrvae.training.calibration import calibrate, redraw
from py4dstem_rrvae.training.loop import split

from . import speed
from .quality import Row, table

Result = dict[str, Any]
# Codes of one model on two devices: float32 rounding, as it comes through networks and peaks.
ROUNDING = 1e-3
# Share of patterns whose fold may change: those that are as near as rounding to a threshold.
FOLDS = 0.01

OPEN_ELSEWHERE = """
import pickle, sys
import numpy as np, torch
from py4dstem_rrvae import RRVAE
assert not torch.cuda.is_available()
frames = np.load("frames.npy")
with open("model.pickle", "rb") as file:
    opened = {"pickle": pickle.load(file), "file": RRVAE.load("model.rrvae")}
for name, model in opened.items():
    np.save(name, model.set_params(device="cpu").transform(frames))
"""


@dataclass(frozen=True)
class Sizes:
    """How much is done: positions encoded by pixels along a side, a scan's sides, and repeats."""

    encoded: dict[int, int]
    scan: tuple[int, int]
    repeats: int
    fits: int
    epochs: int


FULL = Sizes({48: 65536, 128: 16384, 192: 16384}, (128, 128), 3, 10, 25)
SMALL = Sizes({48: 256, 128: 64, 192: 16}, (16, 32), 1, 3, 1)


class Checks:
    """What must hold on the device; each method returns figures, or raises."""

    def __init__(self, device: str, sizes: Sizes) -> None:
        self.device, self.sizes = device, sizes
        self.options = {"random_state": 0, "progress": False, "device": device}
        self.train = synthetic.lobes(1000, size=32, counts=3000)
        self.fresh = synthetic.lobes(300, size=32, counts=3000, random_state=1)
        self._fitted: RRVAE | None = None

    @property
    def fitted(self) -> RRVAE:
        """A model that was trained on the device."""
        if self._fitted is None:
            self._fitted = RRVAE(max_epochs=25, **self.options).fit(self.train.frames)
        return self._fitted

    def _both(self, model: RRVAE, frames: Any, **how: Any) -> Result:
        """Largest differences between codes made here and on the processor."""
        found = model.encode(frames, **how)
        want = _on_processor(model).encode(frames, **how)
        return _differences(found, want)

    def codes_of_a_model_from_the_processor(self) -> Result:
        model = RRVAE(**self.options | {"device": "cpu"}, max_epochs=25).fit(self.train.frames)
        return self._both(model.set_params(device=self.device), self.fresh.frames)

    def fit(self) -> Result:
        found = self._both(self.fitted, self.fresh.frames)
        angle = self.fitted.encode(self.fresh.frames).angle
        error = float(np.nanmedian(self.fresh.angle_error(angle) / self.fresh.bound))
        assert error <= 1.2, f"median angle error is {error:.2f} of the bound"
        return found | {"angle error / bound": error}

    def same_seed_same_model(self) -> Result:
        options = self.options | {"max_epochs": 2}
        one, same = (RRVAE(**options).fit(self.fresh.frames).fitted_ for _ in range(2))
        state, other = one.model.state_dict(), same.model.state_dict()
        differing = [name for name in state if not torch.equal(state[name], other[name])]
        assert not differing, f"these differ: {', '.join(differing)}"
        return {}

    def calibrate(self) -> Result:
        widths = []
        for device in (self.device, "cpu"):
            estimator = RRVAE(**self.options | {"device": device})
            prepared = estimator._prepare(self.train.frames, 8)
            transform, chance = prepared.binner.transform, torch.Generator().manual_seed(0)
            model = pickle.loads(pickle.dumps(self.fitted.fitted_.model)).to(transform.device)
            _, held_out = split(prepared.stabilised, chance)
            detector = (model, transform, prepared.intensity, chance)
            calibrate(model, held_out, lambda x, n, detector=detector: redraw(x, n, *detector))
            widths.append(torch.cat([model.spread, model.angle_spread[None]]).cpu().numpy())
        found, want = widths
        ratio = float(np.abs(found / want - 1).max())
        # A count drawn from a rate that differs by rounding is another one now and then.
        assert ratio < 0.05, f"factors of the error bars are {found} here, {want} there"
        return {"factors": found.tolist(), "differ by": ratio}

    def refit(self) -> Result:
        brighter = synthetic.lobes(300, size=32, counts=6000, random_state=2).frames
        return self._both(self.fitted, brighter, background="refit")

    def mirror(self) -> Result:
        return self._variant(self.train.frames[:400], mirror=True)

    def coordinate(self) -> Result:
        few = synthetic.lobes(100, size=16, counts=3000).frames
        return self._variant(few, architecture="coordinate", max_epochs=1)

    def mask(self) -> Result:
        mask = np.ones((32, 32), dtype=bool)
        mask[:6, 12:20] = False
        return self._variant(self.train.frames[:400], mask=mask)

    def wandering_beam(self) -> Result:
        origins = 15.5 + np.random.default_rng(0).uniform(-1, 1, (200, 2)).round(1)
        rolled = [
            np.roll(frame, np.rint(origin - 15.5).astype(int), axis=(0, 1))
            for frame, origin in zip(self.train.frames, origins, strict=False)
        ]
        return self._variant(Frames(np.stack(rolled), center=origins))

    def other_scales(self) -> Result:
        found = {}
        for kind in ("sqrt", "linear", "log"):
            found[kind] = self._variant(self.train.frames[:200], intensity=kind)
        return found

    def _variant(self, frames: Any, **options: Any) -> Result:
        options = {"max_epochs": self.sizes.epochs} | options
        return self._both(RRVAE(**self.options, **options).fit(frames), frames)

    def hdf5_file(self) -> Result:
        with tempfile.TemporaryDirectory() as folder:
            with h5py.File(Path(folder) / "scan.h5", "w") as file:
                data = file.create_dataset("data", data=self.fresh.frames.reshape(15, 20, 32, 32))
                model = RRVAE(**self.options, max_epochs=2).fit(data)
                found = model.encode(data)
            want = model.encode(self.fresh.frames)
        difference = float(np.abs(found.z.reshape(300, -1) - want.z).max())
        assert difference < ROUNDING, f"z of the file's patterns differs by {difference:.1e}"
        return {"z": difference}

    def opened_without_the_device(self) -> Result:
        want = self.fitted.transform(self.fresh.frames)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder)
            np.save(path / "frames.npy", self.fresh.frames)
            (path / "model.pickle").write_bytes(pickle.dumps(self.fitted))
            self.fitted.save(path / "model.rrvae")
            package = str(Path(__file__).parents[1])
            known = os.pathsep.join([package, os.environ.get("PYTHONPATH", "")])
            about = os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": known}
            command = [sys.executable, "-c", OPEN_ELSEWHERE]
            done = subprocess.run(command, cwd=path, env=about, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr[-600:]
            found = {name: np.load(path / f"{name}.npy") for name in ("pickle", "file")}
        differences = {name: float(np.abs(z - want).max()) for name, z in found.items()}
        assert max(differences.values()) < ROUNDING, f"z differs: {differences}"
        return differences

    def memory_is_freed(self) -> Result:
        taken = []
        for _ in range(self.sizes.fits):
            RRVAE(**self.options, max_epochs=1).fit(self.fresh.frames).encode(self.fresh.frames)
            gc.collect()
            taken.append(_taken(self.device) / 2**20)
        grown = taken[-1] - taken[1]
        # Beside the device, where Python and its allocator keep what they like.
        most = 1 if self.device == "cuda" else 32
        assert grown < most, f"memory grew by {grown:.1f} MiB: {taken}"
        return {"MiB": taken, "grown MiB": grown}

    def too_little_memory(self) -> Result:
        if self.device != "cuda":
            return {"skipped": "needs CUDA"}
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(1e-4)
        try:
            RRVAE(**self.options, max_epochs=1).fit(synthetic.lobes(4000, size=64).frames)
        except MemoryError as error:
            said = str(error)
        else:
            raise AssertionError("a fit in 1e-4 of the device's memory raised nothing")
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        assert 'device="cpu"' in said, said
        self.same_seed_same_model()
        return {"said": said}

    ALL = (
        codes_of_a_model_from_the_processor,
        fit,
        same_seed_same_model,
        calibrate,
        refit,
        mirror,
        coordinate,
        mask,
        wandering_beam,
        other_scales,
        hdf5_file,
        opened_without_the_device,
        memory_is_freed,
        too_little_memory,
    )


def _on_processor(model: RRVAE) -> RRVAE:
    other: RRVAE = pickle.loads(pickle.dumps(model))
    return other.set_params(device="cpu")


def _differences(found: Codes, want: Codes) -> Result:
    """Largest difference of each code; raises where it is more than rounding."""
    result: Result = {
        name: float(np.abs(getattr(found, name) - getattr(want, name)).max())
        for name in ("z", "z_std", "error")
    }
    assert all(np.isfinite(one) for one in result.values()), f"not finite: {result}"
    alike = found.fold == want.fold
    result["other folds"] = float(np.mean(~alike))
    told = alike & (want.fold > 0)
    period = 2 * np.pi / want.fold[told]
    turn = np.mod(found.angle[told] - want.angle[told] + period / 2, period) - period / 2
    result["angle"] = float(np.abs(turn).max(initial=0.0))
    assert result["other folds"] <= FOLDS, f"folds differ: {result}"
    assert max(result[n] for n in ("z", "z_std", "error", "angle")) <= ROUNDING, result
    return result


def _taken(device: str) -> float:
    """Bytes in use: of the device, or of this process."""
    if device == "cuda":
        torch.cuda.synchronize()
        return float(torch.cuda.memory_allocated())
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return 1024 * float(found[1]) if found else float("nan")


def bus(device: torch.device) -> Result:
    """Bytes per second into the device, from ordinary and from page-locked memory."""
    block = torch.zeros(2**25 if device.type == "cuda" else 2**22, dtype=torch.uint8)
    sources = {"ordinary": block}
    if device.type == "cuda":
        sources["page-locked"] = block.pin_memory()
    there, result = torch.empty_like(block, device=device), {}
    for name, source in sources.items():
        best = float("inf")
        for _ in range(10):
            start = time.perf_counter()
            there.copy_(source)
            if device.type == "cuda":
                torch.cuda.synchronize()
            best = min(best, time.perf_counter() - start)
        result[name] = len(block) / best
    print("\nInto the device: " + ", ".join(f"{n} {r / 1e9:.1f} GB/s" for n, r in result.items()))
    return result


def encoding(device: torch.device, sizes: Sizes, into: float) -> Result:
    """All codes of patterns in main memory, beside what the bus takes for them."""
    clock, rows, result = speed.Clock(sizes.repeats, device), [], {}
    for pixels, n in sizes.encoded.items():
        some = synthetic.lobes(min(n, 512), size=pixels, counts=5000).frames.astype(np.uint16)
        frames = np.tile(some, (-(-n // len(some)), 1, 1))[:n]
        model = RRVAE(max_epochs=2, sample=512, random_state=0, progress=False, device=device.type)
        model.fit(Frames(some, center=((pixels - 1) / 2,) * 2))
        model.encode(some)
        took = clock(lambda model=model, frames=frames: model.encode(frames))
        parts = _parts(model, frames[:DEVICE_CHUNK], clock)
        floor = frames.nbytes / into / n
        row: Row = {"pixels": f"{pixels} x {pixels}"} | speed.per_pattern(took, n)
        row |= {f"{name}, us": f"{1e6 * s:.2f}" for name, s in parts.items()}
        rows.append(row | {"bus alone, us": f"{1e6 * floor:.2f}"})
        result[str(pixels)] = took | {"patterns": n, "floor_s": floor, "parts_s": parts}
    table("Encoding uint16 patterns from main memory", rows)
    return result


def _parts(model: RRVAE, frames: np.ndarray, clock: speed.Clock) -> dict[str, float]:
    """Seconds per pattern of the stages of encoding, on one chunk."""
    fitted, n = model.fitted_, len(frames)
    source = Frames(frames, center=fitted.detector.center, mask=fitted.detector.mask)
    transform = model._stored_binner(source, fitted).transform
    net = pickle.loads(pickle.dumps(fitted.model)).to(transform.device)
    binned, scale = transform(frames), fitted.intensity.to(transform.device)
    work = {
        "copy and convert": lambda: as_floats(frames, transform.device),
        "copy and bin": lambda: transform(frames),
        "codes of bins": lambda: net.infer(scale(binned)),
    }
    result = {}
    for name, once in work.items():
        once()
        result[name] = clock(once, 3)["wall_s"] / n
    return result


def scan(device: torch.device, sizes: Sizes, into: float) -> Result:
    """Fit and all maps of a scan in main memory."""
    side, pixels = sizes.scan
    tile = synthetic.lobes(min(side * side, 1024), size=pixels, counts=5000).frames
    data = np.tile(tile.astype(np.uint16), (side * side // len(tile), 1, 1))
    data = data.reshape(side, side, pixels, pixels)
    model = RRVAE(random_state=0, progress=False, device=device.type)
    if sizes is SMALL:
        model.set_params(max_epochs=2)
    clock = speed.Clock(sizes.repeats, device)
    result = {"fit": clock(lambda: model.fit(data)), "all maps": clock(lambda: model.encode(data))}
    rows = []
    for name, took in result.items():
        low, high = took["wall_spread_s"]
        row = {"what": name, "wall, s": f"{took['wall_s']:.2f} ({low:.2f} to {high:.2f})"}
        rows.append(row | {"bus alone, s": f"{data.nbytes / into:.2f}" if name != "fit" else "-"})
    table(f"{side} x {side} positions of {pixels} x {pixels} pixels, uint16", rows)
    return result


def stages(device: torch.device, sizes: Sizes) -> Result:
    """Each stage and a step of training beside their floors; see `speed.stages`."""
    return speed.stages(speed.Sample(device.type), speed.Clock(sizes.repeats, device))


class Run:
    """Parts one after the other, as far as the time goes; what they gave is kept in a file."""

    def __init__(self, seconds: float, path: Path | None) -> None:
        self.end, self.path = time.monotonic() + seconds, path
        self.result: Result = {"checks": {}, "speed": {}}
        self.failed: list[str] = []

    def part(self, kind: str, name: str, work: Callable[[], Result]) -> Result:
        start = time.monotonic()
        if start > self.end:
            found: Result = {"missing": "no time was left"}
            self.failed.append(name)
        else:
            try:
                found = {"ok": True} | work()
            except Exception as error:
                found = {"ok": False, "error": f"{type(error).__name__}: {error}"}
                found["traceback"] = traceback.format_exc()
                self.failed.append(name)
        found["took_s"] = time.monotonic() - start
        self.result[kind][name] = found
        short = {k: v for k, v in found.items() if k not in ("traceback", "all_wall_s")}
        if kind == "checks" or not found.get("ok"):
            print(f"{'ok    ' if found.get('ok') else 'FAILED'} {name}: {short}", flush=True)
        self.result["failed"] = self.failed
        if self.path:
            self.path.write_text(json.dumps(self.result, indent=1, default=float))
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cpu", action="store_true", help="on the processor, at small sizes")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seconds", type=float, default=450.0)
    options = parser.parse_args()
    # A few steps learn nothing, and are not meant to.
    warnings.filterwarnings("ignore", message="all latents are switched off")
    device, sizes = torch.device("cpu" if options.cpu else "cuda"), SMALL if options.cpu else FULL
    if not options.cpu and not torch.cuda.is_available():
        sys.exit("torch finds no CUDA device here (--cpu takes the processor)")
    run = Run(options.seconds, options.json)
    name = "processor" if options.cpu else torch.cuda.get_device_name()
    print(f"torch {torch.__version__}, {name}, {torch.get_num_threads()} threads", flush=True)
    run.result |= {"torch": torch.__version__, "device": name, "numpy": np.__version__}
    run.result |= {"python": sys.version.split()[0], "threads": torch.get_num_threads()}
    checks = Checks(device.type, sizes)
    for check in checks.ALL:
        run.part("checks", check.__name__, lambda check=check: check(checks))
    into = run.part("speed", "bus", lambda: bus(device)).get("ordinary", float("nan"))
    run.part("speed", "encoding", lambda: encoding(device, sizes, into))
    run.part("speed", "scan", lambda: scan(device, sizes, into))
    run.part("speed", "stages", lambda: stages(device, sizes))
    print(f"\n{len(run.failed)} of the parts failed: {', '.join(run.failed) or 'none'}")
    sys.exit(bool(run.failed))


if __name__ == "__main__":
    main()
