"""p4c's samples do what their authors expect, where p4c and its sources are (named by P4C); the player would tell."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.softswitch.native.bmv2 import PROGRAMS
from tests.stf.language import pattern, same, statements
from tests.stf.samples import COMPILER, Failed, compiled, play, samples

ENOUGH = 12
"""Of the samples, evenly spread: `make stf` plays all."""

PACKETS = """
# the table has entries of the program
packet 1 01 00 0007 000000 00000000000000000000000000000000 @REST
expect 2 02 ** ** 02
"""


def test_samples(tmp_path: Path) -> None:
    sources = os.environ.get("P4C")
    if not sources or shutil.which(COMPILER) is None:
        pytest.skip("P4C names no checkout of p4c's sources, or p4c is not installed")
    found = samples(Path(sources))
    assert len(found) > ENOUGH
    for sample in found[:: len(found) // ENOUGH]:
        play(*compiled(sample, tmp_path), sample.with_suffix(".stf").read_text())


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        ("", None),
        ("\nexpect 3", "port 3: 0 packets, not 1"),
        ("\npacket 1 00 00", "port 2: 2 packets, not 1"),
        ("\npacket 1 00 00\nexpect 2 02", "not 02"),
        ("\nadd no_such_table a:1 b()", "no_such_table"),
    ],
)
def test_what_a_sample_does_not_expect_fails(rest: str, reason: str | None) -> None:
    made, info = PROGRAMS / "absent.json", PROGRAMS / "absent.p4info.txtpb"
    packets = PACKETS.replace(" @REST", rest)
    if reason is None:
        play(made, info, packets)
        return
    with pytest.raises(Failed, match=reason):
        play(made, info, packets)


def test_the_language() -> None:
    text = "add t 7 a.b:0x1**f c:9 d.e(x:0x10, y:2) = A # a comment\n\npacket 1 00ff\n"
    add, packet = statements(text)
    assert (add.table, add.priority, add.action) == ("t", 7, "d.e")
    assert (add.matches, add.arguments) == ((("a.b", "0x1**f"), ("c", "9")), (("x", "0x10"), ("y", "2")))
    assert (packet.command, packet.words) == ("packet", ("1", "00ff"))
    assert pattern("0x1**f", 16) == (0x100F, 0xF00F)
    assert pattern("0b1*", 8) == (0b10, 0b11111110)
    assert same("0*ff", b"\x0a\xff\x01") and not same("0*ff$", b"\x0a\xff\x01") and not same("0*ff", b"\x1a\xff")
