"""Triggers with a real broker and the processes of two nodes, either of which may be killed at the wrong moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from pydantic import BaseModel

from greengrass_agent.triggers.settings import Held, Leave, Listening, Take, TriggerSettings
from hitless.component.triggers import Trigger
from hitless.mqtt import topics
from hitless.mqtt.access import access_list
from hitless.mqtt.broker import BrokerSettings
from hitless.mqtt.messages import TriggerFired, TriggerHolder
from hitless.tls import Identity
from tests.agent.support import children_of, running_agent
from tests.authority import authority
from tests.mosquitto import Mosquitto, mosquitto
from tests.patience import PATIENCE, until
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
NODES = ("edge1", "edge2")
BUDGET = f"test-triggers-{os.getpid()}"
TRIGGERS = {
    "least": Trigger("at_least_once", topic="least/#", path="/least", attempts=2, dead_letter="dead/least"),
    "most": Trigger("at_most_once", topic="most/#", path="/most"),
    "soon": Trigger("at_least_once", topic="soon/#", attempts=2),
    "second": Trigger("at_most_once", schedule="@every 1s", path="/second"),
    "least-day": Trigger("at_least_once", schedule="@every 24h", missed="caught_up", path="/least-day"),
    "most-day": Trigger("at_most_once", schedule="@every 24h", missed="caught_up", path="/most-day"),
}


@dataclass(frozen=True)
class Called:
    """One call of the function."""

    path: str
    body: bytes
    headers: dict[str, str]


@dataclass
class Function:
    """A service's function. What is `stuck`, by body or path, is not answered the next time that it comes."""

    calls: list[Called] = field(default_factory=list)
    statuses: dict[bytes, int] = field(default_factory=dict)
    stuck: set[bytes | str] = field(default_factory=set)
    let_go: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    def of(self, body: bytes) -> list[Called]:
        return [call for call in self.calls if call.body == body]

    def called(self, call: Called) -> int:
        self.calls.append(call)
        for one in (call.body, call.path):
            if one in self.stuck:
                self.stuck.discard(one)
                self.let_go.wait(PATIENCE)
        return self.statuses.get(call.body, 200)


@contextmanager
def served(function: Function) -> Iterator[Function]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status = function.called(Called(self.path, body, headers))
            try:
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()
            except OSError:  # its caller was killed
                pass

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    function.port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield function
    finally:
        function.let_go.set()
        server.shutdown()
        server.server_close()


def client(broker: BrokerSettings, name: str) -> paho.Client:
    made = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=paho.MQTTv5)
    assert broker.tls is not None
    made.tls_set_context(Identity(broker.tls).client())
    return made


class Node:
    """A node's trigger process, and of its agent what that hears of holders."""

    def __init__(self, name: str, broker: Mosquitto, identities: Path, log: Path) -> None:
        self.name = name
        self.settings = TriggerSettings(node=name, broker=broker.settings(name), identities=identities)
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self.take: Take | None = None
        self._holder: TriggerHolder | None = None
        self._ears = client(broker.settings(name), name)
        self._ears.on_message = lambda _c, _u, message: self._hear(message.payload)
        self._ears.connect(broker.address, broker.port)
        self._ears.subscribe(topics.TRIGGER_HOLDER.filter(), 1)
        self._ears.loop_start()

    def start(self, take: Take) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "greengrass_agent.triggers"], stdin=subprocess.PIPE, stderr=log, cwd=ROOT
            )
        self.take = take
        for command in (self.settings, take, Listening()):
            self.send(command)
        if self._holder is not None:
            self.send(Held(service="web", holder=self._holder))

    def send(self, command: BaseModel) -> None:
        if (process := self.process) is not None and process.stdin is not None:
            with suppress(BrokenPipeError, ValueError):  # it ends meanwhile
                process.stdin.write(command.model_dump_json().encode() + b"\n")
                process.stdin.flush()

    def kill(self) -> None:
        if (process := self.process) is not None and process.stdin is not None:
            self.process = None
            process.kill()
            process.wait()
            with suppress(BrokenPipeError):
                process.stdin.close()

    def end(self) -> int:
        """Have it leave its triggers to others."""
        assert self.process is not None and self.process.stdin is not None
        self.process.stdin.close()
        code = self.process.wait(PATIENCE)
        self.process = None
        return code

    def close(self) -> None:
        self.kill()
        self._ears.disconnect()
        self._ears.loop_stop()

    def _hear(self, payload: bytes) -> None:
        self._holder = TriggerHolder.decode(payload)
        self.send(Held(service="web", holder=self._holder))


