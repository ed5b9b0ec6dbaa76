"""How a meter is configured, and how runtime/meter.h holds it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from softswitch.entries import MeterConfig

_BUCKETS = struct.Struct("<10Q")
_MARKED = struct.Struct("<6Q")
_UNCONFIGURED, _TWO_RATES, _ONE_RATE = range(3)

CONFIG = (0, _BUCKETS.size)
"""Offset and length of a `struct ss_meter`'s configuration with the state that goes with it."""
MARKED = (_BUCKETS.size, _MARKED.size)
"""Offset and length of the counters by colour."""
METER_BYTES = _BUCKETS.size + _MARKED.size
NO_MARKS = bytes(_MARKED.size)


@dataclass(frozen=True, slots=True)
class Meter:
    """A meter as read: its configuration (None: everything is green), and (packets, bytes) that it has marked green,
    yellow and red."""

    config: MeterConfig | None
    marked: tuple[tuple[int, int], ...]


def pack_config(config: MeterConfig | None, now_us: int) -> bytes:
    """A configuration that begins with full buckets at `now_us` of the data plane's clock."""
    if config is None:
        return bytes(_BUCKETS.size)
    committed = (config.committed_rate, config.committed_burst, config.committed_burst, 0)
    if config.excess_burst is not None:
        return _BUCKETS.pack(_ONE_RATE, now_us, *committed, 0, config.excess_burst, config.excess_burst, 0)
    return _BUCKETS.pack(_TWO_RATES, now_us, *committed, config.peak_rate, config.peak_burst, config.peak_burst, 0)


def unpack(data: bytes) -> Meter:
    """The reverse, of a whole meter."""
    kind, _, rate, burst, _, _, peak_rate, peak_burst, _, _ = _BUCKETS.unpack_from(data)
    green, green_bytes, yellow, yellow_bytes, red, red_bytes = _MARKED.unpack_from(data, _BUCKETS.size)
    config = None
    if kind == _ONE_RATE:
        config = MeterConfig(rate, burst, rate, burst, peak_burst)
    elif kind == _TWO_RATES:
        config = MeterConfig(rate, burst, peak_rate, peak_burst)
    return Meter(config, ((green, green_bytes), (yellow, yellow_bytes), (red, red_bytes)))
