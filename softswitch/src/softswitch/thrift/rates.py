"""Rates of meters as Thrift's clients write them: a list of the committed and the peak one, in units a microsecond."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from softswitch.engine.meters import MeterConfig
from softswitch.thrift.definitions import standard

_US = 1_000_000
_MAX_RATE = 2**63 - 1


class BadRates(ValueError):
    """`code` is that of `MeterError`."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def decode(rates: Sequence[Any]) -> MeterConfig:
    """Raises BadRates."""
    if len(rates) != 2:
        raise BadRates("BAD_RATES_LIST", f"a meter has two rates, not {len(rates)}")
    for rate in rates:
        if not math.isfinite(rate.rate) or not 0 <= rate.rate * _US <= _MAX_RATE:
            raise BadRates("INVALID_INFO_RATE_VALUE", f"a rate of {rate.rate} units a microsecond")
        if rate.burst < 0:
            raise BadRates("INVALID_BURST_SIZE_VALUE", f"a burst of {rate.burst}")
    (committed, committed_burst), (peak, peak_burst) = ((round(rate.rate * _US), rate.burst) for rate in rates)
    if peak < committed:
        raise BadRates("INVALID_INFO_RATE_VALUE", "the second rate is less than the first")
    return MeterConfig(committed, committed_burst, peak, peak_burst)


def encode(config: MeterConfig | None) -> list[Any]:
    """None, which marks everything green, has no rates."""
    if config is None:
        return []
    pairs = (config.committed_rate, config.committed_burst), (config.peak_rate, config.peak_burst)
    return [standard.MeterRate(rate=rate / _US, burst=min(burst, 2**31 - 1)) for rate, burst in pairs]
