"""256 services at once, with an instance in the first and in the last of 64 slots: none is taken for another."""

from tests.packet.bench import Bench
from tests.packet.layout import node_port
from tests.packet.service import Service
from tests.patience import until

SERVICES, LAST_SLOT = 256, 63
AT_ONCE = 32
"""Services that report at once: what BMv2 receives through holds some 400 frames while it does not run."""


def test_every_service_has_its_own_best_instance(bench: Bench) -> None:
    bench.renew()  # this takes all indices there are
    services = [Service(bench, index, members=1, policy=("spread", {"load_penalty": 0})) for index in range(SERVICES)]
    for service in services:
        service.write()
    bench.client.insert(*(entry for one in services for entry in (one.binding(LAST_SLOT), one.instance(LAST_SLOT))))
    best = [LAST_SLOT if index % 3 else 0 for index in range(SERVICES)]
    for service in services:
        for member in (0, LAST_SLOT):
            payload = service.payload(member, backlog=0 if member == best[service.index] else 900_000_000)
            bench.send(node_port(member), service.report_frame(member, payload))
        if service.index % AT_ONCE == AT_ONCE - 1:
            sent = 2 * (service.index + 1)
            until(lambda sent=sent: bench.events("REPORT") == sent, "the reports to be accepted")
    assert [service.ask() for service in services] == best
    services[0].report(0, ready=False)
    assert [service.ask() for service in services] == [LAST_SLOT, *best[1:]]
