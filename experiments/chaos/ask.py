"""One request to a node's own address, from a client's host.

``python -m experiments.chaos.ask udp|tcp ADDRESS PORT SERVICE_ID BODY`` prints status and text as JSON;
status 0 and the reason without an answer.
"""

from __future__ import annotations

import http.client
import json
import sys

from hitless.client.blocking import BlockingClient
from hitless.wire.calls import CallError, Endpoint

PATIENCE_S = 5.0


def ask(protocol: str, address: str, port: int, service_id: int, body: bytes) -> tuple[int, str]:
    """The status and text of the answer."""
    try:
        if protocol == "udp":
            with BlockingClient() as client:
                response = client.invoke(Endpoint(service_id, address, port), body, PATIENCE_S)
            return response.status, response.payload.decode(errors="replace")
        connection = http.client.HTTPConnection(address, port, timeout=PATIENCE_S)
        connection.request("POST", "/", body, {"Content-Type": "text/plain"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    except (CallError, OSError, http.client.HTTPException) as error:
        return 0, f"{type(error).__name__}: {error}"


def main() -> None:
    """Take the command line."""
    protocol, address, port, service_id, body = sys.argv[1:]
    print(json.dumps(ask(protocol, address, int(port), int(service_id), body.encode())), flush=True)


if __name__ == "__main__":
    main()
