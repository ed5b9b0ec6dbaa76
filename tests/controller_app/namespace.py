"""A network namespace of a test's own, with a switch in it and hosts' ends of its links to send packets from."""

import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

CLONE_NEWNET = 0x40000000
Result = TypeVar("Result")


@dataclass(frozen=True)
class Namespace:
    """A network namespace by name, with `p<n>`/`h<n>` pairs of interfaces in it: a switch's port and its host."""

    name: str

    def run(self, work: Callable[[], Result]) -> Result:
        """Do something in the namespace: in a thread of its own, so that nothing else of this process is moved."""
        results: list[Result] = []
        errors: list[BaseException] = []

        def inside() -> None:
            try:
                with Path(f"/run/netns/{self.name}").open() as handle:
                    if ctypes.CDLL(None, use_errno=True).setns(handle.fileno(), CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
                results.append(work())
            except BaseException as error:  # it is raised again where the test waits
                errors.append(error)

        thread = threading.Thread(target=inside)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]


@contextmanager
def namespace(name: str, ports: int) -> Iterator[Namespace]:
    """Make a namespace with as many links; it goes with everything in it."""

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    ip("netns", "add", name)
    try:
        ip("-n", name, "link", "set", "lo", "up")
        for port in range(1, ports + 1):
            ip("-n", name, "link", "add", f"p{port}", "type", "veth", "peer", "name", f"h{port}")
            for end in (f"p{port}", f"h{port}"):
                ip("-n", name, "link", "set", end, "up")
        yield Namespace(name)
    finally:
        ip("netns", "delete", name)


class Link:
    """A host's end of a link, to send frames from. Make it inside the namespace."""

    def __init__(self, interface: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self._socket.bind((interface, 0))

    def send(self, frame: bytes) -> None:
        """Send one Ethernet frame."""
        self._socket.send(frame)

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()
