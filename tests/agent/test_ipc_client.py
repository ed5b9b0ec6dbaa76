"""Greengrass's interprocess communication as components have it: AWS's own client against the agent's server."""

import asyncio
import json
import queue
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import awsiot.greengrasscoreipc as sdk
import pytest
from awscrt.exceptions import AwsCrtError
from awsiot.eventstreamrpc import AccessDeniedError, ConnectionClosedError, LifecycleHandler
from awsiot.greengrasscoreipc.clientv2 import GreengrassCoreIPCClientV2
from awsiot.greengrasscoreipc.model import (
    BinaryMessage,
    InvalidArgumentsError,
    JsonMessage,
    PublishMessage,
    ReceiveMode,
    ResourceNotFoundError,
    ServiceError,
    UnauthorizedError,
)

from greengrass_agent.ipc.connection import Kind
from greengrass_agent.ipc.frames import Header, Message, encode
from greengrass_agent.ipc.operation import Caller, IpcError, Json, Operation, Stream
from greengrass_agent.ipc.operations.broker_topics import BrokerTopics
from greengrass_agent.ipc.operations.local_topics import LocalTopics
from greengrass_agent.ipc.server import MAX_CONNECTIONS, IpcServer
from hitless.mqtt.session import OnMessage, SessionError
from tests.patience import PATIENCE, until

PUMP, TANK = Caller("org.example.Pump", 1), Caller("org.example.Tank", 4)
ACCESS = {
    PUMP: {
        "aws.greengrass.ipc.pubsub": {"1": {"operations": ["*"], "resources": ["plant/#"]}},
        "aws.greengrass.ipc.mqttproxy": {"1": {"operations": ["*"], "resources": ["*"]}},
    },
    TANK: {"aws.greengrass.ipc.pubsub": {"1": {"operations": ["aws.greengrass#SubscribeToTopic"], "resources": ["*"]}}},
}


