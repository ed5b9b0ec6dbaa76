"""What is drawn before a cell is run, so that every policy, and perfect knowledge, meets the same requests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.float64]
"""In mean service times of a node of full speed."""

LOAD = 0.9


@dataclass(frozen=True)
class Trace:
    """Requests in the order of their arrival: when each starts, and how long it takes on a node of full speed."""

    start: Times
    service: Times


def draw(requests: int, slowdowns: tuple[float, ...], seed: int, load: float = LOAD) -> Trace:
    """Poisson arrivals that use `load` of all nodes' capacity, and exponential service times of mean 1.

    `slowdowns`: how much longer than drawn each node takes.
    """
    chance = np.random.default_rng(seed)
    capacity = sum(1 / slowdown for slowdown in slowdowns)
    start = np.cumsum(chance.exponential(1 / (load * capacity), requests))
    return Trace(start, chance.exponential(1.0, requests))


def write(trace: Trace, path: Path, service_time_s: float) -> None:
    """Write it for the native programs: pairs of 64-bit ns in the machine's byte order."""
    pairs = np.stack([trace.start, trace.service], axis=1) * (service_time_s * 1e9)
    pairs.astype(np.uint64).tofile(path)
