"""What grpcurl and load balancers ask a gRPC server: which services it has, and whether it is well."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.softswitch.p4runtime.client import TIMEOUT, Client
from tests.softswitch.test_grpc_server import reflected


def test_reflection_lists_what_is_served(client: Client) -> None:
    names = {service.name for service in reflected(client.channel, list_services="").list_services_response.service}
    assert names >= {"p4.v1.P4Runtime", "softswitch.v1.Ports"}


@pytest.mark.parametrize(("service", "method"), [("p4.v1.P4Runtime", "Write"), ("softswitch.v1.Ports", "Add")])
def test_reflection_describes_our_services(client: Client, service: str, method: str) -> None:
    answer = reflected(client.channel, file_containing_symbol=service)
    files = [
        descriptor_pb2.FileDescriptorProto.FromString(data)
        for data in answer.file_descriptor_response.file_descriptor_proto
    ]
    described = [s for file in files for s in file.service if f"{file.package}.{s.name}" == service]
    assert method in [m.name for s in described for m in s.method]
    # with all that its messages refer to
    assert {name for file in files for name in file.dependency} <= {file.name for file in files}


def test_health(client: Client) -> None:
    check = health_pb2_grpc.HealthStub(client.channel).Check
    for service in ("", "p4.v1.P4Runtime"):
        answer = check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
