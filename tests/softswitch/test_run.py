"""`softswitch run`: packets from capture files to capture files."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from scapy.utils import RawPcapNgReader
from softswitch.commands.pcap import PcapReader, PcapWriter

from softswitch import __main__ as cli
from tests.softswitch.native.builder import ProgramBuilder, assign, field, send_to
from tests.softswitch.p4runtime.client import PROGRAMS
from tests.softswitch.test_switch import entry

SECOND = 10**9
START = 1_700_000_000 * SECOND


def capture(path: Path, packets: Sequence[tuple[float, bytes]], link_type: int = 1) -> str:
    """A pcap file with packets at these seconds after START."""
    writer = PcapWriter(path, link_type)
    for seconds, data in packets:
        writer.write(START + round(seconds * SECOND), data)
    writer.close()
    return str(path)


def packets(path: Path) -> list[tuple[float, bytes]]:
    """The packets of a file, with seconds after START."""
    with PcapReader(path) as reader:
        return [((p.time_ns - START) / SECOND, p.data) for p in reader]


def run(*arguments: object) -> int:
    """The command in this process; its exit code."""
    with pytest.raises(SystemExit) as end:
        cli.main(["run", *map(str, arguments)])
    assert isinstance(end.value.code, int)
    return end.value.code


def query(a: int) -> bytes:
    """A packet that asks table `managed` of program `matching`."""
    return struct.pack(">BBHI", 5, a, 0, 0) + bytes(16)


MATCHING = (PROGRAMS / "matching.json", "--p4info", PROGRAMS / "matching.p4info.txtpb")


def test_entries_decide_what_leaves(tmp_path: Path) -> None:
    """As a user calls it, in a process of its own."""
    first, second = tmp_path / "first.txtpb", tmp_path / "second.txtpb"
    first.write_text(f"updates {{ type: INSERT entity {{ {entry(1, 11)} }} }}")
    second.write_text(f"entities {{ {entry(2, 12)} }}")
    capture(tmp_path / "in.pcap", [(0, query(1)), (0.5, query(2)), (1, bytes(24))])
    command = [sys.executable, "-m", "softswitch", "run", *map(str, MATCHING), "--entries", str(first)]
    command += ["--entries", str(second), "--pcap-in", "1@in.pcap", "--pcap-out", "new/out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 packets in, 2 out, 1 dropped" in done.stdout
    assert [(time, data[24:28]) for time, data in packets(tmp_path / "new/out/3.pcap")] == [
        (0, bytes([0, 0, 0, 11])),
        (0.5, bytes([0, 0, 0, 12])),
    ]
    assert [p.name for p in (tmp_path / "new/out").iterdir()] == ["3.pcap"]


def test_json_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digest, plain = struct.pack(">BBH", 5, 1, 0), struct.pack(">BBH", 0, 0, 0)
    one = capture(tmp_path / "1.pcap", [(0, digest), (1, plain)])
    assert run(PROGRAMS / "copies.json", "--pcap-in", f"7@{one}", "--pcap-out", tmp_path / "out", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "packets_in": 2,
        "packets_out": 1,
        "dropped": 1,
        "held": 0,
        "cut": 0,
        "errors": 0,
        "ports": {
            "4": {"in": 0, "out": 1, "file": str(tmp_path / "out/4.pcap")},
            "7": {"in": 2, "out": 0, "file": None},
        },
        "digests": {"seen_t": 1},
    }


def clock_program(path: Path) -> Path:
    """Writes the switch's time and the port into the packet."""
    builder = ProgramBuilder([("port", 16), ("time", 48)])
    stamp = field("standard_metadata", "ingress_global_timestamp")
    builder.action(
        "stamp",
        [assign("in", "time", stamp), assign("in", "port", field("standard_metadata", "ingress_port")), send_to(9)],
    )
    path.write_text(builder.text())
    return path


def test_files_are_merged_by_time_and_the_clock_follows(tmp_path: Path) -> None:
    blank = bytes(8)
    a = capture(tmp_path / "a.pcap", [(10, blank), (10.25, blank), (13, blank)])
    b = capture(tmp_path / "b.pcap", [(10.125, blank), (10.25, blank), (12, blank)])
    program = clock_program(tmp_path / "clock.json")
    assert run(program, "--pcap-in", f"1@{a}", "--pcap-in", f"2@{b}", "--pcap-out", tmp_path) == 0
    seen = [struct.unpack(">HHI", data) for _, data in packets(tmp_path / "9.pcap")]
    assert [(port, high << 32 | low) for port, high, low in seen] == [
        (1, 1_000_000),
        (2, 1_125_000),
        (1, 1_250_000),
        (2, 1_250_000),
        (2, 3_000_000),
        (1, 4_000_000),
    ]
    assert [time for time, _ in packets(tmp_path / "9.pcap")] == [10, 10.125, 10.25, 10.25, 12, 13]