@dataclass
class Stand:
    """Two nodes, a broker, the function, and somebody who publishes and hears what is buried."""

    nodes: dict[str, Node]
    function: Function
    publisher: paho.Client
    take: Take
    holder: TriggerHolder | None = None
    dead: list[tuple[str, bytes, dict[str, str]]] = field(default_factory=list)

    def publish(self, topic: str, payload: bytes, **properties: str) -> None:
        more = Properties(PacketTypes.PUBLISH)
        if properties:
            more.UserProperty = list(properties.items())
        self.publisher.publish(topic, payload, 1, properties=more).wait_for_publish(PATIENCE)

    def held_by(self, other_than: str | None = None) -> Node:
        """Who has the triggers, once somebody has."""

        def held() -> bool:
            return self.holder is not None and self.holder.online and self.holder.node != other_than

        until(held, f"somebody has the triggers: {[node.log.read_text() for node in self.nodes.values()]}")
        assert self.holder is not None
        return self.nodes[self.holder.node]

    def both(self) -> None:
        for node in self.nodes.values():
            if node.process is None:
                node.start(self.take)

    def marked(self, topic: str, payload: bytes) -> None:
        """Wait until all that was published before has been dealt with: a message that came after it has been."""
        self.publish(topic, payload)
        until(lambda: self.function.of(payload), f"{payload!r} comes")


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    folder = tmp_path_factory.mktemp("triggers")
    names = authority(folder / "authority", ["controller", *NODES, "trigger-web", "client-sensor"])
    access = access_list(NODES, ["sensor"], triggers={"web": TRIGGERS})
    access += "user client-sensor\ntopic read dead/#\ntopic readwrite hitless/services/web/#\n"
    with served(Function()) as function, mosquitto(folder / "broker", authority=names, access=access) as broker:
        take = Take(
            service="web",
            service_id=1,
            protocol="tcp",
            address="127.0.0.1",
            port=function.port,
            timeout_ms=int(PATIENCE * 1000),
            payload_format="2.0",
            triggers=TRIGGERS,
        )
        nodes = {name: Node(name, broker, folder / "authority" / "issued", folder / f"{name}.log") for name in NODES}
        publisher = client(broker.settings("client-sensor"), "client-sensor")
        made = Stand(nodes, function, publisher, take)

        def heard(_client: Any, _data: Any, message: paho.MQTTMessage) -> None:
            if message.topic.startswith("dead/"):
                more = dict(getattr(message.properties, "UserProperty", ()))
                made.dead.append((message.topic, message.payload, more))
            elif message.topic == topics.TRIGGER_HOLDER.of(service="web"):
                made.holder = TriggerHolder.decode(message.payload)

        publisher.on_message = heard
        publisher.connect(broker.address, broker.port)
        publisher.subscribe([("dead/#", 1), (topics.TRIGGER_HOLDER.of(service="web"), 1)])
        publisher.loop_start()
        try:
            made.both()
            yield made
        finally:
            for node in nodes.values():
                node.close()
            publisher.disconnect()
            publisher.loop_stop()


def test_each_message_reaches_the_function_once_with_its_topic(stand: Stand) -> None:
    stand.both()
    stand.held_by()
    bodies = [b"%d degrees" % number for number in range(30)]
    for number, body in enumerate(bodies):
        stand.publish("least/rooms/1" if number % 2 else "most/rooms/1", body)
    until(lambda: all(stand.function.of(body) for body in bodies), "all messages come")
    stand.marked("least/last", b"last of many")
    calls = [call for body in bodies for call in stand.function.of(body)]
    assert len(calls) == len(bodies), "none twice, although two nodes could have taken it"
    assert {(call.path, call.headers["ce-subject"]) for call in calls} == {
        ("/least", "least/rooms/1"),
        ("/most", "most/rooms/1"),
    }


def test_at_least_once_comes_again_on_another_node_when_its_own_dies(stand: Stand) -> None:
    stand.both()
    first = stand.held_by()
    stand.function.stuck.add(b"in the middle")
    stand.publish("least/a", b"in the middle")
    until(lambda: stand.function.of(b"in the middle"), "it is called")
    first.kill()
    until(lambda: len(stand.function.of(b"in the middle")) == 2, "it is called again")
    second = stand.held_by(other_than=first.name)
    stand.marked("least/a", b"after the middle")
    # What was answered is not called again when the next node dies.
    first.start(stand.take)
    second.kill()
    stand.held_by(other_than=second.name)
    stand.marked("least/a", b"after both")
    assert len(stand.function.of(b"in the middle")) == 2 and len(stand.function.of(b"after both")) == 1


