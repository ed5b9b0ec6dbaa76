"""The services, types and errors of the `.thrift` files beside this one, which are read when this is imported."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from thrift.Thrift import TApplicationException

from softswitch.p4runtime.errors import P4RuntimeError
from softswitch.thrift import idl

LOGGER = logging.getLogger("softswitch.thrift")

Refusal = Callable[[str, str], Exception]
"""Makes what ends a call: of a code, one of the enumeration's names, and a reason, which is logged."""


def _load(name: str) -> Any:
    return idl.read(Path(__file__).with_name(f"{name}.thrift").read_text()).namespace()


standard = _load("standard")
replication = _load("replication")
simple_switch = _load("simple_switch")


def _refusal(kind: Any, codes_of: Any) -> Refusal:
    def refused(code: str, reason: str) -> Exception:
        # the client hears the code only
        LOGGER.warning("refused with %s: %s", code, reason)
        made: Exception = kind(code=getattr(codes_of, code))
        return made

    return refused


bad_table = _refusal(standard.BadTableCall, standard.TableError)
bad_counter = _refusal(standard.BadCounterCall, standard.CounterError)
bad_meter = _refusal(standard.BadMeterCall, standard.MeterError)
bad_register = _refusal(standard.BadRegisterCall, standard.RegisterError)
bad_value_set = _refusal(standard.BadValueSetCall, standard.ValueSetError)
bad_learn = _refusal(standard.BadLearnCall, standard.LearnError)
bad_swap = _refusal(standard.BadSwapCall, standard.SwapError)
bad_port = partial(_refusal(standard.BadPortCall, standard.PortError), "ERROR")
bad_calculation = _refusal(standard.BadCalculationCall, standard.CalculationError)
bad_lookup = _refusal(standard.BadLookup, standard.LookupError)
bad_replication = _refusal(replication.BadReplicationCall, replication.ReplicationError)
bad_session = partial(_refusal(simple_switch.BadCloneSessionCall, simple_switch.CloneSessionError), "SESSION_NOT_FOUND")


def unsupported(reason: str) -> Exception:
    """Ends a call that has no code for it with a sentence."""
    LOGGER.warning("%s", reason)
    error: Exception = TApplicationException(TApplicationException.INTERNAL_ERROR, reason)
    return error


@contextmanager
def codes(make: Any, known: dict[Any, str]) -> Iterator[None]:
    """Turn what P4Runtime's model refuses into an exception that `make` makes: `known` has the codes, else ERROR."""
    try:
        yield
    except P4RuntimeError as error:
        raise make(known.get(error.code, "ERROR"), error.message) from error
