"""softswitch: an embedded P4Runtime target that compiles what p4c made for BMv2 and runs it natively.

import softswitch

with softswitch.load("program.json", p4info="program.p4info.txtpb") as switch:
    switch.write("entries.txtpb")
    print(switch.process(1, packet))  # [(port, bytes), …]
"""

from softswitch.engine.events import DigestEvent
from softswitch.engine.shaping import Departure, Link
from softswitch.engine.trace import Step, Trace
from softswitch.files import LoadError, WriteError
from softswitch.switch import Switch, load

__all__ = ["Departure", "DigestEvent", "Link", "LoadError", "Step", "Switch", "Trace", "WriteError", "load"]