def test_at_most_once_does_not_come_again_when_its_node_dies(stand: Stand) -> None:
    stand.both()
    first = stand.held_by()
    stand.function.stuck.add(b"once")
    stand.publish("most/a", b"once")
    until(lambda: stand.function.of(b"once"), "it is called")
    first.kill()
    stand.held_by(other_than=first.name)
    stand.marked("most/a", b"after once")
    assert len(stand.function.of(b"once")) == 1


def test_what_comes_while_no_node_is_there_waits_if_it_is_at_least_once(stand: Stand) -> None:
    for node in stand.nodes.values():
        node.kill()
    stand.publish("least/a", b"nobody was there")
    stand.publish("most/a", b"nobody was there, once")
    stand.both()
    until(lambda: stand.function.of(b"nobody was there"), "it comes when somebody is there")
    stand.marked("most/a", b"somebody is there")
    assert not stand.function.of(b"nobody was there, once")


def test_what_fails_is_tried_again_and_then_buried(stand: Stand) -> None:
    stand.both()
    stand.held_by()
    stand.function.statuses |= {b"poison": 500, b"refused": 404}
    stand.publish("least/a", b"poison", unit="g")
    stand.publish("least/a", b"refused")
    until(lambda: stand.dead, "it is buried")
    assert len(stand.function.of(b"poison")) == 2, "as often as its trigger says"
    ((topic, payload, more),) = stand.dead
    assert (topic, payload) == ("dead/least", b"poison")
    assert more == {"unit": "g", "deadletterreason": "answered with 500", "deadlettertopic": "least/a"}
    stand.marked("least/a", b"after the poison")
    assert len(stand.function.of(b"refused")) == 1, "answered is answered"


def test_events_in_messages_stay_events(stand: Stand) -> None:
    stand.both()
    stand.held_by()
    least = {"specversion": "1.0", "id": "77", "source": "/sensor", "type": "told"}
    stand.publish("soon/a", b"binary", **least)
    stand.publish("soon/a", json.dumps({**least, "id": "78", "data": {"a": 1}}).encode())
    before = len(stand.dead)
    stand.publish("least/a", b"wrong", **{**least, "specversion": "0.3"})
    until(lambda: stand.function.of(b"binary") and stand.function.of(b'{"a": 1}'), "both come")
    (binary,), (structured,) = stand.function.of(b"binary"), stand.function.of(b'{"a": 1}')
    assert (binary.headers["ce-id"], structured.headers["ce-id"]) == ("77", "78")
    assert structured.headers["content-type"] == "application/json"
    until(lambda: len(stand.dead) > before, "what is no event is buried at once")
    assert stand.dead[-1][2]["deadletterreason"].startswith("no CloudEvent: specversion: expected 1.0")
    assert not stand.function.of(b"wrong")


def times(function: Function, path: str) -> list[str]:
    return [call.headers["ce-time"] for call in function.calls if call.path == path]


def test_a_point_in_time_is_called_for_by_one_node_also_when_one_dies(stand: Stand) -> None:
    stand.both()
    first = stand.held_by()
    began = len(times(stand.function, "/second"))
    stand.publish("soon/a", b"no event", specversion="2.0")
    until(lambda: len(times(stand.function, "/second")) >= began + 2, "it fires")
    until(lambda: stand.holder is not None and stand.holder.dropped, "the holder tells how many events it has given up")
    first.kill()
    last = times(stand.function, "/second")[-1]
    until(lambda: times(stand.function, "/second")[-1] > last, "it goes on")
    found = times(stand.function, "/second")[began:]
    assert found == sorted(set(found)), "none twice, and none late behind another"


