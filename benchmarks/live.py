# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps that fill in while a camera sends: rates, delays and losses, with LiberTEM-live.

``python -m benchmarks.live [--side 128] [--pixels 64] [--rates 0 5000] [--workers 2]`` (and
``--json FILE``) starts LiberTEM-live's simulated Merlin camera in a process of its own, trains a
model on a first short acquisition of 1,024 patterns, and then encodes whole scans as they come over
the network. A rate is one that the camera keeps to, in patterns per second; 0 lets it send as fast
as it can and be made to wait. With 0 workers all is done in one process. Patterns come in 16 bits
with the camera's own headers. The maps at the end are held against those of the same patterns from
memory.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from libertem.executor.inline import InlineJobExecutor
from libertem.executor.pipelined import PipelinedExecutor
from libertem_live.api import Hooks, LiveContext
from libertem_live.detectors.merlin.control import MerlinControl
from libertem_live.detectors.merlin.sim import CameraSim

from py4dstem_rrvae import RRVAE, synthetic
from py4dstem_rrvae.adapters import libertem as host

from .quality import table

FIRST = 32
HEADER = 384
PATIENCE = 120.0


def write_mib(path: Path, frames: np.ndarray) -> None:
    """Write frames (n, H, W) as a Merlin camera's 16 bit file."""
    height, width = frames.shape[1:]
    with path.open("wb") as file:
        for k, frame in enumerate(frames.astype(">u2"), 1):
            about = f"MQ1,{k:06d},{HEADER:05d},01,{width:04d},{height:04d},U16,   1x1,01,"
            about += "2020-01-01 00:00:00.000000,0.000100,0,0,0,0,12,"
            file.write(about.encode().ljust(HEADER, b"\0") + frame.tobytes())


def camera(path: str, side: int, rate: float) -> None:
    """Be one: say which ports it has, and of each acquisition when it began and ended."""

    def say(**about: Any) -> None:
        print(json.dumps(about), flush=True)

    dwell = 1e6 / rate if rate else None
    camera = CameraSim(
        path,
        (side, side),
        host="127.0.0.1",
        data_port=0,
        control_port=0,
        trigger_port=0,
        wait_trigger=True,
        dwelltime=dwell,
    )
    whole = camera.sim.handle_acquisition

    def timed(connection: Any) -> None:
        start = time.time()
        whole(connection)
        say(start=start, end=time.time())

    camera.sim.handle_acquisition = timed
    camera.start()
    camera.wait_for_listen()
    say(data=camera.server_t.port, control=camera.control_t.port)
    while camera.is_alive():
        time.sleep(0.1)


class CameraProcess:
    """The other process, and what it says."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self.connections = process, []
        self.ports = self.says()

    def says(self) -> dict[str, float]:
        """Next line that it prints."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            raise RuntimeError("the simulated camera said nothing")
        found: dict[str, float] = json.loads(line)
        return found

    def acquisition(self, context: LiveContext, side: int) -> Any:
        """Of side x side patterns, which begins when it is run."""
        ports = self.ports
        connection = context.make_connection("merlin").open(
            api_port=int(ports["control"]), data_port=int(ports["data"])
        )
        self.connections.append(connection)

        class Go(Hooks):
            def on_ready_for_data(self, env: Any) -> None:  # noqa: ARG002, LiberTEM's signature
                with MerlinControl("127.0.0.1", int(ports["control"])) as control:
                    control.cmd("STARTACQUISITION")
                    control.cmd("SOFTTRIGGER")

        return context.make_acquisition(
            conn=connection, nav_shape=(side, side), hooks=Go(), frames_per_partition=256
        )


@contextmanager
def started(frames: np.ndarray, side: int, rate: float) -> Iterator[CameraProcess]:
    """A camera that sends these frames, and forgets that it did."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scan.mib"
        write_mib(path, frames)
        code = "import sys; from benchmarks.live import camera; "
        code += f"camera({str(path)!r}, {side}, {rate})"
        about = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, sys.path))}
        command = [sys.executable, "-W", "ignore", "-c", code]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=about
        ) as process:
            cam = CameraProcess(process)
            try:
                yield cam
            finally:
                for connection in cam.connections:
                    connection.close()
                process.kill()


def trained(context: LiveContext, frames: np.ndarray, **options: Any) -> RRVAE:
    """A model of a first, short acquisition."""
    middle = (frames.shape[-1] - 1) / 2
    model = RRVAE(random_state=0, progress=False, device="cpu", center=(middle, middle), **options)
    with started(frames[: FIRST * FIRST], FIRST, 0.0) as cam:
        return model.fit(host.frames(context, cam.acquisition(context, FIRST)))


def encoded(
    context: LiveContext, model: RRVAE, frames: np.ndarray, side: int, rate: float
) -> dict[str, Any]:
    """One scan as it comes: what its maps are, and when there was how much of them."""
    udf, grown = host.LatentUDF.of(model), []
    with started(frames, side, rate) as cam:
        acquisition = cam.acquisition(context, side)
        for part in context.run_udf_iter(acquisition, udf):
            z = host.maps(part.buffers[0], model)["z1"].values
            grown.append((time.time(), int(np.isfinite(z).sum())))
        end, sent = time.time(), cam.says()
    codes = host.codes(part.buffers[0])
    want = model.encode(frames.reshape(side, side, *frames.shape[1:]))
    filled = np.isfinite(codes.z[..., 0])
    return {
        "asked_per_s": rate,
        "patterns": side * side,
        "camera_s": sent["end"] - sent["start"],
        "sent_per_s": side * side / (sent["end"] - sent["start"]),
        "mapped_per_s": side * side / (end - sent["start"]),
        "after_the_last_s": end - sent["end"],
        "first_map_s": next(t for t, n in grown if n) - sent["start"],
        "looks": len(grown),
        "lost": int(np.count_nonzero(~filled)),
        "z_differs": float(np.abs(codes.z - want.z)[filled].max()),
    }


def executor(workers: int) -> Any:
    """Of so many processes, or of this one."""
    if not workers:
        return InlineJobExecutor()
    spec = PipelinedExecutor.make_spec(cpus=range(workers), cudas=())
    return PipelinedExecutor(spec=spec, pin_workers=False, startup_timeout=PATIENCE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--pixels", type=int, default=64)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.0, 5000.0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, help="of training; the default makes 1,000 steps")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    some = synthetic.lobes(2048, size=options.pixels, counts=5000).frames.astype(np.uint16)
    total = options.side**2
    frames = np.tile(some, (-(-total // len(some)), 1, 1))[:total]
    rows, result = [], []
    with LiveContext(executor=executor(options.workers)) as context:
        start = time.time()
        model = trained(context, some, max_epochs=options.epochs)
        print(f"trained on a first acquisition of {FIRST**2} in {time.time() - start:.1f} s")
        for rate in options.rates:
            found = encoded(context, model, frames, options.side, rate)
            result.append(found)
            rows.append(
                {
                    "asked": f"{rate:,.0f}/s" if rate else "all it can",
                    "sent": f"{found['sent_per_s']:,.0f}/s",
                    "mapped": f"{found['mapped_per_s']:,.0f}/s",
                    "first map after": f"{found['first_map_s']:.2f} s",
                    "whole map after the last pattern": f"{found['after_the_last_s']:.2f} s",
                    "lost": str(found["lost"]),
                }
            )
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    title = f"{options.side} x {options.side} patterns of {options.pixels} x {options.pixels}"
    table(f"{title} uint16, {options.workers} workers, load {load}", rows)


if __name__ == "__main__":
    main()
