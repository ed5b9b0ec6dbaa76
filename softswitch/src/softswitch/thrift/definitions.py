"""The services, types and errors of the `.thrift` files beside this one, which are read when this is imported."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from thrift.Thrift import TApplicationException

from softswitch.p4runtime.errors import P4RuntimeError
from softswitch.thrift import idl

LOGGER = logging.getLogger("softswitch.thrift")


def _load(name: str) -> Any:
    return idl.read(Path(__file__).with_name(f"{name}.thrift").read_text()).namespace()


standard = _load("standard")
replication = _load("replication")
simple_switch = _load("simple_switch")


def bad_table(code: str, reason: str) -> Exception:
    """Ends a call about tables with a code of `TableError`."""
    return _bad(standard.BadTableCall, standard.TableError, code, reason)


def bad_counter(code: str, reason: str) -> Exception:
    """Ends a call about counters with a code of `CounterError`."""
    return _bad(standard.BadCounterCall, standard.CounterError, code, reason)


def bad_meter(code: str, reason: str) -> Exception:
    """Ends a call about meters with a code of `MeterError`."""
    return _bad(standard.BadMeterCall, standard.MeterError, code, reason)


def bad_register(code: str, reason: str) -> Exception:
    """Ends a call about registers with a code of `RegisterError`."""
    return _bad(standard.BadRegisterCall, standard.RegisterError, code, reason)


def bad_value_set(code: str, reason: str) -> Exception:
    """Ends a call about parser value sets with a code of `ValueSetError`."""
    return _bad(standard.BadValueSetCall, standard.ValueSetError, code, reason)


def bad_learn(code: str, reason: str) -> Exception:
    """Ends a call about digests with a code of `LearnError`."""
    return _bad(standard.BadLearnCall, standard.LearnError, code, reason)


def bad_swap(code: str, reason: str) -> Exception:
    """Ends a call about programs with a code of `SwapError`."""
    return _bad(standard.BadSwapCall, standard.SwapError, code, reason)


def bad_port(reason: str) -> Exception:
    """Ends a call about ports with the one code there is."""
    return _bad(standard.BadPortCall, standard.PortError, "ERROR", reason)


def bad_calculation(code: str, reason: str) -> Exception:
    """Ends a call about hashes with a code of `CalculationError`."""
    return _bad(standard.BadCalculationCall, standard.CalculationError, code, reason)


def bad_lookup(code: str, reason: str) -> Exception:
    """Ends a look-up of an id with a code of `LookupError`."""
    return _bad(standard.BadLookup, standard.LookupError, code, reason)


def bad_replication(code: str, reason: str) -> Exception:
    """Ends a call about multicast with a code of `ReplicationError`."""
    return _bad(replication.BadReplicationCall, replication.ReplicationError, code, reason)


def bad_session(reason: str) -> Exception:
    """Ends a call about clone sessions with the one code there is."""
    return _bad(simple_switch.BadCloneSessionCall, simple_switch.CloneSessionError, "SESSION_NOT_FOUND", reason)


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


def _bad(kind: Any, codes_of: Any, code: str, reason: str) -> Exception:
    # the client hears the code only
    LOGGER.warning("refused with %s: %s", code, reason)
    made: Exception = kind(code=getattr(codes_of, code))
    return made
