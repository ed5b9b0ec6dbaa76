"""What the package exports, and that a worker does not pay for it."""

import subprocess
import sys

import pytest

import hitless


@pytest.mark.parametrize("name", hitless.__all__)
def test_everything_that_is_exported_is_there(name: str) -> None:
    assert getattr(hitless, name).__name__ == name


def test_what_is_not_exported_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'hitless' has no attribute 'Cleint'"):
        hitless.Cleint  # type: ignore[attr-defined]  # noqa: B018


def test_a_worker_starts_without_what_only_other_clients_need() -> None:
    heavy = ("asyncio", "pydantic", "aiomqtt", "aiohttp")
    program = f"import sys, hitless.function; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"
