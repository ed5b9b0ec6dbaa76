"""Who may say what: the broker refuses strangers, and lets only the controller move requests or run code on nodes."""

import queue
from collections.abc import Iterator

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from hitless.mqtt.access import access_list
from hitless.mqtt.broker import BrokerSettings
from hitless.tls import Identity
from tests.authority import authority
from tests.mosquitto import Mosquitto, mosquitto
from tests.patience import PATIENCE

NODES, CLIENTS = ["edge1", "edge2"], ["camera"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    folder = tmp_path_factory.mktemp("broker")
    emitters = [f"{node}-{kind}" for node in NODES for kind in ("emitter", "components")]
    names = authority(folder / "authority", ["controller", *NODES, *emitters, "client-camera", "nobody-knows"])
    with mosquitto(folder / "broker", authority=names, access=access_list(NODES, CLIENTS)) as running:
        yield running


class Peer:
    """An MQTT 5 client, because only that version is told of a refusal."""

    def __init__(self, broker: BrokerSettings) -> None:
        self.answers: queue.Queue[ReasonCode] = queue.Queue()
        self.heard: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        assert broker.tls is not None
        self.client.tls_set_context(Identity(broker.tls).client())
        self.client.on_connect = lambda _c, _u, _f, code, _p: self.answers.put(code)
        self.client.on_publish = lambda _c, _u, _m, code, _p: self.answers.put(code)
        self.client.on_subscribe = lambda _c, _u, _m, codes, _p: self.answers.put(codes[0])
        self.client.on_message = lambda _c, _u, message: self.heard.put((message.topic, message.payload))
        self.client.connect(broker.host, broker.port, clean_start=True, properties=Properties(1))
        self.client.loop_start()
        self.connected = self.answers.get(timeout=PATIENCE)

    def publish(self, topic: str) -> bool:
        self.client.publish(topic, b"{}", qos=1)
        return not self.answers.get(timeout=PATIENCE).is_failure

    def subscribe(self, topic: str) -> None:
        self.client.subscribe(topic, qos=1)
        self.answers.get(timeout=PATIENCE)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def peer(served: Mosquitto) -> Iterator[object]:
    peers: list[Peer] = []

    def connect(name: str) -> Peer:
        peers.append(Peer(served.settings(name)))
        return peers[-1]

    yield connect
    for one in peers:
        one.close()


@pytest.mark.parametrize(
    "who, topic, allowed",
    [
        ("controller", "hitless/things/edge1/jobs/notify-next", True),
        ("controller", "hitless/services/detect/endpoint", True),
        ("edge1", "hitless/things/edge1/jobs/notify-next", False),
        ("edge1", "hitless/things/edge2/jobs/notify-next", False),
        ("edge1", "hitless/things/edge2/jobs/x/update", False),
        ("edge1", "hitless/things/edge1/jobs/x/update", True),
        ("edge1", "hitless/things/edge1/jobs/start-next", True),
        ("edge1-emitter", "hitless/things/edge1/metrics/detect", True),
        ("edge1-emitter", "hitless/things/edge2/metrics/detect", False),
        ("edge1-emitter", "hitless/things/edge1/jobs/x/update", False),
        ("edge1-components", "plant/pump", True),
        ("edge1-components", "hitless/things/edge1/jobs/notify-next", False),
        ("edge1-components", "hitless/plant", False),
        ("edge1", "plant/pump", False),
        ("edge1", "hitless/things/edge1/components/org.example.A/logs/told", True),
        ("edge1", "hitless/things/edge2/components/org.example.A/logs/told", False),
        ("edge1", "hitless/things/edge2/components/org.example.A/logs", False),
        ("client-camera", "hitless/things/edge1/components/org.example.A/logs", False),
        ("nobody-knows", "hitless/services/detect/endpoint", False),
        ("edge1", "hitless/things/edge1/presence", True),
        ("edge1", "hitless/services/detect/endpoint", False),
        ("edge1", "hitless/things/edge1/shadow/update/accepted", True),
        ("edge1", "hitless/things/edge1/shadow/name/lamp/get/rejected", True),
        ("edge1", "hitless/things/edge1/shadow/name/web/update/delta", False),
        ("edge1", "hitless/things/edge2/shadow/name/lamp/update", False),
        ("edge2-emitter", "hitless/things/edge2/shadow/update", False),
        ("client-camera", "hitless/things/edge1/shadow/update", False),
        ("client-camera", "hitless/services/detect/endpoint", False),
        ("client-camera", "hitless/things/edge1/jobs/notify-next", False),
        ("client-camera", "hitless/clients/client-camera/ack", True),
        ("client-camera", "hitless/clients/client-other/ack", False),
    ],
)
def test_only_the_right_identity_may_publish(peer, who: str, topic: str, allowed: bool) -> None:  # type: ignore[no-untyped-def]
    assert peer(who).publish(topic) is allowed


def test_a_client_hears_endpoints_and_no_jobs(peer) -> None:  # type: ignore[no-untyped-def]
    client, controller = peer("client-camera"), peer("controller")
    client.subscribe("hitless/#")
    client.subscribe("hitless/services/+/endpoint")
    controller.publish("hitless/things/edge1/jobs/notify-next")
    controller.publish("hitless/services/detect/endpoint")
    assert client.heard.get(timeout=PATIENCE)[0] == "hitless/services/detect/endpoint"


def test_components_hear_one_another_and_nothing_of_the_fabric(peer) -> None:  # type: ignore[no-untyped-def]
    one, other, controller = peer("edge1-components"), peer("edge2-components"), peer("controller")
    one.subscribe("#")
    controller.publish("hitless/things/edge1/jobs/notify-next")
    other.publish("plant/pump")
    assert one.heard.get(timeout=PATIENCE)[0] == "plant/pump"


@pytest.mark.root("needs root to hand files over")
def test_the_brokers_key_is_for_the_broker_alone(served: Mosquitto) -> None:
    key = served.folder / "tls.key"
    assert key.owner() == "mosquitto" and key.stat().st_mode & 0o777 == 0o600
