"""The one timer of an engine's shell."""

import asyncio
import time
from unittest.mock import Mock

import pytest

from hitless.alarm import Alarm
from tests.patience import PATIENCE


async def test_it_rings_at_the_earliest_time_it_was_set_to() -> None:
    rang = asyncio.Event()
    alarm = Alarm(rang.set)
    now = time.monotonic()
    alarm.set(None, now)
    alarm.set(now + 2 * PATIENCE, now)
    alarm.set(now + 0.01, now)
    alarm.set(now + 3 * PATIENCE, now)
    await asyncio.wait_for(rang.wait(), PATIENCE)


def test_setting_it_again_and_again_does_not_put_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Mock()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    alarm = Alarm(lambda: None)
    for now in (10.0, 10.0004, 10.0008, 10.0012):
        alarm.set(now, now)
    loop.call_later.assert_called_once()
    loop.call_later.return_value.cancel.assert_not_called()


async def test_cancelled_it_does_not_ring_until_it_is_set_again() -> None:
    rang = asyncio.Event()
    alarm = Alarm(rang.set)
    now = time.monotonic()
    alarm.set(now, now)
    alarm.cancel()
    await asyncio.sleep(0.05)
    assert not rang.is_set()
    alarm.set(now, now)
    await asyncio.wait_for(rang.wait(), PATIENCE)
