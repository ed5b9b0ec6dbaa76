"""Endpoints: every one newer than the last, over restarts and over a lost state."""

from itertools import pairwise

from controller.steering.endpoints import Endpoints
from hitless.mqtt.messages import EndpointUpdate


def test_every_endpoint_is_newer_than_the_last_also_of_an_earlier_term() -> None:
    old, new = Endpoints(term=4), Endpoints(term=5)
    updates = [old.set("web", f"10.0.0.{node}", 80, "") for node in (1, 2, 1)] + [new.set("web", "10.0.0.1", 80, "")]
    assert all(later.newer_than(earlier) for earlier, later in pairwise(updates))
    assert new.current == {"web": updates[-1]}


def test_what_the_broker_echoes_is_known_as_ones_own() -> None:
    endpoints = Endpoints(term=2)
    first = endpoints.set("web", "10.0.0.1", 80, "")
    second = endpoints.set("web", "10.0.0.2", 80, "")
    assert endpoints.is_own("web", first)
    assert endpoints.is_own("web", second)
    assert not endpoints.is_own("other", first)
    assert not endpoints.is_own("web", EndpointUpdate(term=1, version=9, address="10.0.0.1", port=80))


def test_a_controller_that_lost_its_state_gets_ahead_of_what_the_broker_holds() -> None:
    endpoints = Endpoints(term=1)
    endpoints.set("web", "10.0.0.1", 80, "")
    held = EndpointUpdate(term=7, version=3, address="10.0.0.2", port=80)
    assert endpoints.outrun(held)
    assert endpoints.term == 8
    assert endpoints.current["web"].newer_than(held)
    assert endpoints.current["web"].address == "10.0.0.1"
    assert not endpoints.outrun(held), "once is enough"
    assert not endpoints.outrun(EndpointUpdate(term=3, version=99, address="10.0.0.2", port=80))
