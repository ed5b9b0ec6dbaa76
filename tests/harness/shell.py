"""p4runtime-shell: its documented sessions (README.md and usage/), typed into the real shell line by line.

The programs of those documents (fabric.p4, Stratum's basic.p4) are not part of its repository, so the lines name tables
of ours; nothing else is changed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.harness.outcomes import Outcome
from tests.harness.place import Place

PROGRAMS = Path(__file__).parents[1] / "softswitch" / "programs"
MARK = "-- session "
PATIENCE_S = 60.0
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Session:
    """Lines to type, and what they must print, as patterns in this order. Only an expected error may show."""

    name: str
    lines: str
    prints: tuple[str, ...]


EVERYTHING = (
    Session(
        "README: tables, an entry, read, delete",
        """
tables
te = table_entry["EverythingIngress.lpm_table"](action="forward")
te?
te.match["tag"] = "0x0a00/8"
te.action["port"] = "10"
te.insert
for te in table_entry["EverythingIngress.lpm_table"].read():
    print(te)

table_entry["EverythingIngress.lpm_table"].read(lambda te: te.delete())
table_entry["EverythingIngress.lpm_table"].read(lambda te: print("left", te))
print("end")
""",
        (
            r"EverythingIngress\.exact_table",
            r"An entry for table",
            r'lpm \{\s+value: "\\\\x0a\\\\x00"\s+prefix_len: 8\s+\}',
            r'action_id: \d+ \("EverythingIngress\.forward"\)\s+params \{\s+param_id: 1 \("port"\)\s+value: "\\\\x0a"',
            r"^(?!.*\bleft\b).*end",
        ),
    ),
    Session(
        "usage/pre.md: multicast group",
        """
mcge = multicast_group_entry(1)
mcge.add(1, 1).add(1, 2).add(2, 3)
mcge.insert
multicast_group_entry(1).read(lambda e: print("has", len(e.replicas)))
mcge.delete
""",
        (r"egress_port: 2\s+instance: 3", r"has 3"),
    ),
    Session(
        "usage/pre.md: clone session",
        """
cse = clone_session_entry(1)
cse.add(1, 1).add(1, 2).add(2, 3)
cse.insert
clone_session_entry(1).read(lambda e: print("has", len(e.replicas)))
cse.delete
""",
        (r"session_id: 1", r"has 3"),
    ),
    Session(
        "usage/read_table_entry_counter.md",
        """
te = table_entry["EverythingIngress.exact_table"](action = "EverythingIngress.forward")
te.match["tag"] = ("1")
te.action['port'] = ("2")
te.insert()
te = table_entry['EverythingIngress.exact_table']
te.counter_data.byte_count = 0
for x in te.read():
    print('counter_data.byte_count ==', x.counter_data.byte_count)

table_entry["EverythingIngress.exact_table"].read(lambda te: te.delete())
""",
        (r"counter_data\.byte_count == 0",),
    ),
    Session(
        "usage/packet_io.md: packet-out and packet-in",
        """
p = packet_out()
p.payload = b'\\x02\\x00\\x07\\x00\\x00\\x00'
p.metadata['egress_port'] = '0'
p.metadata['inject'] = '1'
p
p.send
p = packet_out(payload=b'\\x02\\x00\\x07\\x00\\x00\\x00', egress_port='0', inject='1')
p.send
packet_in.sniff(lambda m: print("came", m), timeout=1)
""",
        (r'metadata_id: 1 \("egress_port"\)', r'came packet \{\s+payload: "\\002\\000\\007', r"came packet"),
    ),
    Session(
        "a refused entry says why",
        """
te = table_entry["EverythingIngress.lpm_table"](action="forward")
te.match["tag"] = "0x0a00/8"
te.action["port"] = "10"
te.insert
te.insert
te.delete
""",
        (r"P4RuntimeWriteException", r"At index 0: ALREADY_EXISTS, '"),
    ),
)

INDIRECT = (
    Session(
        "usage/oneshots.md",
        """
