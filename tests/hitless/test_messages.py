"""MQTT payloads: Greengrass's spelling on the wire, and mistakes named by field."""

import json
from dataclasses import fields

import pytest

from hitless.mqtt.messages import (
    ConfigurationUpdate,
    DeploymentDocument,
    EndpointAck,
    EndpointUpdate,
    Health,
    JobUpdate,
    MessageError,
    Metrics,
    NextJob,
    Presence,
    ShadowDelta,
    ShadowState,
    ShadowUpdate,
)
from hitless.wire.report import Report

DOCUMENT = {
    "deploymentId": "d1",
    "components": {
        "org.A": {
            "componentVersion": "1.0.0",
            "configurationUpdate": {"merge": '{"a": {"b": null}}', "reset": ["/c"]},
            "runWith": {},
        }
    },
    "deploymentPolicies": {"failureHandlingPolicy": "DO_NOTHING"},
    "recipes": {"org.A": {"uri": "http://10.0.0.100:8080/recipes/org.A-1.0.0.yaml", "sha256": "0" * 64}},
}


def test_job_with_a_greengrass_deployment() -> None:
    payload = {"execution": {"jobId": "j1", "status": "QUEUED", "jobDocument": DOCUMENT}, "timestamp": 1}
    job = NextJob.decode(json.dumps(payload))
    assert job.execution is not None
    document = job.execution.job_document
    update = document.components["org.A"].configuration_update
    assert update == ConfigurationUpdate(merge={"a": {"b": None}}, reset=("/c",))
    assert document.deployment_policies.failure_handling_policy == "DO_NOTHING"
    wire = json.loads(job.encode())
    sent = wire["execution"]["jobDocument"]["components"]["org.A"]["configurationUpdate"]
    assert json.loads(sent["merge"]) == {"a": {"b": None}}, "a null in a configuration is a value"
    assert NextJob.decode(job.encode()) == job


def test_configuration_update_as_devices_get_it() -> None:
    assert ConfigurationUpdate.decode('{"MERGE": {"a": 1}, "RESET": [""]}') == ConfigurationUpdate(
        merge={"a": 1}, reset=("",)
    )


def test_no_next_job() -> None:
    assert NextJob.decode("{}").execution is None
    assert NextJob().encode() == b"{}"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"deploymentId": None}, "deploymentId"),
        ({"recipes": {}}, "no recipe for org.A"),
        ({"recipes": {"org.A": {"uri": "x", "sha256": "nonsense"}}}, "recipes.org.A.sha256"),
        ({"components": {"org.A": {}}}, "components.org.A.componentVersion"),
        (
            {"components": {"org.A": {"componentVersion": "1", "configurationUpdate": {"merge": "{"}}}},
            "merge.*JSON in a string",
        ),
        ({"deploymentPolicies": {"failureHandlingPolicy": "RETRY"}}, "failureHandlingPolicy.*ROLLBACK"),
    ],
)
def test_mistakes_in_a_deployment_are_named(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(MessageError, match=complaint):
        DeploymentDocument.decode(json.dumps(DOCUMENT | change))


@pytest.mark.parametrize("payload", [b"", b"\xff", b"[]", b"nonsense", b'{"online": true}', b'{"online":1,"epoch":-1}'])
def test_nonsense_is_refused(payload: bytes) -> None:
    with pytest.raises(MessageError, match="not a valid Presence"):
        Presence.decode(payload)


def test_metrics_are_the_reports_fields() -> None:
    report = Report(service_id=1, node_id=2, epoch=3, sequence=4, ready=True, cpu_own=5, service_interval=6)
    payload = Metrics.of(report).encode()
    assert json.loads(payload)["service_interval"] == 6, "the report's own names"
    assert Metrics.decode(payload).report() == report
    assert json.loads(payload).keys() == {field.name for field in fields(Report)} - {"key_id", "tag"}


@pytest.mark.parametrize(
    ("field", "value"), [("cpu", 1 << 16), ("backlog", -1), ("ready", "perhaps"), ("draining", None)]
)
def test_metrics_that_no_report_could_carry_are_refused(field: str, value: object) -> None:
    payload = json.loads(Metrics.of(Report(service_id=1, node_id=2, epoch=3, sequence=4, ready=True)).encode())
    with pytest.raises(MessageError, match=f"not a valid Metrics: {field}"):
        Metrics.decode(json.dumps(payload | {field: value}))
    with pytest.raises(MessageError, match=f"not a valid Metrics: {field}"):
        Metrics.decode(json.dumps({name: one for name, one in payload.items() if name != field}))


def test_shadow() -> None:
    delta = ShadowDelta.decode('{"version": 3, "state": {"role": "standby", "draining": true}}')
    assert delta.state == ShadowState(role="standby", draining=True)
    assert ShadowDelta.decode('{"version": 3, "state": {"role": null}}').state == ShadowState()
    update = ShadowUpdate.decode('{"state": {"reported": {"role": "host"}}, "version": 3}')
    assert update.state.reported.role == "host"


def test_job_update_has_greengrass_names() -> None:
    update = JobUpdate.decode(
        '{"status": "FAILED", "statusDetails": {"detailedStatus": "FAILED_ROLLBACK_COMPLETE", "reason": "r"},'
        ' "clientToken": "t"}'
    )
    assert update.status_details.detailed_status == "FAILED_ROLLBACK_COMPLETE"
    with pytest.raises(MessageError, match="status"):
        JobUpdate.decode('{"status": "DONE", "clientToken": "t"}')


def test_health_has_greengrass_names() -> None:
    health = Health(
        ggc_version="0.1.0",
        architecture="x86_64",
        thing="edge1",
        overall_device_status="HEALTHY",
        sequence_number=1,
        timestamp=0,
        trigger="RECONNECT",
        components=(),
    )
    assert {"ggcVersion", "overallDeviceStatus", "messageType"} <= json.loads(health.encode()).keys()


def test_endpoints_are_ordered_by_term_then_version() -> None:
    def update(term: int, version: int) -> EndpointUpdate:
        return EndpointUpdate(term=term, version=version, address="10.0.0.11", port=9000)

    assert update(1, 0).newer_than(None)
    assert update(1, 3).newer_than(update(1, 2))
    assert update(2, 0).newer_than(update(1, 9))
    assert not update(1, 2).newer_than(update(1, 2))
    assert not update(1, 9).newer_than(EndpointAck(service="s", term=2, version=0))


@pytest.mark.parametrize("address", ["edge1", "999.1.1.1", "10.0.0.11:9000", "10.0.0"])
def test_an_endpoint_is_at_an_ipv4_address(address: str) -> None:
    with pytest.raises(MessageError, match=r"address: expected an IPv4 address such as 10\.96\.0\.1"):
        EndpointUpdate.decode(json.dumps({"term": 1, "version": 1, "address": address, "port": 9000}))