class Broker:
    """The session with the broker, as far as components see it."""

    on_message: OnMessage

    def __init__(self) -> None:
        self.published: list[tuple[str, bytes, int, bool]] = []
        self.filters: list[str] = []
        self.error: str | None = None
        self.kept: tuple[str, bytes] | None = None
        """What it sends as soon as it is subscribed to."""

    async def deliver(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> None:
        self._refuse()
        self.published.append((topic, payload, qos, retain))

    async def subscribe(self, topic_filter: str) -> None:
        self._refuse()
        self.filters.append(topic_filter)
        if self.kept is not None:
            self.on_message(*self.kept, True)

    def unsubscribe(self, topic_filter: str) -> None:
        self.filters.remove(topic_filter)

    def _refuse(self) -> None:
        if self.error is not None:
            raise SessionError(self.error)


class Served:
    """The server in an event loop of its own, since AWS's client blocks."""

    def __init__(self, folder: Path) -> None:
        self.broker = Broker()
        self.calls: list[str] = []
        self.server = IpcServer(folder / "ipc" / "socket", "n1", lambda caller: {"accessControl": ACCESS[caller]})
        self.server.serve([*LocalTopics().operations(), *BrokerTopics(self.broker).operations()])
        self.server.serve([Operation("aws.greengrass#ListComponents", self._list)])
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def open(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.server.open(), self._loop).result(PATIENCE)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self.server.close(), self._loop).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def do(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call something in the server's loop."""
        done: Future[Any] = Future()
        self._loop.call_soon_threadsafe(lambda: done.set_result(call(*arguments)))
        return done.result(PATIENCE)

    def connect(self, caller: Caller, handler: LifecycleHandler | None = None) -> GreengrassCoreIPCClientV2:
        token = self.do(self.server.grant, caller, None)
        own = sdk.connect(
            ipc_socket=str(self.server.path), authtoken=token, lifecycle_handler=handler, timeout=PATIENCE
        )
        return GreengrassCoreIPCClientV2(client=own)

    async def _list(self, caller: Caller, request: Json, stream: Stream) -> Json:
        self.calls.append(caller.component)
        if len(self.calls) == 1:
            raise RuntimeError("what nobody thought of")
        raise IpcError("ResourceNotFoundError", "none here", resourceName="x", resourceType="y")


AServer = TypeVar("AServer", bound=Served)


@contextmanager
def opened(kind: type[AServer]) -> Iterator[AServer]:
    """A server that is open for the block."""
    # Not below tmp_path: a Unix socket's path has room for 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ipc-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        own = kind(Path(folder))
        own.open()
        try:
            yield own
        finally:
            own.close()


@pytest.fixture
def served() -> Iterator[Served]:
    with opened(Served) as own:
        yield own


@contextmanager
def clients(served: Served, *callers: Caller) -> Iterator[list[GreengrassCoreIPCClientV2]]:
    connected = [served.connect(caller) for caller in callers]
    try:
        yield connected
    finally:
        for client in connected:
            client.close().result(PATIENCE)


def subscribe(client: GreengrassCoreIPCClientV2, topic: str, mode: str | None = None) -> tuple[queue.Queue[Any], Any]:
    heard: queue.Queue[Any] = queue.Queue()
    _, operation = client.subscribe_to_topic(topic=topic, receive_mode=mode, on_stream_event=heard.put)
    return heard, operation


def text(message: Mapping[str, Any]) -> PublishMessage:
    return PublishMessage(json_message=JsonMessage(message=dict(message)))


def test_two_components_talk_to_each_other(served: Served) -> None:
    with clients(served, PUMP, TANK) as (pump, tank):
        heard, _ = subscribe(tank, "plant/+/level")
        pump.publish_to_topic(topic="plant/a/level", publish_message=text({"litres": 3}))
        message = heard.get(timeout=PATIENCE).json_message
        assert (message.message, message.context.topic) == ({"litres": 3}, "plant/a/level")
        binary = PublishMessage(binary_message=BinaryMessage(message=b"\0\xff"))
        pump.publish_to_topic(topic="plant/b/level", publish_message=binary)
        assert heard.get(timeout=PATIENCE).binary_message.message == b"\0\xff"


def test_messages_come_in_order_and_none_after_the_client_has_left_the_topic(served: Served) -> None:
    with clients(served, PUMP, TANK) as (pump, tank):
        heard, operation = subscribe(tank, "plant/a")
        for number in range(50):
            pump.publish_to_topic(topic="plant/a", publish_message=text({"n": number}))
        assert [heard.get(timeout=PATIENCE).json_message.message["n"] for _ in range(50)] == list(range(50))
        operation.close().result(PATIENCE)
        again, _ = subscribe(tank, "plant/a")
        pump.publish_to_topic(topic="plant/a", publish_message=text({"n": 50}))
        assert again.get(timeout=PATIENCE).json_message.message == {"n": 50}
        assert heard.empty()


def test_who_hears_its_own_messages(served: Served) -> None:
    with clients(served, PUMP, PUMP) as (pump, same):
        plain, _ = subscribe(same, "plant/a")
        wild, _ = subscribe(same, "plant/+")
        every, _ = subscribe(same, "plant/#", ReceiveMode.RECEIVE_ALL_MESSAGES)
        others, _ = subscribe(same, "plant/a", ReceiveMode.RECEIVE_MESSAGES_FROM_OTHERS)
        pump.publish_to_topic(topic="plant/a", publish_message=text({"n": 1}))
        for heard in (plain, every):
            assert heard.get(timeout=PATIENCE).json_message.message == {"n": 1}
        assert (wild.empty(), others.empty()) == (True, True)


def test_what_access_control_does_not_allow_is_refused_with_the_sdks_error(served: Served) -> None:
    with clients(served, PUMP, TANK) as (pump, tank):
        with pytest.raises(UnauthorizedError) as refused:
            tank.publish_to_topic(topic="plant/a", publish_message=text({}))
        assert "org.example.Tank is not authorized to perform aws.greengrass.ipc.pubsub:" in refused.value.message
        assert "resource plant/a" in refused.value.message
        with pytest.raises(UnauthorizedError):
            subscribe(pump, "other/a")
        pump.publish_to_topic(topic="plant/a", publish_message=text({}))


def test_what_is_not_served_or_goes_wrong_is_refused_with_the_sdks_error(served: Served) -> None:
    with clients(served, PUMP) as (pump,):
        with pytest.raises(ServiceError) as unserved:
            pump.pause_component(component_name="x")
        assert unserved.value.message == "aws.greengrass#PauseComponent is not served on this node"
        with pytest.raises(ServiceError) as crashed:
            pump.list_components()
        assert "RuntimeError" in crashed.value.message
        with pytest.raises(ResourceNotFoundError) as known:
            pump.list_components()
        assert (known.value.message, known.value.resource_name) == ("none here", "x")
        for wrong in (PublishMessage(), PublishMessage(json_message=JsonMessage())):
            with pytest.raises(InvalidArgumentsError):
                pump.publish_to_topic(topic="plant/a", publish_message=wrong)
        with pytest.raises(InvalidArgumentsError):
            pump.publish_to_topic(topic="plant/+", publish_message=text({}))
        assert served.calls == ["org.example.Pump"] * 2


def test_the_broker_is_reached_by_one_session(served: Served) -> None:
    heard: queue.Queue[Any] = queue.Queue()
    with clients(served, PUMP) as (pump,):
        pump.publish_to_iot_core(topic_name="plant/a", qos="0", payload=b"\0a", retain=True)
        pump.publish_to_iot_core(topic_name="plant/b", qos="1", payload="text")
        assert served.broker.published == [("plant/a", b"\0a", 0, True), ("plant/b", b"text", 1, False)]
        pump.subscribe_to_iot_core(topic_name="plant/b/+", qos="1", on_stream_event=heard.put)
        _, wide = pump.subscribe_to_iot_core(topic_name="plant/#", qos="0", on_stream_event=lambda event: None)
        assert served.broker.filters == ["plant/#"], "one that covers the other, or the broker sends twice"
        served.do(served.broker.on_message, "plant/c", b"for the other", False)
        served.do(served.broker.on_message, "plant/b/x", b"yes", False)
        message = heard.get(timeout=PATIENCE).message
        assert (message.topic_name, message.payload) == ("plant/b/x", b"yes")
        wide.close().result(PATIENCE)
    until(lambda: not served.broker.filters, "nobody wants to hear anything any more")


def test_what_the_broker_had_kept_comes_after_the_response(served: Served) -> None:
    heard: queue.Queue[Any] = queue.Queue()
    served.broker.kept = ("plant/a", b"since yesterday")
    with clients(served, PUMP) as (pump,):
        pump.subscribe_to_iot_core(topic_name="plant/a", qos="1", on_stream_event=heard.put)
        message = heard.get(timeout=PATIENCE).message
        assert (message.payload, message.retain) == (b"since yesterday", True)


def test_the_fabrics_topics_are_not_for_components(served: Served) -> None:
    heard: queue.Queue[Any] = queue.Queue()
    with clients(served, PUMP) as (pump,):
        job = "hitless/things/n1/jobs/notify-next"
        with pytest.raises(UnauthorizedError):
            pump.publish_to_iot_core(topic_name=job, qos="1", payload=b"{}")
        with pytest.raises(UnauthorizedError):
            pump.subscribe_to_iot_core(topic_name="hitless/#", qos="1", on_stream_event=heard.put)
        with pytest.raises(InvalidArgumentsError):
            pump.publish_to_iot_core(topic_name="$aws/rules/x", qos="1", payload=b"{}")
        pump.subscribe_to_iot_core(topic_name="#", qos="1", on_stream_event=heard.put)
        served.do(served.broker.on_message, job, b"{}", False)
        served.do(served.broker.on_message, "plant/a", b"x", False)
        assert heard.get(timeout=PATIENCE).message.topic_name == "plant/a"
        assert served.broker.published == []


def test_what_the_broker_does_not_take_is_told(served: Served) -> None:
    with clients(served, PUMP) as (pump,):
        served.broker.error = "no session with the broker: connection refused"
        with pytest.raises(ServiceError) as lost:
            pump.publish_to_iot_core(topic_name="plant/a", qos="1", payload=b"x")
        assert "connection refused" in lost.value.message
        with pytest.raises(ServiceError):
            pump.subscribe_to_iot_core(topic_name="plant/a", qos="1", on_stream_event=lambda event: None)
        with pytest.raises(InvalidArgumentsError) as modern:
            pump.publish_to_iot_core(topic_name="plant/a", qos="1", payload=b"x", response_topic="plant/b")
        assert "responseTopic" in modern.value.message


def test_the_client_finds_the_server_by_its_environment(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT", str(served.server.path))
    monkeypatch.setenv("SVCUID", served.do(served.server.grant, PUMP, None))
    client = GreengrassCoreIPCClientV2()
    client.publish_to_topic(topic="plant/a", publish_message=text({}))
    client.close().result(PATIENCE)
    monkeypatch.setenv("SVCUID", "made up")
    with pytest.raises(AccessDeniedError):
        GreengrassCoreIPCClientV2()


class Leaving(LifecycleHandler):
    """Tells when the server has gone."""

    def __init__(self) -> None:
        self.left = threading.Event()

    def on_disconnect(self, reason: Exception | None) -> None:
        self.left.set()


def test_a_launch_that_has_ended_is_disconnected_and_its_token_is_worth_nothing(served: Served) -> None:
    token, leaving = served.do(served.server.grant, PUMP, None), Leaving()
    pump = served.connect(PUMP, leaving)
    pump.subscribe_to_iot_core(topic_name="plant/a", qos="1", on_stream_event=lambda event: None)
    served.do(served.server.revoke, PUMP)
    assert leaving.left.wait(PATIENCE)
    with pytest.raises(ConnectionClosedError):
        pump.publish_to_topic(topic="plant/a", publish_message=text({}))
    until(lambda: not served.broker.filters, "what it had subscribed to is given up")
    with pytest.raises(AccessDeniedError):
        sdk.connect(ipc_socket=str(served.server.path), authtoken=token, timeout=PATIENCE)


CONNECT = """
import sys
import awsiot.greengrasscoreipc as sdk
from awsiot.eventstreamrpc import AccessDeniedError
try:
    sdk.connect(ipc_socket=sys.argv[1], authtoken=sys.argv[2]).close().result()
except AccessDeniedError:
    sys.exit(3)
"""


@pytest.mark.root("only root can become another user")
@pytest.mark.parametrize(("user", "code"), [(61200, 0), (61201, 3)])
def test_a_token_is_of_use_to_its_components_user_only(served: Served, user: int, code: int) -> None:
    token = served.do(served.server.grant, PUMP, 61200)
    # A wrapper that becomes the user late: the environment's packages may lie where that user cannot read.
    become = f"import os, awsiot.greengrasscoreipc; os.setgid({user}); os.setuid({user})\n{CONNECT}"
    command = [sys.executable, "-c", become, str(served.server.path), token]
    assert subprocess.run(command, check=False, timeout=PATIENCE, cwd="/").returncode == code


def test_a_user_cannot_take_all_connections(served: Served) -> None:
    def connects() -> bool:
        try:
            served.connect(PUMP).close().result(PATIENCE)
        except (RuntimeError, AwsCrtError):
            return False
        return True

    with clients(served, PUMP) as (pump,):
        others = [socket.socket(socket.AF_UNIX) for _ in range(MAX_CONNECTIONS)]
        for other in others:
            other.connect(str(served.server.path))
        assert others[-1].recv(1) == b"", "one more than a user may have"
        pump.publish_to_topic(topic="plant/a", publish_message=text({}))
        for other in others:
            other.close()
        until(connects, "what they had is free again")


def test_who_does_not_read_is_disconnected_and_nobody_else_notices(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("greengrass_agent.ipc.server.MAX_UNREAD", 1 << 20)
    with socket.socket(socket.AF_UNIX) as deaf, clients(served, PUMP, TANK) as (pump, tank):
        deaf.connect(str(served.server.path))
        connect = {":message-type": Kind.CONNECT, ":message-flags": 0, ":stream-id": 0}
        token = served.do(served.server.grant, TANK, None)
        deaf.sendall(frame(connect, {":version": "0.1.0"}, {"authToken": token}))
        assert deaf.recv(1), "the answer to Connect"
        request = {":message-type": Kind.APPLICATION_MESSAGE, ":message-flags": 0, ":stream-id": 1}
        subscribe_to = {"operation": "aws.greengrass#SubscribeToTopic"}
        deaf.sendall(frame(request, subscribe_to, {"topic": "plant/a"}))
        heard, _ = subscribe(tank, "plant/a")
        for number in range(16):
            pump.publish_to_topic(topic="plant/a", publish_message=text({"n": number, "picture": "x" * 200_000}))
        assert [heard.get(timeout=PATIENCE).json_message.message["n"] for _ in range(16)] == list(range(16))
        deaf.settimeout(PATIENCE)
        received = 0
        with suppress(ConnectionResetError):
            while data := deaf.recv(1 << 16):
                received += len(data)
        assert received < 16 * 200_000, "it is not sent all that it left unread"


def frame(numbers: Mapping[str, int], texts: Mapping[str, str], payload: Mapping[str, Any]) -> bytes:
    """A message of a client that is not AWS's."""
    headers = [Header.number(name, value) for name, value in numbers.items()]
    headers += [Header.text(name, value) for name, value in texts.items()]
    return encode(Message(tuple(headers), json.dumps(payload).encode()))
