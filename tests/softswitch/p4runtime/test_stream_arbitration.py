"""Arbitration as controllers see it on their streams."""

from __future__ import annotations

import grpc
import pytest
from finsy.proto import p4r, rpc_code

from tests.softswitch.p4runtime.client import Client, Names


def test_primary_and_backup_hear_who_is_primary(client: Client) -> None:
    first = client.primary(10)
    second = client.stream()
    second.arbitrate(9)
    assert second.arbitration() == (rpc_code.ALREADY_EXISTS, 10)
    third = client.stream()
    third.arbitrate(1 << 100)
    assert third.arbitration() == (rpc_code.OK, 1 << 100)
    assert first.arbitration() == (rpc_code.ALREADY_EXISTS, 1 << 100)
    assert second.arbitration() == (rpc_code.ALREADY_EXISTS, 1 << 100)
    third.close()
    assert first.arbitration() == (rpc_code.NOT_FOUND, 1 << 100)
    assert second.arbitration() == (rpc_code.NOT_FOUND, 1 << 100)


def test_duplicate_election_id_ends_the_second_stream_only(client: Client) -> None:
    first = client.primary(10)
    second = client.stream()
    second.arbitrate(10)
    assert second.end_code() is grpc.StatusCode.INVALID_ARGUMENT
    first.arbitrate(10)
    assert first.arbitration() == (rpc_code.OK, 10)


def test_broken_connection_counts_as_leaving(client: Client, switch_address: str) -> None:
    with Client(switch_address) as other:
        other.primary(11)
        mine = client.stream()
        mine.arbitrate(10)
        assert mine.arbitration() == (rpc_code.ALREADY_EXISTS, 11)
    assert mine.arbitration() == (rpc_code.NOT_FOUND, 11)


def test_unknown_device_ends_the_stream(client: Client) -> None:
    stream = client.stream()
    stream.arbitrate(10, device_id=2)
    assert stream.end_code() is grpc.StatusCode.NOT_FOUND


def test_role_configuration_is_refused(client: Client) -> None:
    stream = client.stream()
    update = p4r.MasterArbitrationUpdate(device_id=1)
    update.role.config.Pack(p4r.Role(name="anything"))
    stream.send(arbitration=update)
    assert stream.end_code() is grpc.StatusCode.INVALID_ARGUMENT


def test_named_role_is_echoed_and_writes(client: Client, names: Names) -> None:
    stream = client.stream()
    stream.arbitrate(3, role="acl")
    message = stream.receive().arbitration
    assert (message.role.name, message.status.code) == ("acl", rpc_code.OK)
    request = p4r.SetForwardingPipelineConfigRequest(device_id=1, role="acl", config=names.config())
    request.election_id.low = 3
    request.action = p4r.SetForwardingPipelineConfigRequest.VERIFY
    client.stub.SetForwardingPipelineConfig(request)


def test_write_needs_the_primarys_election_id(client: Client) -> None:
    with pytest.raises(grpc.RpcError) as never_arbitrated:
        client.write(election_id=10)
    assert never_arbitrated.value.code() is grpc.StatusCode.PERMISSION_DENIED
    client.primary(10)
    backup = client.stream()
    backup.arbitrate(9)
    backup.arbitration()
    for election_id in (9, 11, None):
        with pytest.raises(grpc.RpcError) as refused:
            client.write(election_id=election_id)
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    # The order of checks: device, primary, pipeline.
    with pytest.raises(grpc.RpcError) as wrong_device:
        client.write(election_id=9, device_id=2)
    assert wrong_device.value.code() is grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.RpcError) as no_pipeline:
        client.write(election_id=10)
    assert no_pipeline.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_former_primary_is_refused(client: Client, names: Names) -> None:
    client.primary(10)
    client.push(names.config())
    client.primary(11)
    with pytest.raises(grpc.RpcError) as refused:
        client.write(election_id=10)
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    client.write(election_id=11)
