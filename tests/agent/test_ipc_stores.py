"""Shadows and secrets as AWS's own client has them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from awsiot.greengrasscoreipc.clientv2 import GreengrassCoreIPCClientV2
from awsiot.greengrasscoreipc.model import (
    BinaryMessage,
    ConflictError,
    GreengrassCoreIPCError,
    InvalidArgumentsError,
    PublishMessage,
    ResourceNotFoundError,
    ServiceError,
    UnauthorizedError,
)

from greengrass_agent.ipc.operations.local_shadows import LocalShadows
from greengrass_agent.ipc.operations.local_topics import LocalTopics
from greengrass_agent.ipc.operations.secrets import SecretOperations
from greengrass_agent.ipc.operations.shadows import ShadowOperations
from greengrass_agent.ipc.server import IpcServer
from greengrass_agent.secrets.secret import CURRENT, arn_of
from greengrass_agent.secrets.store import SecretStore
from greengrass_agent.shadows.service import ShadowService
from greengrass_agent.shadows.store import ShadowStore
from tests.agent.test_ipc_client import PUMP, TANK, Served, clients, opened, subscribe
from tests.patience import PATIENCE

ACCESS = {
    PUMP: {
        "aws.greengrass.ipc.pubsub": {
            "1": {"operations": ["*"], "resources": ["$aws/things/{iot:thingName}/shadow/#"]}
        },
        "aws.greengrass.ShadowManager": {
            "1": {
                "operations": ["aws.greengrass#GetThingShadow", "aws.greengrass#UpdateThingShadow"],
                "resources": ["$aws/things/{iot:thingName}/shadow", "$aws/things/{iot:thingName}/shadow/name/*"],
            },
            "2": {"operations": ["aws.greengrass#ListNamedShadowsForThing"], "resources": ["{iot:thingName}"]},
        },
        "aws.greengrass.SecretManager": {
            "1": {"operations": ["aws.greengrass#GetSecretValue"], "resources": [arn_of("db"), arn_of("gone")]}
        },
    },
    TANK: {"aws.greengrass.ShadowManager": {"1": {"operations": ["*"], "resources": ["*"]}}},
}


class ServedStores(Served):
    """The server with the node's shadows and secrets."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.secrets = SecretStore(folder / "root", folder / "root" / "secrets.key")
        self.server = IpcServer(folder / "ipc" / "socket", "n1", lambda caller: {"accessControl": ACCESS[caller]})
        shadows = ShadowService("n1", ShadowStore(folder / "shadows"), lambda name: False)
        local = LocalTopics()
        LocalShadows(shadows, local)
        self.server.serve(local.operations())
        self.server.serve(ShadowOperations(shadows).operations())
        self.server.serve(SecretOperations(self.secrets).operations())


@pytest.fixture
def served() -> Iterator[ServedStores]:
    with opened(ServedStores) as own:
        yield own


@contextmanager
def refused(kind: type[GreengrassCoreIPCError], said: str, **fields: str) -> Iterator[None]:
    """What is asked for within is refused by this error of the SDK."""
    with pytest.raises(kind) as raised:
        yield
    assert said in raised.value.message
    assert {name: getattr(raised.value, name) for name in fields} == fields


def update(client: GreengrassCoreIPCClientV2, name: str | None, document: object) -> dict[str, object]:
    payload = json.dumps(document).encode()
    answer = client.update_thing_shadow(thing_name="n1", shadow_name=name, payload=payload)
    return dict(json.loads(answer.payload))


def test_shadows(served: ServedStores) -> None:
    with clients(served, PUMP, TANK) as (pump, tank):
        assert update(pump, "lamp", {"state": {"desired": {"on": True}}, "clientToken": "t"})["clientToken"] == "t"
        update(pump, None, {"state": {"reported": {"a": 1}}})
        shadow = json.loads(pump.get_thing_shadow(thing_name="n1", shadow_name="lamp").payload)
        assert shadow["state"] == {"desired": {"on": True}, "delta": {"on": True}} and shadow["version"] == 1
        listed = pump.list_named_shadows_for_thing(thing_name="n1")
        assert (listed.results, listed.next_token) == (["lamp"], None)
        with refused(ConflictError, "Version conflict"):
            update(pump, "lamp", {"state": {}, "version": 7})
        with refused(InvalidArgumentsError, "Missing required node: state"):
            update(pump, "lamp", {})
        for thing, name, said in (
            ("n1", "org.example.Pump", "a component's name"),
            ("another", "lamp", "accessControl in its configuration"),
        ):
            with refused(UnauthorizedError, said):
                pump.get_thing_shadow(thing_name=thing, shadow_name=name)
        with refused(UnauthorizedError, "accessControl"):
            pump.delete_thing_shadow(thing_name="n1", shadow_name="lamp")
        assert tank.delete_thing_shadow(thing_name="n1", shadow_name="lamp").payload == b""
        with refused(ResourceNotFoundError, "No shadow exists with name: lamp", resource_type="shadow"):
            pump.get_thing_shadow(thing_name="n1", shadow_name="lamp")


def test_shadows_on_local_topics(served: ServedStores) -> None:
    top = "$aws/things/n1/shadow/name/lamp"
    with clients(served, PUMP, TANK) as (pump, tank):
        heard, _ = subscribe(pump, f"{top}/#")

        def next_one() -> tuple[str, dict[str, object]]:
            message = heard.get(timeout=PATIENCE).binary_message
            return message.context.topic.removeprefix(f"{top}/"), json.loads(message.message or b"{}")

        update(tank, "lamp", {"state": {"desired": {"on": True}}})
        assert [next_one()[0] for _ in range(3)] == ["update/delta", "update/documents", "update/accepted"]
        request = json.dumps({"state": {}, "version": 9, "clientToken": "t"}).encode()
        pump.publish_to_topic(
            topic=f"{top}/update", publish_message=PublishMessage(binary_message=BinaryMessage(message=request))
        )
        topic, rejected = next_one()
        assert (topic, rejected["code"], rejected["clientToken"]) == ("update/rejected", 409, "t")
        pump.publish_to_topic(
            topic=f"{top}/get", publish_message=PublishMessage(binary_message=BinaryMessage(message=b""))
        )
        topic, accepted = next_one()
        assert (topic, accepted["version"]) == ("get/accepted", 1)


def test_secrets(served: ServedStores) -> None:
    served.secrets.put("db", b"hunter2", "string", arn=None, stage=CURRENT, now=1)
    served.secrets.put("raw", b"\x00", "binary", arn=arn_of("gone") + "/raw", stage=CURRENT, now=1)
    with clients(served, PUMP, TANK) as (pump, tank):
        answer = pump.get_secret_value(secret_id="db", version_stage=CURRENT)
        assert (answer.secret_id, answer.version_stage) == (arn_of("db"), [CURRENT])
        assert answer.secret_value.secret_string == "hunter2"
        again = pump.get_secret_value(secret_id=arn_of("db"), version_id=answer.version_id, refresh=True)
        assert again.version_id == answer.version_id
        with refused(ResourceNotFoundError, "Secret not found", resource_type="secret"):
            pump.get_secret_value(secret_id=arn_of("gone"))
        with refused(ServiceError, "Both versionId and Stage"):
            pump.get_secret_value(secret_id="db", version_id="1", version_stage=CURRENT)
        for secret_id in ("raw", "nowhere"):
            with refused(UnauthorizedError, "accessControl"):
                pump.get_secret_value(secret_id=secret_id)
        with refused(UnauthorizedError, "accessControl"):
            tank.get_secret_value(secret_id="db")
