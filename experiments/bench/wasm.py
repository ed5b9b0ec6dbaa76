"""A worker that runs WebAssembly beside one that runs Python, by the worker protocol alone: what a call costs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from greengrass_agent.host.processes import environment
from hitless.wire.worker_codec import Decoder, encode
from hitless.wire.worker_frames import Configure, Frame, Hello, Ready, Request, Response, Shutdown

PYTHON, WASM = "python", "wasm"
EMPTY_MODULE = """(module
  (memory (export "memory") 1)
  (func (export "allocate") (param i32) (result i32) i32.const 1024)
  (func (export "handle") (param i32 i32) (result i64) i64.const 0))"""
EMPTY_HANDLER = "def lambda_handler(event, context):\n    return ''\n"
START_S = 30.0
FIRST_CALLS = 5
"""Workers started anew in a round: each has one first call."""

Round = Mapping[str, Mapping[str, float]]


class Gateway:
    """The gateway's end of a function with one worker."""

    def __init__(self, path: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._listener.settimeout(START_S)
        self._worker: socket.socket | None = None
        self._decoder = Decoder()
        self._others: list[socket.socket] = []

    def close(self) -> None:
        """Close all that is open."""
        for one in (self._listener, self._worker, *self._others):
            if one is not None:
                one.close()

    def accept(self) -> None:
        """Wait until a worker is ready. Raises OSError."""
        while True:
            self._worker, self._decoder = self._listener.accept()[0], Decoder()
            self._worker.settimeout(START_S)
            hello = self._receive()
            if isinstance(hello, Hello) and hello.role == "worker":
                break
            self._others.append(self._worker)  # its supervisor
        self._worker.sendall(encode(Configure({})))
        if not isinstance(self._receive(), Ready):
            raise OSError("the worker is not ready")

    def call(self) -> float:
        """Microseconds from writing a request to the whole answer. Raises OSError."""
        assert self._worker is not None
        deadline_ns = time.monotonic_ns() + int(START_S * 1e9)
        began = time.perf_counter_ns()
        self._worker.sendall(encode(Request(1, 1, 1, 0, deadline_ns, b"")))
        answer = self._receive()
        took = (time.perf_counter_ns() - began) / 1000
        if not isinstance(answer, Response) or answer.status != 200:
            raise OSError(f"the function answered with {answer}")
        return took

    def replace(self) -> None:
        """End the worker and wait for its successor. Raises OSError."""
        assert self._worker is not None
        self._worker.sendall(encode(Shutdown()))
        while self._worker.recv(65536):
            pass
        self._worker.close()
        self.accept()

    def _receive(self) -> Frame:
        assert self._worker is not None
        while True:
            data = self._worker.recv(65536)
            if not data:
                raise OSError("the worker has ended")
            for frame in self._decoder.feed(data):
                return frame


def bench_wasm(rounds: int, seconds: float, tell: Callable[[str], None]) -> dict[str, Any]:
    """Measure both in alternation; the part of the summary about them. Raises OSError."""
    done: list[Round] = []
    with ExitStack() as stack:
        gateways = {name: stack.enter_context(_function(name)) for name in (PYTHON, WASM)}
        for number in range(rounds):
            done.append({name: _measure(gateway, seconds) for name, gateway in gateways.items()})
            shown = ", ".join(f"{name} {one['call_us']:.1f} us" for name, one in done[-1].items())
            tell(f"wasm, round {number + 1} of {rounds}: {shown}")
    return summary(done)


def summary(rounds: list[Round]) -> dict[str, Any]:
    """Medians of the rounds' ratios to Python, the worst round beside, and the rounds themselves."""
    ratios: dict[str, float] = {}
    for figure in rounds[0][WASM]:
        found = [one[WASM][figure] / one[PYTHON][figure] for one in rounds]
        ratios |= {f"wasm_{figure}_vs_python": median(found), f"wasm_{figure}_vs_python_worst": max(found)}
    return {
        "ratios": {name: round(value, 4) for name, value in ratios.items()},
        "medians": {
            name: {figure: round(median(one[name][figure] for one in rounds), 2) for figure in rounds[0][name]}
            for name in rounds[0]
        },
        "rounds": [dict(one) for one in rounds],
    }


def _measure(gateway: Gateway, seconds: float) -> dict[str, float]:
    firsts = []
    for _ in range(FIRST_CALLS):
        gateway.replace()
        firsts.append(gateway.call())
    calls = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        calls.append(gateway.call())
    calls.sort()
    return {
        "call_us": median(calls),
        "call_p99_us": calls[int(0.99 * (len(calls) - 1))],
        "first_us": median(firsts),
    }


@contextmanager
def _function(name: str) -> Iterator[Gateway]:
    """A function that runs, with its worker ready."""
    from wasmtime import wat2wasm

    with tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as scratch:
        folder = Path(scratch)
        (folder / "empty.py").write_text(EMPTY_HANDLER)
        (folder / "empty.wasm").write_bytes(wat2wasm(EMPTY_MODULE))
        options = (
            ["hitless.wasm", "empty.wasm"]
            if name == WASM
            else ["hitless.function", "--handler", "empty.lambda_handler"]
        )
        gateway = Gateway(folder / "gateway")
        own = {"HITLESS_GATEWAY": str(folder / "gateway"), "HITLESS_COMPONENT": "empty", "HOME": scratch}
        process = subprocess.Popen(
            [sys.executable, "-m", *options, "--artifacts", scratch],
            env={**environment(), **own, "PATH": os.environ["PATH"]},
        )
        try:
            gateway.accept()
            yield gateway
        finally:
            process.terminate()
            process.wait()
            gateway.close()
