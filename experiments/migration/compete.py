"""A computation that competes with a node's functions: what a batch job next door does to them.

It transforms and filters images as fast as its CPU budget lets it, in as many processes as asked, until it is ended,
and says on its output how much it did: ``python -m experiments.migration.compete --processes 2 --join CGROUP``.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

import cv2
import numpy as np


def compute(seed: int) -> None:
    """Filter pictures for ever; a line a second tells how many."""
    cv2.setNumThreads(1)
    picture: np.ndarray = np.random.default_rng(seed).integers(0, 256, (240, 320), dtype=np.uint8)
    done, said = 0, time.monotonic()
    while True:
        spectrum = np.fft.rfft2(cv2.bilateralFilter(picture, 5, 40, 40))
        spectrum[40:-40, 40:] = 0
        picture = cv2.equalizeHist(np.clip(np.fft.irfft2(spectrum), 0, 255).astype(np.uint8))
        done += 1
        if time.monotonic() - said >= 1:
            print(f"process {os.getpid()}: {done} pictures", flush=True)
            said = time.monotonic()


def main() -> None:
    """Join the budget, then compute in each process."""
    parser = argparse.ArgumentParser(prog="python -m experiments.migration.compete", description=__doc__)
    parser.add_argument("--processes", type=int, default=2, help="how many compute (default: 2)")
    parser.add_argument("--join", type=Path, action="append", default=[], metavar="CGROUP", help="cgroup to join first")
    options = parser.parse_args()
    for group in options.join:
        (group / "cgroup.procs").write_text(str(os.getpid()))
    children = []
    for seed in range(1, options.processes):
        child = os.fork()
        if child == 0:
            compute(seed)
        children.append(child)

    def end(*_: object) -> None:
        for child in children:
            os.kill(child, signal.SIGKILL)
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    compute(0)


if __name__ == "__main__":
    main()
