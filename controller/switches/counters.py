"""A switch's counters: which cells of them say something of the fabric, and of what."""

from collections.abc import Iterable, Iterator

import finsy as fy

from controller.fabric.schema import Fabric
from controller.switches.entries import instance_index, newcomers_index
from controller.switches.view import Count, SwitchCounters
from hitless.words import FlowPlace


def behind(fabric: Fabric, switch: str) -> Iterator[tuple[str, str]]:
    """The instances, by service and node, whose nodes are behind a switch."""
    for name, spec in fabric.services.items():
        for node in spec.instances:
            if fabric.hosts[node].switch == switch:
                yield name, node


class CounterReading:
    """What to read of a switch's counters, and what was read."""

    def __init__(self, fabric: Fabric, switch: str, schema: fy.P4Schema) -> None:
        def index(service: str, node: str) -> int:
            spec = fabric.services[service]
            return instance_index(spec, spec.instances[node].member)

        services = list(fabric.services_on(switch))
        self._steered = {index(name, node): (name, node) for name, spec in services for node in spec.instances}
        self._behind = {index(*key): key for key in behind(fabric, switch)}
        self._places = {newcomers_index(spec, place): (name, place) for name, spec in services for place in FlowPlace}
        self._names = {counter: _names(schema, counter) for counter in ("drops", "events")}

    def cells(self) -> list[fy.P4CounterEntry]:
        """The entries to read."""
        return [
            *(fy.P4CounterEntry("newcomers", index=index) for index in self._places),
            *(fy.P4CounterEntry("steered", index=index) for index in self._steered),
            *(
                fy.P4CounterEntry(counter, index=index)
                for counter in ("answered", "reported")
                for index in self._behind
            ),
            fy.P4CounterEntry("drops"),
            fy.P4CounterEntry("events"),
        ]

    def counted(self, cells: Iterable[fy.P4CounterEntry]) -> SwitchCounters:
        """What the entries say that were read; nothing of what has not happened."""
        counters = SwitchCounters()
        for cell in cells:
            index = cell.index
            if not cell.packet_count or index is None:
                continue
            count = Count(cell.packet_count, cell.byte_count)
            match cell.counter_id:
                case "steered":
                    counters.steered[self._steered[index]] = count
                case "answered":
                    counters.answered[self._behind[index]] = count
                case "reported":
                    counters.reported[self._behind[index]] = count.packets
                case "newcomers":
                    service, place = self._places[index]
                    counters.newcomers.setdefault(service, {})[place] = count.packets
                case "drops":
                    counters.drops[self._name(cell.counter_id, index)] = count
                case _:
                    counters.events[self._name(cell.counter_id, index)] = count.packets
        return counters

    def _name(self, counter: str, index: int) -> str:
        return self._names[counter].get(index, str(index))


def _names(schema: fy.P4Schema, counter: str) -> dict[int, str]:
    """What the cells of a counter count: its `names` annotation in the p4info."""
    for entry in schema.p4info.counters:
        if entry.preamble.alias == counter:
            for annotation in entry.preamble.structured_annotations:
                if annotation.name == "names":
                    return {pair.value.int64_value: pair.key for pair in annotation.kv_pair_list.kv_pairs}
    return {}
