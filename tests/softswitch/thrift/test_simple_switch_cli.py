"""BMv2's own command line, simple_switch_CLI, against a switch: what it prints. Where it is on the PATH, or where the
environment's SIMPLE_SWITCH_CLI says; it comes with a BMv2 that was built with Thrift."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.softswitch.thrift.conftest import Start

CLI = os.environ.get("SIMPLE_SWITCH_CLI") or shutil.which("simple_switch_CLI")

pytestmark = pytest.mark.skipif(CLI is None, reason="no simple_switch_CLI on the PATH or in SIMPLE_SWITCH_CLI")

_EVERYTHING = """\
table_add exact_table forward 7 => 3
table_dump_entry exact_table 0
table_add ternary_table drop 5 0x1200&&&0xff00 0->65535 0&&&0 => 10
table_set_default keyless_table forward 6
table_add exact_table forward 7 => 3
table_num_entries exact_table
table_modify exact_table forward 0 4
table_delete exact_table 0
table_delete exact_table 0
counter_read by_kind 0
counter_read exact_counter 9
register_write wide_register 3 77
register_read wide_register 3
register_read signed_register
mc_mgrp_create 5
mc_node_create 2 1 5 8
mc_node_associate 5 0
mc_dump
mirroring_add 9 2
mirroring_get 9
mirroring_delete 8
port_remove 7
reset_state
table_num_entries ternary_table
"""

_EVERYTHING_SAYS = """\
Adding entry to exact match table exact_table
match key:           EXACT-00:07
action:              forward
runtime data:        00:03
Entry has been added with handle 0
?
Dumping entry 0x0
Match key:
* message.tag         : EXACT     0007
Action entry: EverythingIngress.forward - 0003
?
Adding entry to range match table ternary_table
match key:           EXACT-05	TERNARY-12:00 &&& ff:00	RANGE-00:00 -> ff:ff	TERNARY-00 &&& 00
action:              drop
runtime data:
Entry has been added with handle 0
?
Setting default action of keyless_table
action:              forward
runtime data:        00:06
?
Adding entry to exact match table exact_table
match key:           EXACT-00:07
action:              forward
runtime data:        00:03
Invalid table operation (DUPLICATE_ENTRY)
?
1
?
Modifying entry 0 for exact match table exact_table
?
Deleting entry 0 from exact_table
?
Deleting entry 0 from exact_table
Invalid table operation (INVALID_HANDLE)
?
by_kind[0]= (0 bytes, 0 packets)
?
this is the direct counter for table EverythingIngress.exact_table
Invalid table operation (INVALID_HANDLE)
?
?
wide_register[3]= 77
?
signed_register= 0, 0, 0, 0
?
Creating multicast group 5
?
Creating node with rid 2 , port map 100100010 and lag map
node was created with handle 0
?
Associating node 0 to multicast group 5
?
==========
MC ENTRIES
**********
mgrp(5)
  -> (L1h=0, rid=2) -> (ports=[1, 5, 8], lags=[])
==========
LAGS
==========
?
?
MirroringSessionConfig(port=2, mgid=None)
?
Invalid mirroring operation (SESSION_NOT_FOUND)
?
Invalid device manager operation (ERROR)
?
?
0
?
"""

_INDIRECT = """\
act_prof_create_group spread
act_prof_create_member spread answer 100
act_prof_add_member_to_group spread 0 0
table_indirect_add_with_group spreading 1 => 0
table_indirect_add spreading 2 => 0
table_dump spreading
act_prof_delete_member spread 0
table_clear spreading
table_num_entries spreading
"""

_INDIRECT_SAYS = """\
Group has been created with handle 0
?
Member has been created with handle 0
?
?
Adding entry to indirect match table I.spreading
Entry has been added with handle 0
?
Adding entry to indirect match table I.spreading
Entry has been added with handle 1
?
==========
TABLE ENTRIES
**********
Dumping entry 0x0
Match key:
* q.key               : EXACT     01
Index: group(0)
**********
Dumping entry 0x1
Match key:
* q.key               : EXACT     02
Index: member(0)
==========
MEMBERS
**********
Dumping member 0
Action entry: I.answer - 0064
==========
GROUPS
**********
Dumping group 0
Members: [0]
==========
Dumping default entry
EMPTY
==========
?
Invalid table operation (MBR_STILL_USED)
?
?
0
?
"""

_METERED = """\
meter_get_rates by_packets 0
meter_set_rates by_packets 0 1:1 2:1
meter_set_rates by_packets 4 1:1 2:1
meter_set_rates by_packets 0 2:1 1:1
meter_get_rates by_packets 0
table_add ageing answer 1&&&0xff => 5 1
table_set_timeout ageing 0 2000
pvs_add P.pairs 0x1234
pvs_get P.pairs
"""

_METERED_SAYS = """\
WARNING: expected 2 rates but only received 0
?
?
Invalid meter operation (INVALID_INDEX)
?
Invalid meter operation (INVALID_INFO_RATE_VALUE)
?
0: info rate = 1.0, burst size = 1
1: info rate = 2.0, burst size = 1
?
Adding entry to ternary match table ageing
match key:           TERNARY-01 &&& ff
action:              answer
runtime data:        05
Entry has been added with handle 0
?
Setting a 2000 ms timeout for entry 0
?
?
1234
?
"""


@pytest.mark.parametrize(
    ("program", "commands", "says"),
    [
        ("everything", _EVERYTHING, _EVERYTHING_SAYS),
        ("indirect", _INDIRECT, _INDIRECT_SAYS),
        ("metered", _METERED, _METERED_SAYS),
    ],
)
def test_prints_what_it_prints_with_bmv2(start: Start, program: str, commands: str, says: str) -> None:
    assert _talk(start(program).thrift_port, commands) == says


def test_loads_a_program_and_keeps_what_is_asked_for(start: Start, tmp_path: Path) -> None:
    switch = start("everything", p4info=True)
    kept, state = tmp_path / "kept.json", tmp_path / "state.txt"
    commands = f"write_config_to_file {kept}\nserialize_state {state}\nload_new_config_file {kept}\nswap_configs\n"
    assert _talk(switch.thrift_port, commands) == "?\n?\nLoading new Json config\n?\nSwapping configs\n?\n"
    assert kept.read_text() == switch.client.standard.bm_get_config()
    assert "table_entry" in state.read_text()


def _talk(port: int, commands: str) -> str:
    """What is printed, with a question mark where a prompt stands but for the first, and no blanks at ends of lines."""
    assert CLI is not None
    command = [CLI, "--thrift-port", str(port)]
    done = subprocess.run(command, input=commands, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    talk = done.stdout.partition("RuntimeCmd: ")[2].removesuffix("\n").replace("RuntimeCmd: ", "?\n")
    return re.sub(r"[ \t]+$", "", talk, flags=re.MULTILINE)
