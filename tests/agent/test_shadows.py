"""The node's shadow service: on disk, in turn, at the broker, and for components."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from awsiot.greengrasscoreipc import model

from greengrass_agent.ipc.operation import Caller, IpcError, Operation
from greengrass_agent.ipc.operations.shadows import ShadowOperations
from greengrass_agent.shadows import store as shadow_store
from greengrass_agent.shadows.broker import BrokerShadows
from greengrass_agent.shadows.document import Deleted, Document, Key, ShadowError
from greengrass_agent.shadows.service import ShadowService, Side, Told
from greengrass_agent.shadows.store import FullError, ShadowStore
from hitless.files import StateError
from hitless.mqtt.client import Publication
from hitless.mqtt.messages import ReportedState, ShadowState, ShadowUpdate
from tests.patience import until_async

Json = dict[str, Any]
THING = "n1"
LAMP = Key(THING, "lamp")
TOP = f"hitless/things/{THING}/shadow"
ME = Caller("org.example.Lamp", 1)


class Node:
    """A node's shadows with a broker that keeps what it is sent."""

    def __init__(self, folder: Path, components: tuple[str, ...] = ("Web",)) -> None:
        self.now = 1000.0
        self.store = ShadowStore(folder / "shadows")
        self.service = ShadowService(THING, self.store, components.__contains__, lambda: self.now)
        self.told: list[Told] = []
        self.sent: list[Publication] = []
        self.service.listen(self.told.append)
        self.broker = BrokerShadows(THING, self.service, self.sent.append)
        self.operations = {one.name: one for one in ShadowOperations(self.service).operations()}

    async def update(self, key: Key, side: Side = Side.NODE, **fields: Any) -> Json:
        return dict(json.loads(await self.service.request("update", key, json.dumps(fields).encode(), side)))

    async def ask(self, name: str, **request: Any) -> Json:
        """What a component is answered."""
        operation = self.operations[f"aws.greengrass#{name}"]
        if operation.resource is not None:
            operation.resource(request)
        return await operation.call(ME, request, None)  # type: ignore[arg-type]

    def heard(self, suffix: str) -> list[Json]:
        """What was sent to a topic of the shadows at the broker."""
        return [json.loads(one.payload or b"null") for one in self.sent if one.topic == f"{TOP}/{suffix}"]

    def hear(self, suffix: str, payload: bytes | Json = b"", *, retained: bool = False) -> bool:
        """Send the node something by the broker."""
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return self.broker.message(f"{TOP}/{suffix}", data, retained)


def run(test: Callable[[Node], Awaitable[None]], folder: Path, **options: Any) -> None:
    async def main() -> None:
        await test(Node(folder, **options))

    asyncio.run(main(), debug=True)


def test_what_was_answered_is_there_after_a_restart(tmp_path: Path) -> None:
    async def before(node: Node) -> None:
        await node.update(LAMP, state={"desired": {"on": True}})
        await node.update(Key(THING, ""), state={"reported": {"a": 1}})
        await node.update(Key("another", "lamp"), state={})
        await node.update(Key(THING, "gone"), state={})
        await node.service.request("delete", Key(THING, "gone"), b"", Side.NODE)

    async def after(node: Node) -> None:
        assert json.loads(await node.service.request("get", LAMP, b"", Side.NODE))["state"]["desired"] == {"on": True}
        assert (await node.update(Key(THING, ""), state={}))["version"] == 2
        assert node.service.names(THING) == ["lamp"]
        assert (await node.update(Key(THING, "gone"), state={}))["version"] == 2, "its version goes on"

    run(before, tmp_path)
    run(after, tmp_path)


def test_a_broken_file_costs_its_own_shadow(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def before(node: Node) -> None:
        for name in ("a", "b"):
            await node.update(Key(THING, name), state={"desired": {"x": 1}})

    async def after(node: Node) -> None:
        assert node.service.names(THING) == ["b"]
        assert (await node.update(Key(THING, "a"), state={}))["version"] == 1

    run(before, tmp_path)
    (tmp_path / "shadows" / THING / "named" / "a.json").write_text("{")
    run(after, tmp_path)
    assert "a.json.broken" in caplog.text


def test_an_update_that_cannot_be_kept_is_refused_and_is_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(node: Node) -> None:
        await node.update(LAMP, state={"desired": {"on": True}})

        async def full(*_: object) -> None:
            raise StateError("lamp.json: No space left on device: make room")

        monkeypatch.setattr(node.store, "save", full)
        node.told.clear()
        with pytest.raises(IpcError, match="No space left") as raised:
            await node.ask(
                "UpdateThingShadow", thingName=THING, shadowName="lamp", payload=base64.b64encode(b'{"state":{}}')
            )
        assert raised.value.code == "ServiceError"
        assert [one.kind for one in node.told] == ["rejected"]
        assert json.loads(await node.service.request("get", LAMP, b"", Side.NODE))["version"] == 1

    run(test, tmp_path)


def test_there_is_room_for_so_many_and_deleted_ones_give_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow_store, "MOST", 2)
    a, b, c = (Key(THING, name) for name in "abc")

    async def test(node: Node) -> None:
        await node.store.save(a, Document(1, {}, {}))
        await node.store.save(b, Deleted(1, 5))
        await node.store.save(c, Document(1, {}, {}))
        assert (node.store.names(THING), node.store.load(b)) == (["a", "c"], None)
        with pytest.raises(FullError, match="2 shadows at most: delete one"):
            await node.store.save(b, Document(1, {}, {}))
        await node.store.save(a, Document(2, {}, {}))

    run(test, tmp_path)


