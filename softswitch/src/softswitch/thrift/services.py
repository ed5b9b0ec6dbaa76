"""Which object does what of which service."""

from __future__ import annotations

from softswitch.thrift.access import Access
from softswitch.thrift.arrays import Counters, Meters, Registers
from softswitch.thrift.clone_sessions import CloneSessions
from softswitch.thrift.definitions import replication, simple_switch, standard
from softswitch.thrift.direct import DirectResources
from softswitch.thrift.learning import Learning
from softswitch.thrift.multicast import Multicast
from softswitch.thrift.ports import Ports
from softswitch.thrift.processor import Processor
from softswitch.thrift.profiles import Profiles
from softswitch.thrift.programs import Programs
from softswitch.thrift.queues import Clocks, Queues
from softswitch.thrift.tables import Tables
from softswitch.thrift.value_sets import ValueSets


def processor(access: Access, port: int) -> Processor:
    """All services over one device, served at `port`, by the names that simple_switch gives them."""
    multicast = [Multicast(access)]
    standards = (
        Tables(access),
        Profiles(access),
        DirectResources(access),
        Counters(access),
        Meters(access),
        Registers(access),
        ValueSets(access),
        Learning(),
        Programs(access, port),
        Ports(access),
    )
    return Processor(
        {
            "standard": (standard.Standard, standards),
            "simple_pre": (replication.SimplePre, multicast),
            "simple_pre_lag": (replication.SimplePreLAG, multicast),
            "simple_switch": (simple_switch.SimpleSwitch, (CloneSessions(access), Queues(access), Clocks(access))),
        }
    )
