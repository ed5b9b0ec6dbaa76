"""Whether the session that components have with the fabric's broker is there, as they hear of it.

AWS IoT Greengrass Lite 2.7, SubscribeToIoTCoreConnectionStatus: whoever subscribes is told at once how it is.
"""

from __future__ import annotations

from greengrass_agent.ipc.operation import Caller, Json, Operation, Stream


class BrokerStatusOperations:
    """The components that want to know."""

    def __init__(self) -> None:
        self._connected = False
        self._streams: dict[Stream, None] = {}

    def operations(self) -> list[Operation]:
        """What components may ask for."""
        return [
            Operation(
                "aws.greengrass#SubscribeToIoTCoreConnectionStatus",
                self._subscribe,
                event="aws.greengrass#IoTCoreConnectionStatusEvent",
            )
        ]

    def tell(self, connected: bool) -> None:
        """There is a session with the broker, or none any more."""
        self._connected = connected
        for stream in list(self._streams):
            stream.send(self._event)

    @property
    def _event(self) -> Json:
        return {"connectionStatusEvent": {"status": "CONNECTED" if self._connected else "DISCONNECTED"}}

    async def _subscribe(self, caller: Caller, request: Json, stream: Stream) -> Json:
        self._streams[stream] = None
        stream.closed(lambda: self._streams.pop(stream, None))
        stream.send(self._event)
        return {}