def test_what_components_change_is_told_at_the_broker(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        await node.update(LAMP, state={"desired": {"on": True}}, clientToken="t")
        assert [(one["version"], one["clientToken"]) for one in node.heard("name/lamp/update/accepted")] == [(1, "t")]
        assert [one["current"]["version"] for one in node.heard("name/lamp/update/documents")] == [1]
        assert [one.retain for one in node.sent] == [True, False], "only the document stays at the broker"
        assert {one.kind for one in node.told} == {"accepted", "documents", "delta"}
        node.sent.clear()
        await node.service.request("get", LAMP, b"", Side.NODE)
        with pytest.raises(ShadowError):
            await node.update(LAMP, state={}, version=9)
        await node.update(Key("another", "lamp"), state={})
        assert node.sent == [], "what only the one who asked is told, and other things' shadows"
        node.broker.connected()
        assert [one["current"]["version"] for one in node.heard("name/lamp/update/documents")] == [1]
        await node.service.request("delete", LAMP, b"", Side.NODE)
        assert node.heard("name/lamp/delete/accepted")[0]["version"] == 1
        gone = Publication(f"{TOP}/name/lamp/update/documents", b"", retain=True)
        assert node.sent[-1] == gone, "nothing stays at the broker"
        node.sent.clear()
        node.broker.connected()
        assert node.sent == [gone], "also if the node was away when it was deleted"

    run(test, tmp_path)


def test_the_broker_asks_and_changes_by_version(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        await node.update(LAMP, state={"desired": {"a": 1, "b": 1}})
        assert node.hear("name/lamp/update", {"state": {"desired": {"a": 2}}, "version": 1})
        assert node.hear("name/lamp/update", {"state": {"desired": {"a": 3}}, "version": 1, "clientToken": "late"})
        assert node.hear("name/lamp/update", {"state": {"desired": {"b": None}}})
        assert node.hear("name/lamp/get")
        assert node.hear("get", {"clientToken": "g"})
        await until_async(lambda: node.heard("get/rejected") or None, "the last answer")
        late = node.heard("name/lamp/update/rejected")
        assert [(one["code"], one["clientToken"]) for one in late] == [(409, "late")]
        shadow = node.heard("name/lamp/get/accepted")[0]
        assert (shadow["version"], shadow["state"]["desired"]) == (3, {"a": 2})
        missing = node.heard("get/rejected")[0]
        assert (missing["code"], missing["clientToken"]) == (404, "g")
        assert not node.hear("name/lamp/update/accepted"), "the node's own word"
        assert not node.hear("name/lamp/update/delta")

    run(test, tmp_path)


@pytest.mark.parametrize("component", ["org.example.Web", "Web"])
def test_the_shadow_of_a_component_is_between_controller_and_node(tmp_path: Path, component: str) -> None:
    async def test(node: Node) -> None:
        report = ShadowUpdate(state=ReportedState(reported=ShadowState(role="host", report_key_id=3)), version=7)
        assert node.hear(f"name/{component}/update", report.encode())
        assert node.hear(f"name/{component}/update", {"state": {"desired": {"draining": True}}})
        assert node.hear(f"name/{component}/get")
        assert node.hear(f"name/{component}/delete")
        await until_async(lambda: node.heard(f"name/{component}/delete/rejected") or None, "the last answer")
        assert len(node.sent) == 3, "the report is no update"
        assert {json.loads(one.payload)["code"] for one in node.sent} == {403}
        payload = base64.b64encode(b'{"state": {"desired": {"draining": true}}}')
        for name in ("GetThingShadow", "UpdateThingShadow", "DeleteThingShadow"):
            with pytest.raises(IpcError, match=f"{component} is a component's name: .*role and key") as raised:
                await node.ask(name, thingName=THING, shadowName=component, payload=payload)
            assert raised.value.code == "UnauthorizedError"
        assert node.store.there() == []

    run(test, tmp_path)


def test_a_component_that_takes_the_name_of_a_shadow_hides_it(tmp_path: Path) -> None:
    async def before(node: Node) -> None:
        await node.update(Key(THING, "Web"), state={"desired": {"a": 1}})

    async def after(node: Node) -> None:
        assert node.service.names(THING) == []
        node.broker.connected()
        assert node.sent == []

    run(before, tmp_path, components=())
    run(after, tmp_path)


def test_an_update_waits_at_the_broker_for_a_node_that_is_away(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        assert node.hear("name/lamp/update", {"state": {"desired": {"on": True}}, "version": 1}, retained=True)
        taken = Publication(f"{TOP}/name/lamp/update", b"", retain=True)
        await until_async(lambda: taken in node.sent or None, "that it is taken away")
        assert node.hear("name/lamp/update", b""), "the broker repeats what was taken away"
        assert node.hear("name/lamp/delete", b"", retained=True)
        assert node.heard("name/lamp/delete/rejected")[0]["code"] == 400
        assert json.loads(await node.service.request("get", LAMP, b"", Side.NODE))["version"] == 1

    run(test, tmp_path)


def test_a_flood_of_requests_is_refused_and_those_that_wait_are_not(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        answers = await asyncio.gather(
            *(node.service.request("get", LAMP, b"", Side.NODE) for _ in range(150)), return_exceptions=True
        )
        codes = [one.code for one in answers if isinstance(one, ShadowError)]
        assert (codes.count(404), codes.count(429)) == (100, 50)
        with pytest.raises(IpcError, match="No shadow exists"):
            await node.ask("GetThingShadow", thingName=THING, shadowName="lamp")

    run(test, tmp_path)


def test_who_asks_and_goes_leaves_all_in_order(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        leaving = asyncio.create_task(node.update(LAMP, state={"desired": {"on": True}}))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        leaving.cancel()
        assert (await node.update(LAMP, state={}))["version"] == 2
        assert [one["current"]["version"] for one in node.heard("name/lamp/update/documents")] == [1, 2]

    run(test, tmp_path)


def blob(answer: Json) -> Json:
    return dict(json.loads(base64.b64decode(answer["payload"])))


def test_components_have_the_operations_of_the_sdk(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        place = {"thingName": THING, "shadowName": "lamp"}
        payload = base64.b64encode(b'{"state": {"reported": {"on": true}}, "clientToken": "t"}').decode()
        assert blob(await node.ask("UpdateThingShadow", **place, payload=payload))["clientToken"] == "t"
        assert blob(await node.ask("GetThingShadow", **place))["state"] == {"reported": {"on": True}}
        gone = model.DeleteThingShadowResponse._from_payload(await node.ask("DeleteThingShadow", **place))
        assert gone.payload == b""
        with pytest.raises(IpcError, match="No shadow exists with name: lamp") as raised:
            await node.ask("GetThingShadow", **place)
        assert (raised.value.code, raised.value.fields) == ("ResourceNotFoundError", {"resourceType": "shadow"})
        conflict = base64.b64encode(b'{"state": {}, "version": 2}').decode()
        await node.ask("UpdateThingShadow", thingName=THING, payload=payload)
        with pytest.raises(IpcError) as raised:
            await node.ask("UpdateThingShadow", thingName=THING, shadowName="", payload=conflict)
        assert raised.value.code == "ConflictError"
        for request in ({"thingName": "a/b"}, {}, {"thingName": THING, "payload": "%"}, {"thingName": THING}):
            with pytest.raises(IpcError) as raised:
                await node.ask("UpdateThingShadow", **request)
            assert raised.value.code == "InvalidArgumentsError"

    run(test, tmp_path)


def test_names_are_listed_page_by_page(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        for name in ("c", "a", "b", ""):
            await node.update(Key(THING, name), state={})
        first = model.ListNamedShadowsForThingResponse._from_payload(
            await node.ask("ListNamedShadowsForThing", thingName=THING, pageSize=2)
        )
        assert first.results == ["a", "b"] and first.timestamp is not None
        await node.service.request("delete", Key(THING, "a"), b"", Side.NODE)
        rest = await node.ask("ListNamedShadowsForThing", thingName=THING, pageSize=2, nextToken=first.next_token)
        assert rest["results"] == ["c"] and "nextToken" not in rest
        assert (await node.ask("ListNamedShadowsForThing", thingName="another"))["results"] == []
        for wrong in ({"pageSize": 0}, {"pageSize": 101}, {"nextToken": "%"}):
            with pytest.raises(IpcError) as raised:
                await node.ask("ListNamedShadowsForThing", thingName=THING, **wrong)
            assert raised.value.code == "InvalidArgumentsError"

    run(test, tmp_path)


def test_what_access_control_calls_a_shadow(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        def resource(name: str, **request: Any) -> str:
            operation: Operation = node.operations[f"aws.greengrass#{name}"]
            assert operation.service == "aws.greengrass.ShadowManager" and operation.resource is not None
            return operation.resource(request)

        assert resource("GetThingShadow", thingName=THING, shadowName="lamp") == "$aws/things/n1/shadow/name/lamp"
        assert resource("UpdateThingShadow", thingName=THING, shadowName="") == "$aws/things/n1/shadow"
        assert resource("DeleteThingShadow", thingName=THING) == "$aws/things/n1/shadow"
        assert resource("ListNamedShadowsForThing", thingName=THING) == "n1"

    run(test, tmp_path)
