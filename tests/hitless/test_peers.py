"""Whose connection it is, by the kernel's word."""

import os
import socket
import struct

import pytest

from hitless.runtime.peers import owner_of


def connected() -> tuple[socket.socket, socket.socket, socket.socket]:
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    served, _ = listener.accept()
    return listener, client, served


def test_a_connection_of_ones_own() -> None:
    listener, client, served = connected()
    with listener, client, served:
        assert owner_of(served.getpeername(), served.getsockname()) == os.getuid()


def test_a_connection_that_is_gone() -> None:
    listener, client, served = connected()
    with listener, served:
        peer = served.getpeername()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()  # at once: nothing stays behind
        assert owner_of(peer, served.getsockname()) is None


@pytest.mark.root("needs root to be another user")
def test_a_connection_of_another_user() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pid = os.fork()
        if pid == 0:
            os.setuid(65534)
            with socket.create_connection(listener.getsockname()) as client:
                client.recv(1)
            os._exit(0)
        served, peer = listener.accept()
        with served:
            assert owner_of(peer, served.getsockname()) == 65534
        os.waitpid(pid, 0)
