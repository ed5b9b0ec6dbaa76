"""One reading of a service's endpoint for the agent and the workers, whoever wrote it."""

import re
import subprocess
import sys

import pytest

from hitless.component.endpoint import ServiceEndpoint
from hitless.component.service_configuration import ServiceConfiguration, ServiceConfigurationError
from hitless.runtime.upstream import endpoint_of
from hitless.wire.calls import Endpoint, UnknownEndpoint

DETECT = {"address": "10.96.0.2", "port": 9001, "service_id": 2}


def test_agent_and_worker_read_the_same_endpoint() -> None:
    configuration = {"service": "detect", "endpoints": {"detect": DETECT}}
    read = ServiceConfiguration.read(configuration)
    assert read is not None
    assert read.own == ServiceEndpoint("10.96.0.2", 9001, 2, "udp")
    assert endpoint_of("detect", configuration) == Endpoint(2, "10.96.0.2", 9001)
    assert ServiceEndpoint.read(read.own.written()) == read.own


def test_numbers_that_interpolation_made_text_of_are_numbers() -> None:
    assert ServiceEndpoint.read(DETECT | {"port": "9001"}).port == 9001


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        (DETECT | {"address": "edge1"}, "address: expected an IPv4 address such as 10.96.0.1, got 'edge1'"),
        (DETECT | {"address": "999.1.1.1"}, "address: expected an IPv4 address such as 10.96.0.1, got '999.1.1.1'"),
        (DETECT | {"port": 0}, "port: expected a number of 1 to 65535, got 0"),
        (DETECT | {"port": 1 << 16}, "port: expected a number of 1 to 65535, got 65536"),
        (DETECT | {"service_id": None}, "service_id: expected a number of 1 to 65535, got None"),
        (DETECT | {"service_id": True}, "service_id: expected a number of 1 to 65535, got True"),
        (DETECT | {"protocol": "sctp"}, "protocol: expected udp or tcp, got 'sctp'"),
        ("10.96.0.2:9001", "expected a mapping with address, port and service_id, got '10.96.0.2:9001'"),
    ],
)
def test_a_mistake_is_told_to_both_by_field_and_what_was_expected(entry: object, complaint: str) -> None:
    configuration = {"service": "detect", "endpoints": {"detect": entry}}
    with pytest.raises(ServiceConfigurationError, match=re.escape(complaint)):
        ServiceConfiguration.read(configuration)
    with pytest.raises(
        UnknownEndpoint, match=re.escape(f"endpoints.detect of the component's configuration: {complaint}")
    ):
        endpoint_of("detect", configuration)


def test_a_worker_starts_without_pydantic() -> None:
    """Every start of a function would wait for it, longer than for all else that a worker imports."""
    code = "import sys, hitless.function; assert 'pydantic' not in sys.modules, 'a worker imports pydantic'"
    subprocess.run([sys.executable, "-c", code], check=True)
