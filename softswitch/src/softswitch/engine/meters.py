"""How a meter is configured, and how the runtime holds it (`struct ss_meter`)."""

from __future__ import annotations

from dataclasses import dataclass

from softswitch.engine import abi
from softswitch.engine.abi import MeterKind

NO_MARKS = bytes(abi.METER_MARKS.size)


@dataclass(frozen=True, slots=True)
class MeterConfig:
    """Rates in packets or bytes a second, bursts in packets or bytes.

    A meter of two rates (RFC 2698), or with `excess_burst` of one rate (RFC 2697).
    """

    committed_rate: int
    committed_burst: int
    peak_rate: int
    peak_burst: int
    excess_burst: int | None = None


@dataclass(frozen=True, slots=True)
class Meter:
    """A meter as read: its configuration (None: everything is green), and (packets, bytes) that it has marked green,
    yellow and red."""

    config: MeterConfig | None
    marked: tuple[tuple[int, int], ...]


def pack_config(config: MeterConfig | None, now_us: int) -> bytes:
    """A configuration that begins with full buckets at `now_us` of the data plane's clock."""
    if config is None:
        return bytes(abi.METER_BUCKETS.size)
    committed = (config.committed_rate, config.committed_burst, config.committed_burst, 0)
    if config.excess_burst is not None:
        kind, second = MeterKind.ONE_RATE, (0, config.excess_burst, config.excess_burst, 0)
    else:
        kind, second = MeterKind.TWO_RATES, (config.peak_rate, config.peak_burst, config.peak_burst, 0)
    return abi.METER_BUCKETS.pack(kind, now_us, *committed, *second)


def unpack(data: bytes) -> Meter:
    """The reverse, of a whole meter."""
    kind, _, rate, burst, _, _, peak_rate, peak_burst, _, _ = abi.METER_BUCKETS.unpack_from(data)
    green, green_bytes, yellow, yellow_bytes, red, red_bytes = abi.METER_MARKS.unpack_from(data, abi.METER_BUCKETS.size)
    config = None
    if kind == MeterKind.ONE_RATE:
        config = MeterConfig(rate, burst, rate, burst, peak_burst)
    elif kind == MeterKind.TWO_RATES:
        config = MeterConfig(rate, burst, peak_rate, peak_burst)
    return Meter(config, ((green, green_bytes), (yellow, yellow_bytes), (red, red_bytes)))