def test_a_missed_time_is_caught_up_once_and_the_promise_holds_when_the_node_dies_in_it(stand: Stand) -> None:
    for node in stand.nodes.values():
        node.kill()
    record = TriggerFired(at=time.time() - 10 * 86_400, schedule="@every 24h UTC").encode()
    for name in ("least-day", "most-day"):
        topic = topics.TRIGGER_FIRED.of(service="web", trigger=name)
        stand.publisher.publish(topic, record, 1, retain=True).wait_for_publish(PATIENCE)
    stand.function.stuck |= {"/least-day", "/most-day"}
    stand.both()
    until(lambda: not stand.function.stuck, "both are called")
    first = stand.held_by()
    first.kill()
    until(lambda: len(times(stand.function, "/least-day")) == 2, "the one at least once is called for again")
    stand.held_by(other_than=first.name)
    stand.marked("least/a", b"days later")
    one, again = times(stand.function, "/least-day")
    assert one == again and times(stand.function, "/most-day") == [one]


def test_a_node_that_ends_leaves_its_triggers_to_the_other_at_once(stand: Stand) -> None:
    stand.both()
    first = stand.held_by()
    began = time.monotonic()
    assert first.end() == 0
    stand.held_by(other_than=first.name)
    assert time.monotonic() - began < PATIENCE / 4
    stand.marked("least/a", b"on the other")


def test_triggers_that_are_taken_away_leave_nothing_at_the_broker(stand: Stand) -> None:
    stand.both()
    holder = stand.held_by()
    without = stand.take.model_copy(update={"triggers": {}})
    for node in stand.nodes.values():
        node.send(without)
    until(lambda: stand.holder is not None and not stand.holder.online, f"{holder.name} lets go")
    stand.publish("least/a", b"for nobody")
    for node in stand.nodes.values():
        node.send(stand.take)
    stand.held_by()
    stand.marked("least/a", b"for somebody")
    assert not stand.function.of(b"for nobody")
    for node in stand.nodes.values():
        node.send(Leave(service="web"))
    until(lambda: stand.holder is not None and not stand.holder.online, "nobody has them")


HANDLER = """
import json

def lambda_handler(event, context):
    print(json.dumps([event["type"], event.get("subject"), event.get("data")]), flush=True)
"""


@pytest.mark.root("CPU budgets need root")
def test_an_agent_takes_the_triggers_of_its_components(tmp_path: Path) -> None:
    name = "org.example.Web"
    with running_agent(tmp_path, BUDGET, 0.6, reports={"address": "127.0.0.1", "interval_ms": 10}) as running:
        source = running.repository.publish(
            name,
            "1.0.0",
            {"web.py": HANDLER},
            script="exec python3 -m hitless.function --handler web.lambda_handler --artifacts {artifacts:path}",
            configuration={"service": "web", "payload_format_version": "cloudevents"},
        )
        endpoint = {"address": "127.0.0.1", "port": free_port(), "service_id": 7, "protocol": "tcp"}
        triggers = {
            "rooms": {"topic": "rooms/#", "delivery": "at_least_once"},
            "second": {"schedule": "@every 1s", "delivery": "at_most_once"},
        }
        merge = json.dumps({"endpoints": {"web": endpoint}, "triggers": triggers})
        wanted = {name: {"componentVersion": "1.0.0", "configurationUpdate": {"merge": merge}}}
        running.controller.offer("job-1", wanted, {name: source})
        assert running.controller.result("job-1")["status"] == "SUCCEEDED"

        def held() -> bool:
            heard = [word for topic, word in running.controller.heard if topic == "hitless/services/web/holder"]
            return bool(heard) and bool(heard[-1]["online"])

        def printed() -> str:
            log = running.own.logs / f"{name}.log"
            return log.read_text() if log.exists() else ""

        def told(text: bytes) -> bool:
            line = json.dumps(["hitless.trigger.message", "rooms/1", text.decode()])
            return line in printed()

        def publish(text: bytes) -> None:
            more = Properties(PacketTypes.PUBLISH)
            more.ContentType = "text/plain"
            sensor.publish("rooms/1", text, 1, properties=more).wait_for_publish(PATIENCE)

        sensor = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        sensor.connect(running.broker.address, running.broker.port)
        sensor.loop_start()
        try:
            until(held, "the agent takes them")
            publish(b"warm")
            until(lambda: told(b"warm"), "the function has it")
            until(lambda: "hitless.trigger.schedule" in printed(), "and a time")
            (own,) = [
                pid
                for pid in children_of(running.process.pid)
                if b"greengrass_agent.triggers" in Path(f"/proc/{pid}/cmdline").read_bytes()
            ]
            os.kill(own, signal.SIGKILL)
            publish(b"cold")
            until(lambda: told(b"cold"), "a new process goes on")
        finally:
            sensor.disconnect()
            sensor.loop_stop()
