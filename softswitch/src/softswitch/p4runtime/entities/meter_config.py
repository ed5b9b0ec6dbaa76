"""Configurations and counts of meters as P4Runtime writes them (specification, "MeterEntry & DirectMeterEntry")."""

from __future__ import annotations

from finsy.proto import p4r

from softswitch.engine.meters import Meter, MeterConfig
from softswitch.p4runtime.errors import invalid
from softswitch.p4runtime.schema import MeterKind


def decode_meter(kind: MeterKind, message: p4r.MeterConfig, what: str) -> MeterConfig:
    """A configuration for a meter of this kind. Raises INVALID_ARGUMENT."""
    if min(message.cir, message.cburst, message.pir, message.pburst, message.eburst) < 0:
        raise invalid(f"{what}: a meter's rates and bursts must not be negative")
    if kind is not MeterKind.SINGLE_RATE_THREE_COLOR and message.eburst:
        raise invalid(f"{what}: eburst is for meters with a single rate and three colours")
    if kind is not MeterKind.TWO_RATE_THREE_COLOR and (message.pir, message.pburst) != (message.cir, message.cburst):
        raise invalid(f"{what}: a meter with a single rate has pir and pburst equal to cir and cburst")
    if message.pir < message.cir:
        raise invalid(f"{what}: pir {message.pir} must not be less than cir {message.cir}")
    excess = message.eburst if kind is MeterKind.SINGLE_RATE_THREE_COLOR else None
    return MeterConfig(message.cir, message.cburst, message.pir, message.pburst, excess)


def encode_meter(config: MeterConfig) -> p4r.MeterConfig:
    """The message for a configuration."""
    return p4r.MeterConfig(
        cir=config.committed_rate,
        cburst=config.committed_burst,
        pir=config.peak_rate,
        pburst=config.peak_burst,
        eburst=config.excess_burst or 0,
    )


def encode_marks(meter: Meter) -> p4r.MeterCounterData:
    """What a meter has marked, by colour."""
    green, yellow, red = (p4r.CounterData(packet_count=packets, byte_count=octets) for packets, octets in meter.marked)
    return p4r.MeterCounterData(green=green, yellow=yellow, red=red)


def refuse_marks(message: p4r.MeterCounterData) -> None:
    """The counts by colour can be set to zero only. Raises INVALID_ARGUMENT."""
    for counter in (message.green, message.yellow, message.red):
        if counter.packet_count or counter.byte_count:
            raise invalid("the counters of a meter's colours can only be set to zero")
