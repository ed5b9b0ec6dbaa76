"""The C programs that load a switch make the reports and requests that Python reads, at the lab's addresses."""

import ctypes
from pathlib import Path

import pytest

from experiments.native import lab
from experiments.native.compiling import SHARED, compile_program
from hitless.wire import invocation
from hitless.wire.report import Report, decode
from hitless.words import InvocationType

HEADER = Path(lab.__file__).with_name("frames.h")
HEADERS = 14 + 20 + 8
NAMES = ("CLIENT", "NODES", "SERVICES", "REPORTS", "SERVICE_IDS", "SERVICE_PORT", "REPORT_PORT")
"""What lab.py and frames.h both say."""
SOURCE = f"""
#define _GNU_SOURCE
#include "{HEADER}"

size_t report(uint8_t *frame, uint64_t sequence, uint64_t backlog, uint64_t queue_depth)
{{
    struct report told = {{.sequence = sequence, .backlog = backlog, .queue_depth = queue_depth,
                           .service_interval = 7, .received = 0xfffffffe, .in_flight = 5}};
    return report_frame(frame, 1003, 2, &told);
}}

size_t request(uint8_t *at, uint64_t id)
{{
    return (size_t)(put_invocation(at, REQUEST, 1003, id, 1) - at);
}}

int is_response(const uint8_t *at)
{{
    return is_invocation(at, RESPONSE);
}}

const uint64_t numbers[] = {{{", ".join(NAMES)}}};
uint64_t mac_of_client(void) {{ return client_mac(); }}
uint64_t mac_of_switch(void) {{ return switch_mac(); }}
uint64_t mac_of_node(unsigned member) {{ return node_mac(member); }}
"""


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("frames")
    (folder / "frames.c").write_text(SOURCE)
    library = ctypes.CDLL(str(compile_program(folder, "frames.so", folder / "frames.c", flags=SHARED)))
    for name in ("mac_of_client", "mac_of_switch", "mac_of_node"):
        getattr(library, name).restype = ctypes.c_uint64
    return library


def test_a_report(frames: ctypes.CDLL) -> None:
    frame = ctypes.create_string_buffer(128)
    length = frames.report(frame, *map(ctypes.c_uint64, (9, 0xFEDCBA98, 0xFFFF)))
    assert decode(frame.raw[HEADERS:length]) == Report(
        service_id=1003,
        node_id=3,
        epoch=1,
        sequence=9,
        ready=True,
        queue_depth=0xFFFF,
        in_flight=5,
        concurrency=1,
        backlog=0xFEDCBA98,
        service_interval=7,
        received=0xFFFFFFFE,
    )


def test_a_request(frames: ctypes.CDLL) -> None:
    header = ctypes.create_string_buffer(128)
    length = frames.request(header, ctypes.c_uint64(0x0102030405060708))
    message = invocation.Reassembler().receive(header.raw[:length] + b"x", ("10.0.0.1", 1), 0.0)
    assert message is not None
    assert (message.type, message.service_id, message.client_id) == (InvocationType.REQUEST, 1003, 1)
    assert (message.request_id, message.payload) == (0x0102030405060708, b"x")
    assert not frames.is_response(header)


def test_both_know_the_same_lab(frames: ctypes.CDLL) -> None:
    numbers = (ctypes.c_uint64 * len(NAMES)).in_dll(frames, "numbers")
    assert dict(zip(NAMES, numbers, strict=True)) == {name: getattr(lab, name) for name in NAMES}
    assert (frames.mac_of_client(), frames.mac_of_switch()) == (lab.CLIENT_MAC, lab.SWITCH_MAC)
    assert frames.mac_of_node(5) == lab.NODE_MAC + 5
