"""Which endpoint is in force."""

import pytest

from hitless.client.endpoints import Endpoints
from hitless.mqtt.messages import EndpointUpdate
from hitless.wire.calls import Endpoint, UnknownEndpoint


def update(term: int, version: int, address: str) -> EndpointUpdate:
    return EndpointUpdate(term=term, version=version, address=address, port=9000)


def test_newer_replaces_older_is_ignored() -> None:
    endpoints = Endpoints({"detect": 2}, {"detect": ("10.96.0.2", 9000)})
    assert endpoints.current("detect") == Endpoint(2, "10.96.0.2", 9000)
    assert endpoints.latest("detect") is None
    assert endpoints.update("detect", update(3, 5, "10.0.0.11"))
    assert not endpoints.update("detect", update(3, 5, "10.0.0.99")), "a duplicate"
    assert not endpoints.update("detect", update(2, 9, "10.0.0.99")), "of an older term"
    assert endpoints.current("detect").address == "10.0.0.11"
    assert endpoints.update("detect", update(4, 0, "10.0.0.12")), "a restarted controller"
    assert endpoints.current("detect") == Endpoint(2, "10.0.0.12", 9000)
    assert endpoints.latest("detect") == update(4, 0, "10.0.0.12")


def test_unknown() -> None:
    endpoints = Endpoints({"detect": 2})
    with pytest.raises(UnknownEndpoint, match="no endpoint of service detect is known yet"):
        endpoints.current("detect")
    with pytest.raises(UnknownEndpoint, match=r"'other' is unknown, expected one of \['detect'\]"):
        endpoints.current("other")
    with pytest.raises(UnknownEndpoint, match="does not call"):
        endpoints.update("other", update(1, 1, "10.0.0.1"))
