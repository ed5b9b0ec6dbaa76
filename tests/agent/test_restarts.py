"""Restarts as the agent takes them from the broker: each once, its end told as often as it is asked."""

import asyncio

from greengrass_agent.restarts import Restarts
from hitless.mqtt.messages import Message, Restart, RestartEnded


def test_a_restart_is_carried_out_once_and_its_end_told_again() -> None:
    async def scenario() -> None:
        begun: list[str] = []
        told: list[tuple[str, Message]] = []
        go_on = asyncio.Event()

        async def restart(component: str) -> str | None:
            begun.append(component)
            await go_on.wait()
            return "it does not start"

        restarts = Restarts("n1", restart, lambda topic, message: told.append((topic, message)))
        first = Restart(client_token="a").encode()
        restarts.ask("org.example.Echo", first)
        restarts.ask("org.example.Echo", first)
        restarts.ask("org.example.Echo", b"no JSON")
        await asyncio.sleep(0)
        go_on.set()
        for _ in range(3):
            await asyncio.sleep(0)
        end = (
            "hitless/things/n1/components/org.example.Echo/restart/ended",
            RestartEnded(client_token="a", reason="it does not start"),
        )
        assert (begun, told) == (["org.example.Echo"], [end])
        restarts.ask("org.example.Echo", first)
        assert (begun, told) == (["org.example.Echo"], [end, end])

    asyncio.run(scenario())
