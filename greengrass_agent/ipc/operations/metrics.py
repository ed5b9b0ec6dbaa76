"""What components measure themselves, gathered and published by the broker.

AWS IoT Greengrass, PutComponentMetric, and where its documentation is silent, the nucleus
(`com.aws.greengrass.builtin.services.telemetry`): names of at most 32 bytes, values of 0 or above. There only AWS's own
components may call it; here `accessControl` says who may.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final, get_args

from greengrass_agent.ipc.operation import Caller, IpcError, Json, Operation, Stream
from greengrass_agent.ipc.operations.fields import number, text
from hitless.mqtt import topics
from hitless.mqtt.messages import ComponentMetric, ComponentMetrics, Message, MetricUnit

SERVICE: Final = "aws.greengrass.ipc.componentmetric"
EVERY_S: Final = 1.0
"""Between two messages of a component's metrics."""
MAX_METRICS: Final = 64
"""Names, each with a unit, that a component may measure between two messages."""
MAX_NAME: Final = 32
"""Bytes of a name."""

Measured = dict[tuple[str, str], ComponentMetric]
"""By name and unit."""


def gathered(so_far: Measured, request: Json) -> Measured:
    """What there is to tell after one more request; nothing of one that is wrong counts. Raises IpcError."""
    metrics = request.get("metrics")
    if not isinstance(metrics, list) or not metrics:
        raise IpcError("InvalidArgumentsError", f"metrics: expected a list of metrics, got {metrics!r:.80}")
    result = dict(so_far)
    for metric in metrics:
        name, unit, value = _read(metric)
        before = result.get((name, unit))
        result[name, unit] = ComponentMetric(
            name=name,
            unit=unit,
            value=value,
            sum=value + (before.sum if before is not None else 0),
            samples=1 + (before.samples if before is not None else 0),
        )
    if len(result) > MAX_METRICS:
        message = f"more than {MAX_METRICS} metrics of the component wait to be published"
        raise IpcError("ServiceError", f"{message}, for lack of a broker or of fewer names")
    return result


class MetricOperations:
    """The metrics of a node's components. Without a broker they are gathered on, and published once there is one."""

    def __init__(self, node: str, publish: Callable[[str, Message], bool]) -> None:
        """`publish` sends a message, or tells that it could not. `node` is the node's name."""
        self._node = node
        self._publish = publish
        self._measured: dict[str, Measured] = {}
        """By component, what has not been published."""
        self._timer: asyncio.TimerHandle | None = None

    def operations(self) -> list[Operation]:
        """What components may ask for."""
        return [
            Operation("aws.greengrass#PutComponentMetric", self._put, resource=lambda request: "*", service=SERVICE)
        ]

    def publish(self) -> None:
        """Publish what there is."""
        self._timer = None
        now_ms = time.time_ns() // 1_000_000
        for component, measured in list(self._measured.items()):
            message = ComponentMetrics(timestamp=now_ms, metrics=tuple(measured.values()))
            if self._publish(topics.COMPONENT_METRICS.of(node=self._node, component=component), message):
                del self._measured[component]
        self._arm()

    async def _put(self, caller: Caller, request: Json, stream: Stream) -> Json:
        self._measured[caller.component] = gathered(self._measured.get(caller.component, {}), request)
        self._arm()
        return {}

    def _arm(self) -> None:
        if self._timer is None and self._measured:
            self._timer = asyncio.get_running_loop().call_later(EVERY_S, self.publish)


def _read(metric: object) -> tuple[str, MetricUnit, float]:
    if not isinstance(metric, Mapping):
        raise IpcError("InvalidArgumentsError", f"metrics: expected metrics, got {metric!r:.80}")
    fields = dict(metric)
    name, value = text(fields, "name"), number(fields, "value")
    if len(name.encode()) > MAX_NAME:
        raise IpcError("InvalidArgumentsError", f"name: expected at most {MAX_NAME} bytes, got {name!r:.80}")
    units: tuple[MetricUnit, ...] = get_args(MetricUnit)
    unit = next((unit for unit in units if unit == fields.get("unit")), None)
    if unit is None:
        raise IpcError(
            "InvalidArgumentsError", f"unit: expected one of {', '.join(units)}, got {fields.get('unit')!r:.80}"
        )
    return name, unit, value