def test_a_run_repeats_exactly(tmp_path: Path) -> None:
    packet = struct.pack(">BI", 5, 0) + (60000).to_bytes(6, "big") + b"\0"
    source = capture(tmp_path / "in.pcap", [(n / 10, packet) for n in range(20)])
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        arguments = ("--pcap-in", f"1@{source}", "--pcap-out", tmp_path / out, "--seed", seed)
        assert run(PROGRAMS / "state.json", *arguments) == 0
    (name,) = [path.name for path in (tmp_path / "a").iterdir()]
    a, b, c = ((tmp_path / out / name).read_bytes() for out in "abc")
    assert a == b
    assert a != c


def test_trace_tells_each_packet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = capture(tmp_path / "in.pcap", [(0, query(1)), (0.25, bytes(24))])
    assert run(PROGRAMS / "matching.json", "--pcap-in", f"1@{source}", "--trace") == 0
    out = capsys.readouterr().out
    assert "table I.managed (hdr.q.a=0x1" in out
    assert "packet of 24 bytes in at port 1, 1.250000 s" in out and "2 packets in, 1 out, 1 dropped" in out
    assert run(PROGRAMS / "matching.json", "--pcap-in", f"1@{source}", "--trace", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["packets_out"] == 1 and "table I.managed" in err


def test_a_trace_is_kept_as_comments_for_wireshark(tmp_path: Path) -> None:
    source, story = capture(tmp_path / "in.pcap", [(0, query(1)), (0.25, bytes(24))]), tmp_path / "story.pcapng"
    assert run(PROGRAMS / "matching.json", "--pcap-in", f"1@{source}", "--trace-out", story) == 0
    with RawPcapNgReader(str(story)) as reader:
        told = [(data, meta.ifname, meta.direction, meta.comments) for data, meta in reader]
    assert [(name, direction) for _, name, direction, _ in told] == [(b"port 1", 1), (b"port 3", 2), (b"port 1", 1)]
    first, left, second = (comments[0].decode() for *_, comments in told)
    assert "table I.managed (hdr.q.a=0x1" in first and first.splitlines()[0].endswith("in at port 1, 1.000000 s")
    assert left == "left through port 3; its story is with packet 1" and second.endswith("dropped")
    assert [(time, data) for time, data in packets(story)] == [(0, query(1)), (0, told[1][0]), (0.25, bytes(24))]


def test_reader_that_goes_away_ends_it_quietly(tmp_path: Path) -> None:
    source = capture(tmp_path / "in.pcap", [(n, query(1)) for n in range(2000)])
    command = [sys.executable, "-m", "softswitch", "run", str(MATCHING[0]), "--pcap-in", f"1@{source}", "--trace"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().strip().startswith("packet of 24 bytes")
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_packets_that_were_shortened_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "in.pcap"
    source.write_bytes(Path(capture(source, [])).read_bytes() + struct.pack("<IIII", 0, 0, 4, 60) + bytes(4))
    assert run(PROGRAMS / "copies.json", "--pcap-in", f"1@{source}") == 0
    assert "1 packets were shortened" in capsys.readouterr().err


def test_a_failed_assert_is_an_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = capture(tmp_path / "in.pcap", [(0, struct.pack(">BI", 8, 3) + bytes(7))])
    assert run(PROGRAMS / "state.json", "--pcap-in", f"1@{source}", "--json") == 2
    assert json.loads(capsys.readouterr().out)["errors"] == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "program.json"),
        (["no.json"], "cannot read no.json"),
        ([PROGRAMS / "copies.json", "--pcap-in", "a.pcap"], "'a.pcap' is not PORT@FILE, such as 1@client.pcap"),
        ([PROGRAMS / "copies.json", "--pcap-in", "1@no.pcap"], "cannot use no.pcap: No such file or directory"),
        ([PROGRAMS / "copies.json", "--pcap-in", f"1@{__file__}"], "test_run.py is neither a pcap nor a pcapng file"),
        ([PROGRAMS / "copies.json", "--entries", "x"], "--entries needs the program's P4Info"),
        ([*MATCHING, "--entries", "no.txtpb"], "cannot read no.txtpb"),
        ([*MATCHING, "--entries", __file__], "test_run.py:1:1: "),
        ([PROGRAMS / "copies.json", "--pcap-out", f"{__file__}/x"], "test_run.py/x: Not a directory"),
    ],
)
def test_mistakes_get_one_sentence(arguments: list[object], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("softswitch: ") and err.count("\n") == 1 and sentence in err


def test_captures_of_different_links_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources = [f"1@{capture(tmp_path / f'{kind}.pcap', [], kind)}" for kind in (1, 101)]
    arguments = ("--pcap-in", sources[0], "--pcap-in", sources[1], "--pcap-out", tmp_path)
    assert run(PROGRAMS / "copies.json", *arguments) == 1
    assert "different link types" in capsys.readouterr().err


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    assert "softswitch run router.json --p4info" in capsys.readouterr().out
