"""Calls as they come over a connection, told by service and name, handed to the objects that do them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from thrift.Thrift import TApplicationException, TMessageType, TType

from softswitch.thrift.definitions import LOGGER
from softswitch.thrift.idl import Method

_SEPARATOR = ":"


class Processor:
    """Serves `services`: for each name the methods of a service, and the objects that have them."""

    def __init__(self, services: Mapping[str, tuple[Mapping[str, Method], Sequence[object]]]) -> None:
        self._calls: dict[str, tuple[Method, Callable[..., Any]]] = {}
        for name, (methods, objects) in services.items():
            for label, method in methods.items():
                (do,) = (getattr(each, label) for each in objects if hasattr(each, label))
                self._calls[f"{name}{_SEPARATOR}{label}"] = method, do

    def process(self, protocol: Any) -> None:
        """Read one call and answer it. Raises what the protocol raises when the connection ends, or holds no call."""
        name, kind, number = protocol.readMessageBegin()
        if kind not in (TMessageType.CALL, TMessageType.ONEWAY):
            raise ValueError(f"message {name!r} is no call")
        label = name.rpartition(_SEPARATOR)[2]
        if name not in self._calls:
            protocol.skip(TType.STRUCT)
            protocol.readMessageEnd()
            _answer(protocol, label, number, _unknown(name))
            return
        method, do = self._calls[name]
        arguments = method.arguments()
        arguments.read(protocol)
        protocol.readMessageEnd()
        values = [getattr(arguments, field) for field in method.fields]
        _answer(protocol, label, number, _call(do, values, method))


def _call(do: Callable[..., Any], arguments: Sequence[Any], method: Method) -> Any:
    """The result, or a TApplicationException."""
    result = method.result()
    try:
        answer = do(*arguments)
    except TApplicationException as error:
        return error
    except Exception as error:
        field = next((label for label, kind in method.errors.items() if isinstance(error, kind)), None)
        if field is None:
            LOGGER.error("%s failed", getattr(do, "__name__", do), exc_info=error)
            return TApplicationException(TApplicationException.INTERNAL_ERROR, f"{type(error).__name__}: {error}")
        setattr(result, field, error)
        return result
    if hasattr(result, "success"):
        result.success = answer
    return result


def _unknown(name: str) -> Any:
    return TApplicationException(TApplicationException.UNKNOWN_METHOD, f"there is no method {name!r} here")


def _answer(protocol: Any, label: str, number: int, content: Any) -> None:
    failed = isinstance(content, TApplicationException)
    protocol.writeMessageBegin(label, TMessageType.EXCEPTION if failed else TMessageType.REPLY, number)
    content.write(protocol)
    protocol.writeMessageEnd()
    protocol.trans.flush()