t = table_entry["I.spreading"]
a = Action("drop")
t.oneshot.add(a)
t.match["key"] = "10"
t.insert
t.read(lambda e: print(e))
t.delete
""",
        (
            r"action_profile_actions \{\s+action \{\s+action_id: \d+\s+\}\s+weight: 1",
            r'field_id: 1 \("key"\)',
            r'action_profile_action_set \{\s+action_profile_actions \{\s+action \{\s+action_id: \d+ \("I\.drop"\)',
        ),
    ),
    Session(
        "members: a read that names one",
        """
m = action_profile_member["I.shared"](member_id=1, action="answer")
m.action["value"] = "7"
m.insert
t = table_entry["I.first"]
t.member_id = 1
t.match["key"] = "3"
t.insert
w = table_entry["I.first"]
w.member_id = 1
w.read(lambda e: print(e))
t.delete
m.delete
""",
        (r'table_id: \d+ \("I\.first"\)', r"action_profile_member_id: 1"),
    ),
    Session(
        "groups: a read that names one",
        """
m = action_profile_member["I.spread"](member_id=1, action="answer")
m.action["value"] = "7"
m.insert
g = action_profile_group["I.spread"](group_id=2)
g.add(member_id=1)
g.insert
t = table_entry["I.spreading"]
t.group_id = 2
t.match["key"] = "3"
t.insert
w = table_entry["I.spreading"]
w.group_id = 2
w.read(lambda e: print(e))
t.delete
g.delete
m.delete
""",
        (r'table_id: \d+ \("I\.spreading"\)', r"action_profile_group_id: 2"),
    ),
)

WITHOUT_CONFIG = (
    Session("README: the shell gets the pipeline from the switch", "tables\n", (r"I\.first", r"I\.spreading")),
)


def run(place: Place, sessions: Sequence[Session], address: str, config: str = "") -> list[Outcome]:
    """Type sessions into one shell, which pushes `config` (a program of ours) first if there is one."""
    typed = "".join(f'print("{MARK}" + "{number}")\n{session.lines}\n' for number, session in enumerate(sessions))
    command: list[str | Path] = [place.python, "-m", "p4runtime_sh", "--grpc-addr", address, "--device-id", "1"]
    command += ["--election-id", "0,1"]
    if config:
        command += ["--config", f"{PROGRAMS / config}.p4info.txtpb,{PROGRAMS / config}.json"]
    said = _COLOURS.sub("", place.run(command, place.folder, PATIENCE_S, typed))
    parts = re.split(re.escape(MARK) + r"\d+", said)[1:]
    if len(parts) != len(sessions):
        return [Outcome(session.name, False, f"the shell ended: {said[-300:]}") for session in sessions]
    return [judge(session, part) for session, part in zip(sessions, parts, strict=True)]


def judge(session: Session, said: str) -> Outcome:
    """Whether the shell said what it must, in this order, and no error that is not expected. Pure."""
    rest = said
    for pattern in session.prints:
        found = re.search(pattern, rest, re.DOTALL | re.MULTILINE)
        if found is None:
            return Outcome(session.name, False, f"no {pattern!r} in {rest[-300:]!r}")
        rest = rest[found.end() :]
    unexpected = re.search(r"^(\w+(Error|Exception)\b.*)$", said, re.MULTILINE)
    if unexpected and not any("Exception" in pattern for pattern in session.prints):
        return Outcome(session.name, False, unexpected[1])
    return Outcome(session.name, True)


def everything(place: Place) -> list[Outcome]:
    """All sessions, on one switch."""
    with place.serving("--no-p4") as address:
        outcomes = run(place, EVERYTHING, address, "everything")
        outcomes += run(place, INDIRECT, address, "indirect")
        outcomes += run(place, WITHOUT_CONFIG, address)
    return outcomes
