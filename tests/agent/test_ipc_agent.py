"""Components on a real agent that talk by Greengrass's interprocess communication, with AWS's client, unchanged."""

import json
import os
import queue
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.agent.support import running_agent
from tests.patience import PATIENCE, until

pytestmark = pytest.mark.root("CPU budgets need root")

BUDGET = f"test-ipc-{os.getpid()}"
PUMP, TANK = "org.example.Pump", "org.example.Tank"
BOTH = """
import json, os, sys, time
from awsiot.greengrasscoreipc.clientv2 import GreengrassCoreIPCClientV2
from awsiot.greengrasscoreipc.model import JsonMessage, PublishMessage, UnauthorizedError

client = GreengrassCoreIPCClientV2()
"""
PUMP_CODE = """
message = PublishMessage(json_message=JsonMessage(message={"litres": 3, "user": os.getuid()}))
while True:
    try:
        client.publish_to_topic(topic="plant/level", publish_message=message)
    except UnauthorizedError as error:
        print("refused:", error.message)
    time.sleep(0.05)
"""
TANK_CODE = """
def heard(event):
    report = {**event.json_message.message, "at": os.environ["AWS_IOT_THING_NAME"], "own": os.getuid()}
    client.publish_to_iot_core(topic_name="plant/report", qos="1", payload=json.dumps(report))

client.subscribe_to_topic(topic="plant/+", on_stream_event=heard)
client.subscribe_to_iot_core(
    topic_name="plant/orders", qos="1", on_stream_event=lambda event: print("order:", event.message.payload.decode())
)
print("listening")
time.sleep(3600)
"""


def access(service: str, operation: str) -> dict[str, Any]:
    policy = {"operations": [operation], "resources": ["plant/*"]}
    return {f"aws.greengrass.ipc.{service}": {f"org.example:{service}:1": policy}}


def test_components_talk_to_each_other_and_to_the_broker(tmp_path: Path) -> None:
    with running_agent(tmp_path, BUDGET, 1.0, reports={"address": "127.0.0.1", "interval_ms": 50}) as running:
        reports: queue.Queue[dict[str, Any]] = queue.Queue()
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.on_message = lambda _client, _data, message: reports.put(json.loads(message.payload))
        client.connect("127.0.0.1", running.broker.port)
        client.subscribe("plant/report", 1)
        client.loop_start()

        def publish(name: str, code: str, control: dict[str, Any]) -> dict[str, str]:
            script = "exec python3 {artifacts:path}/main.py"
            configuration = {"accessControl": control}
            return running.repository.publish(
                name, "1.0.0", {"main.py": BOTH + code}, script=script, configuration=configuration
            )

        recipes = {
            PUMP: publish(PUMP, PUMP_CODE, access("pubsub", "aws.greengrass#PublishToTopic")),
            TANK: publish(
                TANK, TANK_CODE, access("pubsub", "aws.greengrass#SubscribeToTopic") | access("mqttproxy", "*")
            ),
        }
        told, wanted = running.controller, {name: {"componentVersion": "1.0.0"} for name in recipes}
        told.offer("job-1", wanted, recipes)
        assert told.result("job-1")["status"] == "SUCCEEDED"
        report = reports.get(timeout=PATIENCE)
        assert (report["litres"], report["at"]) == (3, "n1")
        assert 0 not in (report["user"], report["own"])
        assert report["user"] != report["own"], "each component has a user of its own"

        def printed(name: str, text: str) -> None:
            file = running.own.logs / f"{name}.log"
            until(lambda: file.exists() and text in file.read_text(), f"{text!r} of {name}")

        printed(TANK, "listening")
        client.publish("plant/orders", b"close the valve", qos=1).wait_for_publish(PATIENCE)
        printed(TANK, "order: close the valve")
        # What it may do is taken away by a deployment.
        update = {"merge": json.dumps({"accessControl": {"aws.greengrass.ipc.pubsub": "nothing"}})}
        told.offer("job-2", wanted | {PUMP: {"componentVersion": "1.0.0", "configurationUpdate": update}}, recipes)
        assert told.result("job-2")["status"] == "SUCCEEDED"
        printed(PUMP, f"refused: {PUMP} is not authorized to perform aws.greengrass.ipc.pubsub:")
        client.disconnect()
        client.loop_stop()
