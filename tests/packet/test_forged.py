"""A million reports that are forged, replayed or altered: each is dropped for its reason, and good ones count all the
while.

`make fuzz` sends BMv2, which is slower, more than `make test` does.
"""

import os
from pathlib import Path

import pytest

from tests.fuzz.native import OLD_ONES, REASONS, Forger, Native
from tests.packet.bench import Bench
from tests.packet.layout import node_port
from tests.packet.test_authentication import NEW, OLD, demanding, keys, signed, take

FORGERIES = {"softswitch": 1_000_000, "bmv2": int(os.environ.get("FORGERIES", "10000"))}
ROUNDS = 20
"""Good reports among them."""
UDP_CHECKSUM = slice(40, 42)
UNCHANGED = ("epoch", "rank", "status", "sent")


@pytest.mark.timeout(600)
def test_none_counts_and_each_is_counted(bench: Bench, tmp_path: Path) -> None:
    native = Native(tmp_path)
    service = demanding(bench, keys(1, OLD, 2, NEW))
    names = [(1 + at % 2, (OLD, NEW)[at % 2]) for at in range(OLD_ONES + ROUNDS)]
    genuine = [signed(service, *key, epoch=3, sequence=at + 1) for at, key in enumerate(names)]
    past, rest = genuine[:OLD_ONES], genuine[OLD_ONES:]
    for payload in past:
        assert take(service, payload)
    # Newer than all of them: only its tag, which the forger spoils, stands between it and the switch.
    good = bytearray(bytes(service.report_frame(0, signed(service, 1, OLD, epoch=3, sequence=1000, cpu=900))))
    good[UDP_CHECKSUM] = bytes(2)
    forger = Forger((node_port(0), bytes(good)), past, start=5)
    before = service.probe(0)
    accepted, dropped = bench.events("REPORT"), {reason: bench.drops(reason) for reason in REASONS}
    for number, payload in enumerate(rest, start=1):
        native.feed(bench, forger, FORGERIES[bench.target] // ROUNDS)
        assert bench.events("REPORT") - accepted == number - 1
        assert take(service, payload)
    counted = {reason: bench.drops(reason) - dropped[reason] for reason in REASONS}
    assert counted == forger.expected
    assert sum(counted.values()) == FORGERIES[bench.target]
    assert min(counted.values()) > FORGERIES[bench.target] // 100
    after = service.probe(0)
    assert after["sequence"] == len(genuine)
    assert [after[name] for name in UNCHANGED] == [before[name] for name in UNCHANGED]
    assert take(service, bytes(good[42:])), "what they were made of still counts"
