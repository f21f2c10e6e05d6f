# SPDX-License-Identifier: GPL-3.0-or-later
"""Training and encoding times of AtomAI's rVAE and pyroVED's iVAE; run by `benchmarks.speed`.

Called with the interpreter of the peers' environment: ``speed_peers.py FOLDER THREADS REPEATS
DEVICE`` reads FOLDER/frames.npy and writes FOLDER/times.json. Networks and batches have the sizes
that the libraries choose; AtomAI's model is that of the paper, without translation.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atomai
import numpy as np
import pyroved
import torch

# Training 100 patterns a second, fewer must do.
TRAINED, EPOCHS = 200, 1


def timed(work: Callable[[], Any], repeats: int) -> dict[str, Any]:
    wall, cpu = [], []
    for _ in range(repeats):
        before = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - before[0])
        cpu.append(time.process_time() - before[1])
    return {
        "wall_s": statistics.median(wall),
        "wall_spread_s": [min(wall), max(wall)],
        "cpu_s": statistics.median(cpu),
    }


def main(folder: Path, threads: int, repeats: int, device: str) -> None:
    torch.set_num_threads(threads)
    frames = np.load(folder / "frames.npy").astype(np.float32)
    frames /= frames.max()
    few, shape = frames[:TRAINED], frames.shape[1:]
    os.chdir(folder)  # AtomAI saves itself after every epoch
    rvae = atomai.models.rVAE(shape, latent_dim=2, translation=False, seed=0)
    ivae = pyroved.models.iVAE(shape, latent_dim=2, invariances=["r"], seed=0, device=device)
    trainer = pyroved.trainers.SVItrainer(ivae, device=device)
    loader = pyroved.utils.init_dataloader(torch.from_numpy(few), batch_size=100)
    everything = torch.from_numpy(frames)
    work = {
        "AtomAI rVAE": (
            lambda: rvae.fit(few, training_cycles=EPOCHS),
            lambda: rvae.encode(frames),
        ),
        "pyroVED iVAE": (
            lambda: [trainer.step(loader) for _ in range(EPOCHS)],
            lambda: ivae.encode(everything),
        ),
    }
    result = {}
    for name, (train, encode) in work.items():
        train()
        encode()
        result[name] = {
            "training": timed(train, repeats) | {"patterns": TRAINED * EPOCHS},
            "encoding": timed(encode, repeats) | {"patterns": len(frames)},
        }
    (folder / "times.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
