"""Runs the tests here that are coroutines."""

from tests.hitless.conftest import pytest_pyfunc_call

__all__ = ["pytest_pyfunc_call"]
