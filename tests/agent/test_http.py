"""HTTP/1.1 as RFC 9110 and RFC 9112 have it: what is sent byte for byte, and what comes back."""

import re
import time
from collections.abc import Iterator

import pytest

from greengrass_agent.gateway.http import bounds
from greengrass_agent.gateway.job import Answer, Job
from tests.agent.http_server import Serving, mirror, rest, serving, until_has

HOST = b"Host: echo\r\n"
CLOSE = b"Connection: close\r\n"
LAST = b"GET /last HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n"
CHUNKED = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Serving]:
    with serving(mirror) as running:
        yield running


def get(*fields: bytes, line: bytes = b"GET / HTTP/1.1", host: bytes = HOST) -> bytes:
    return line + b"\r\n" + host + b"".join(one + b"\r\n" for one in fields) + b"\r\n"


def post(*fields: bytes, body: bytes = b"") -> bytes:
    return get(*fields, line=b"POST / HTTP/1.1") + body


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


REFUSED: dict[str, tuple[bytes, int]] = {
    "a length beside a coding": (post(b"Content-Length: 4", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
    "a coding beside a length": (post(b"Transfer-Encoding: chunked", b"Content-Length: 4", body=b"0\r\n\r\n"), 400),
    "two lengths": (post(b"Content-Length: 1", b"Content-Length: 2", body=b"ab"), 400),
    "a list of lengths": (post(b"Content-Length: 2, 2", body=b"ab"), 400),
    "a length with a sign": (post(b"Content-Length: +2", body=b"ab"), 400),
    "an empty length": (post(b"Content-Length:", body=b"ab"), 400),
    "a length of 5,000 digits": (post(b"Content-Length: " + b"1" * 5000), 400),
    "a length of 5,000 zeros": (post(b"Content-Length: " + b"0" * 5000), 400),
    "a length beyond the bound": (post(b"Content-Length: %d" % (bounds.MAX_BODY + 1)), 413),
    "a coding that is not chunked": (post(b"Transfer-Encoding: identity"), 400),
    "chunked, and then another coding": (post(b"Transfer-Encoding: chunked, gzip", body=b"0\r\n\r\n"), 400),
    "another coding, and then chunked": (post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), 501),
    "a coding like chunked": (post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"), 400),
    "a coding in 1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "bare line feeds": (b"GET / HTTP/1.1\nHost: echo\n\n", 400),
    "a bare line feed": (b"GET / HTTP/1.1\r\nHost: echo\nX: y\r\n\r\n", 400),
    "a folded line": (get(b"X: a\r\n b"), 400),
    "a folded first line": (b"GET / HTTP/1.1\r\n X: a\r\nHost: echo\r\n\r\n", 400),
    "a space before the colon": (get(b"X : a"), 400),
    "a field without a colon": (get(b"X"), 400),
    "a field without a name": (get(b": x"), 400),
    "a zero byte": (get(b"X: a\0b"), 400),
    "a bare carriage return": (get(b"X: a\rb"), 400),
    "no Host": (get(host=b""), 400),
    "two Hosts": (get(b"Host: other"), 400),
    "a Host that is none": (get(host=b"Host: a/b\r\n"), 400),
    "a fragment": (get(line=b"GET /a#b HTTP/1.1"), 400),
    "a target without a slash": (get(line=b"GET a HTTP/1.1"), 400),
    "an asterisk with GET": (get(line=b"GET * HTTP/1.1"), 400),
    "letters beyond ASCII in the target": (get(line=b"GET /\xc3\xa9 HTTP/1.1"), 400),
    "a target too long": (get(line=b"GET /" + b"a" * 9000 + b" HTTP/1.1"), 414),
    "a field too long": (get(b"X: " + b"a" * 40_000), 431),
    "many fields": (get(*[b"X: a"] * 300), 431),
    "fields without an end": (get()[:-2] + b"X: " + b"a" * 100_000, 431),
    "CONNECT": (get(line=b"CONNECT echo:80 HTTP/1.1"), 501),
    "a method of one's own": (get(line=b"BREW / HTTP/1.1"), 501),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    "HTTP/2": (get(line=b"GET / HTTP/2.0"), 505),
    "HTTP/0.9": (get(line=b"GET / HTTP/0.9"), 505),
    "an expectation": (post(b"Expect: miracles", b"Content-Length: 2", body=b"ab"), 417),
    "a chunk size without end": (CHUNKED + b"\r\n" + b"f" * 17 + b"\r\nab", 400),
    "a chunk size with 0x": (CHUNKED + b"\r\n0x2\r\nab\r\n0\r\n\r\n", 400),
    "a chunk size with a space": (CHUNKED + b"\r\n2 \r\nab\r\n0\r\n\r\n", 400),
    "a bare line feed behind a chunk size": (CHUNKED + b"\r\n2\nab\r\n0\r\n\r\n", 400),
    "a bare line feed behind a chunk": (CHUNKED + b"\r\n2\r\nab\n0\r\n\r\n", 400),
    "a bare line feed in an extension": (CHUNKED + b"\r\n2;a=b\nab\r\n0\r\n\r\n", 400),
    "an extension without end": (CHUNKED + b"\r\n2;" + b"a" * 60_000, 400),
    "extensions without end": (CHUNKED + b"\r\n" + (b"1;" + b"a" * 1000 + b"\r\nx\r\n") * 60, 400),
    "a trailer section without end": (CHUNKED + b"\r\n0\r\n" + b"X: a\r\n" * 9000, 431),
    "chunks beyond the bound": (
        CHUNKED + b"\r\n" + (b"100000\r\n" + bytes(0x100000) + b"\r\n") * 17,
        413,
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_it_refuses_and_ends_the_connection_behind(kind: str, server: Serving) -> None:
    request, status = REFUSED[kind]
    asked = len(server.jobs)
    with server.connect() as sock:
        try:
            sock.sendall(request + LAST)
        except ConnectionError:
            assert len(request) > 1_000_000, "refused while it was still being sent"
        answer = rest(sock)
    assert statuses(answer) == [status]
    assert b"\r\nConnection: close\r\n" in answer and b"\r\n\r\n" in answer
    assert len(server.jobs) == asked, "neither it nor what looks like a request behind it reached the function"


TAKEN: dict[str, tuple[bytes, list[bytes]]] = {
    "a path and a query as they came": (get(line=b"GET /a%20b/%2F?x=%26&y HTTP/1.1"), [b"GET|/a%20b/%2F|x=%26&y|"]),
    "a target with an authority": (get(line=b"GET http://other:8080?q HTTP/1.1"), [b"GET|/|q|"]),
    "OPTIONS of all": (get(line=b"OPTIONS * HTTP/1.1"), [b"OPTIONS|*||"]),
    "a body with a length": (post(b"Content-Length: 3", body=b"abc"), [b"POST|/||abc"]),
    "a body with a length with GET": (get(b"Content-Length: 3") + b"abc", [b"GET|/||abc"]),
    "a body in chunks, with extension and trailer": (
        CHUNKED + b"\r\n3;a=b\r\nabc\r\n1\r\nd\r\n0\r\nX-Sum: 4\r\n\r\n",
        [b"POST|/||abcd"],
    ),
    "two requests at once": (get(line=b"GET /1 HTTP/1.1") + get(line=b"GET /2 HTTP/1.1"), [b"GET|/1||", b"GET|/2||"]),
    "an empty line before": (b"\r\n" + get(), [b"GET|/||"]),
    "an upgrade that is not taken": (get(b"Connection: upgrade", b"Upgrade: websocket"), [b"GET|/||"]),
    "many upgrades at once": (get(b"Connection: upgrade", b"Upgrade: x") * 50, [b"GET|/||"] * 50),
    "an upgrade with a body": (
        post(b"Connection: upgrade", b"Upgrade: h2c", b"Content-Length: 3", body=b"abc"),
        [b"POST|/||abc"],
    ),
    "1.0, kept alive": (b"GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", [b"GET|/old||"]),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_it_takes(kind: str, server: Serving) -> None:
    request, results = TAKEN[kind]
    answer = server.ask(request + LAST)
    assert statuses(answer) == [200] * (len(results) + 1)
    assert re.findall(rb"\r\n\r\n(\w+\|.*?)(?=HTTP/1|$)", answer) == [*results, b"GET|/last||"], "each, in order"


@pytest.mark.parametrize("kind", TAKEN)
def test_it_takes_the_same_byte_for_byte(kind: str, server: Serving) -> None:
    request, results = TAKEN[kind]
    with server.connect() as sock:
        for byte in request:
            sock.sendall(bytes([byte]))
            time.sleep(0)
        sock.sendall(LAST)
        answer = rest(sock)
    assert statuses(answer) == [200] * (len(results) + 1)


def test_fields_that_stand_several_times_are_one_list(server: Serving) -> None:
    server.ask(
        get(b"X-Y: a", b"Cookie: a=1", b"x-y:  b \t", b"cookie: b=2", CLOSE[:-2], line=b"GET http://h:1/ HTTP/1.1")
    )
    http = server.jobs[-1].http
    assert http is not None
    assert (http.headers["x-y"], http.headers["cookie"], http.headers["host"]) == ("a,b", "a=1; b=2", "h:1")
    assert (http.source, server.jobs[-1].source) == ("127.0.0.1", "127.0.0.1")


@pytest.mark.parametrize(
    ("client", "request_", "wanted"),
    [
        (b"7", b"18446744073709551615", (7, (1 << 64) - 1)),
        (b"4294967296", b"18446744073709551616", (0, None)),
        (b"1" * 5000, b"2" * 5000, (0, None)),
        ("٣".encode(), b"-1", (0, None)),
        (b"", b"1e3", (0, None)),
    ],
)
def test_numbers_are_taken_from_headers_if_they_are_numbers(
    client: bytes, request_: bytes, wanted: tuple[int, int | None], server: Serving
) -> None:
    assert statuses(server.ask(get(b"X-Client-Id: " + client, b"X-Request-Id: " + request_, CLOSE[:-2]))) == [200]
    job = server.jobs[-1]
    assert job.client_id == wanted[0]
    assert job.request_id == wanted[1] if wanted[1] is not None else 0 < job.request_id < 10_000, "the gateway's count"


def test_the_connection_ends_or_stays_as_was_said(server: Serving) -> None:
    for request, connection in (
        (b"GET / HTTP/1.0\r\n\r\n", b"close"),
        (get(b"Connection: close"), b"close"),
        (get(b"Connection: x, CLOSE"), b"close"),
    ):
        answer = server.ask(request)
        assert b"\r\nConnection: " + connection + b"\r\n" in answer
    with server.connect() as sock:
        sock.sendall(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert b"\r\nConnection: keep-alive\r\n" in until_has(sock, b"GET|/||")
        sock.sendall(get())
        assert b"\r\nConnection:" not in until_has(sock, b"GET|/||")
    assert b"\r\nDate: " in answer, "an origin server with a clock"


def test_a_client_that_waits_for_continue_is_told_to_go_on(server: Serving) -> None:
    head = post(b"Expect: 100-continue", b"Content-Length: 3", CLOSE[:-2])
    with server.connect() as sock:
        sock.sendall(head)
        assert until_has(sock, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"abc")
        assert rest(sock).endswith(b"POST|/||abc")
    assert statuses(server.ask(head + b"abc")) == [200], "who does not wait is not told"
    assert statuses(server.ask(post(b"Expect: 100-continue", b"Content-Length: 99999999", CLOSE[:-2]))) == [413]
    assert statuses(server.ask(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na")) == [200]


def test_the_time_limit_counts_from_the_whole_body(server: Serving) -> None:
    with server.connect() as sock:
        sock.sendall(post(b"Content-Length: 3", CLOSE[:-2], body=b"ab"))
        time.sleep(0.05)
        late = time.monotonic_ns()
        sock.sendall(b"c")
        rest(sock)
    job = server.jobs[-1]
    assert job.deadline_ns - 10**10 >= late and job.received_ns >= late


LAWLESS: dict[str, tuple[int, dict[str, str]]] = {
    "an interim status": (100, {}),
    "another protocol": (101, {"upgrade": "x"}),
    "a status beyond": (600, {}),
    "a line more": (200, {"x": "a\r\nSet-Cookie: b"}),
    "a name that is none": (200, {"a b": "c"}),
    "an empty name": (200, {"": "c"}),
    "a zero byte": (200, {"x": "\0"}),
}


@pytest.mark.parametrize("kind", LAWLESS)
@pytest.mark.parametrize("in_parts", [False, True])
def test_an_answer_that_http_does_not_allow_is_a_502(
    kind: str, in_parts: bool, caplog: pytest.LogCaptureFixture
) -> None:
    status, headers = LAWLESS[kind]

    def lawless(job: Job) -> None:
        if in_parts:
            job.begin(status, headers)
            job.client.part(b"injected")
            job.client.end()
        else:
            job.conclude(Answer(status, b"injected", headers))

    with serving(lawless) as server:
        answer = server.ask(get(b"Connection: close", line=b"GET /here HTTP/1.1"))
        assert statuses(answer) == [502] and b"Set-Cookie" not in answer.partition(b"\r\n\r\n")[0]
        assert b"injected" not in answer
        assert server.jobs[0].status == 502, "what the execution log says"
    assert "GET /here cannot be sent" in caplog.text


BODILESS: list[tuple[bytes, int, dict[str, str], bytes, bytes | None]] = [
    (b"HEAD", 200, {}, b"abc", b"3"),
    (b"HEAD", 200, {"content-length": "70"}, b"", b"70"),
    (b"GET", 204, {}, b"abc", None),
    (b"GET", 304, {"etag": "x"}, b"abc", None),
    (b"GET", 200, {"Content-Length": "70", "Connection": "x", "Transfer-Encoding": "chunked"}, b"", b"0"),
]


@pytest.mark.parametrize(("method", "status", "headers", "body", "length"), BODILESS)
def test_answers_without_a_body(
    method: bytes, status: int, headers: dict[str, str], body: bytes, length: bytes | None
) -> None:
    with serving(lambda job: job.conclude(Answer(status, body, headers))) as server:
        answer = server.ask(get(CLOSE[:-2], line=method + b" / HTTP/1.1"))
    head, _, rest_of_it = answer.partition(b"\r\n\r\n")
    assert rest_of_it == b""
    assert re.findall(rb"(?i)content-length: (\d+)", head) == ([length] if length else [])
    assert b"chunked" not in head and head.lower().count(b"connection:") == 1


def test_an_answer_of_any_size_arrives_whole() -> None:
    body = bytes(range(256)) * 200_000
    with serving(lambda job: job.conclude(Answer(200, body))) as server:
        assert server.ask(get(CLOSE[:-2])).partition(b"\r\n\r\n")[2] == body
