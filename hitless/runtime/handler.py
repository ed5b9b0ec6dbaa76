"""Lambda's handlers: finding and importing one by its name; and what goes wrong with them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hitless.runtime.context import Context

Handler = Callable[[dict[str, Any], Context], object]


class HandlerError(Exception):
    """A handler that cannot be loaded, or a result that is none."""


class FunctionError(Exception):
    """What a function's own runtime says of an error: the words are the function's, not a handler's in this process."""

    def __init__(self, kind: str, message: str, trace: tuple[str, ...] = ()) -> None:
        """`kind` is Lambda's errorType, `trace` the lines of its stackTrace."""
        super().__init__(message)
        self.kind = kind
        self.trace = trace


def load(name: str, artifacts: Path) -> Handler:
    """Import a handler, such as `detect.lambda_handler`, `package.module.handler` or `folder/module.handler`.

    Modules are looked for in the directory `artifacts` first. Raises HandlerError when the name or the function is
    wrong; what the module raises passes through.
    """
    module_name, dot, function_name = name.replace("/", ".").rpartition(".")
    if not dot:
        raise HandlerError(f"handler is {name!r}, expected module.function")
    if not artifacts.is_dir():
        raise HandlerError(f"artifacts directory {artifacts} does not exist")
    if module_name.partition(".")[0] in sys.builtin_module_names:
        raise HandlerError(f"handler {name}: {module_name} is a module of Python itself: give yours another name")
    sys.path.insert(0, str(artifacts))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise HandlerError(f"handler {name}: no module {module_name} in {artifacts}") from None
    handler = getattr(module, function_name, None)
    if not callable(handler):
        raise HandlerError(f"handler {name}: {module.__file__} has no function {function_name}")
    found: Handler = handler
    return found
