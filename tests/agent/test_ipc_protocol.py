"""Greengrass's interprocess communication without a socket: messages, the connection, topics, what is allowed."""

import json
import uuid
import zlib
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greengrass_agent.ipc.authorization import allowed
from greengrass_agent.ipc.connection import (
    MAX_CONNECT,
    MAX_STREAMS,
    Asked,
    Connection,
    Ended,
    Event,
    Flag,
    Kind,
    Requested,
)
from greengrass_agent.ipc.frames import Decoder, FrameError, Header, HeaderType, Message, encode
from greengrass_agent.ipc.operation import IpcError
from hitless import topic_filters

LIMIT = 1 << 20
PUBSUB = "aws.greengrass.ipc.pubsub"
PUBLISH = "aws.greengrass#PublishToTopic"

# Of aws-c-event-stream's own tests (message_deserializer_test.c).
AWS_EXAMPLES = {
    "000000100000000005c248eb7d98c8ff": Message((), b""),
    "0000001d00000000fd528c5a7b27666f6f273a27626172277dc3653936": Message((), b"{'foo':'bar'}"),
    "0000003d0000002007fd83960c636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e"
    "7b27666f6f273a27626172277d8d9c08b1": Message((Header.text("content-type", "application/json"),), b"{'foo':'bar'}"),
}

_names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30)
_headers = st.one_of(
    st.builds(Header, _names, st.just(HeaderType.TRUE), st.just(True)),
    st.builds(Header, _names, st.just(HeaderType.FALSE), st.just(False)),
    *(
        st.builds(Header, _names, st.just(kind), st.integers(-(1 << bits - 1), (1 << bits - 1) - 1))
        for kind, bits in (
            (HeaderType.BYTE, 8),
            (HeaderType.INT16, 16),
            (HeaderType.INT32, 32),
            (HeaderType.INT64, 64),
            (HeaderType.TIMESTAMP, 64),
        )
    ),
    st.builds(Header, _names, st.just(HeaderType.BYTES), st.binary(max_size=100)),
    st.builds(Header, _names, st.just(HeaderType.STRING), st.text(st.characters(codec="utf-8"), max_size=50)),
    st.builds(
        Header,
        _names,
        st.just(HeaderType.UUID),
        st.builds(lambda data: uuid.UUID(bytes=data), st.binary(min_size=16, max_size=16)),
    ),
)
_messages = st.builds(Message, st.lists(_headers, max_size=5).map(tuple), st.binary(max_size=300))


@pytest.mark.parametrize(("text", "message"), AWS_EXAMPLES.items())
def test_messages_are_written_and_read_as_aws_does(text: str, message: Message) -> None:
    assert encode(message).hex() == text
    decoder = Decoder(LIMIT)
    decoder.feed(bytes.fromhex(text))
    assert decoder.next() == message


@settings(max_examples=40)
@given(st.lists(_messages, max_size=4), st.lists(st.integers(1, 40), min_size=1))
def test_what_was_written_is_read_however_it_comes_in_parts(messages: list[Message], sizes: list[int]) -> None:
    data, decoder, read = b"".join(map(encode, messages)), Decoder(LIMIT), []
    while data:
        for size in sizes:
            part, data = data[:size], data[size:]
            decoder.feed(part)
            while (message := decoder.next()) is not None:
                read.append(message)
    assert read == messages


@settings(max_examples=60)
@given(_messages, st.data())
def test_no_changed_byte_goes_unnoticed(message: Message, data: st.DataObject) -> None:
    whole = bytearray(encode(message))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    decoder = Decoder(LIMIT)
    decoder.feed(bytes(whole))
    with pytest.raises(FrameError):
        assert decoder.next() is not None


@given(st.binary(max_size=200))
def test_any_bytes_with_right_checksums_are_a_message_or_refused(headers: bytes) -> None:
    prelude = (16 + len(headers)).to_bytes(4, "big") + len(headers).to_bytes(4, "big")
    body = prelude + zlib.crc32(prelude).to_bytes(4, "big") + headers
    decoder = Decoder(LIMIT)
    decoder.feed(body + zlib.crc32(body).to_bytes(4, "big"))
    with suppress(FrameError):
        assert decoder.next() is not None


def message(kind: Kind, stream: int = 0, flags: Flag = Flag.NONE, payload: Any = None, **texts: str) -> bytes:
    """What a client sends; `texts` are its other headers, `version` being `:version`."""
    names = {"version": ":version"}
    headers = [Header.text(names.get(name, name), value) for name, value in texts.items()]
    fixed = {":message-type": kind, ":message-flags": flags, ":stream-id": stream}
    headers += [Header.number(name, value) for name, value in fixed.items()]
    data = payload if isinstance(payload, bytes) else b"" if payload is None else json.dumps(payload).encode()
    return encode(Message(tuple(headers), data))


def sent(connection: Connection) -> list[tuple[Kind, int, Flag, Any]]:
    """Type, stream, flags and content of what the server sends."""
    decoder, found = Decoder(LIMIT), []
    decoder.feed(connection.data_to_send())
    while (one := decoder.next()) is not None:
        numbers = [one.find(name, HeaderType.INT32) for name in (":message-type", ":stream-id", ":message-flags")]
        shape = one.find("service-model-type", HeaderType.STRING)
        content = json.loads(one.payload) if one.payload else None
        found.append((Kind(numbers[0]), numbers[1], Flag(numbers[2]), (shape, content) if shape else content))
    return found


CONNECT = message(Kind.CONNECT, payload={"authToken": "secret"}, version="0.1.0")


def connected() -> Connection:
    connection = Connection()
    assert connection.receive(CONNECT) == [Asked("secret")]
    connection.accept()
    assert sent(connection) == [(Kind.CONNECT_ACK, 0, Flag.CONNECTION_ACCEPTED, None)]
    return connection


def request(stream: int, payload: Any = None, flags: Flag = Flag.NONE, operation: str = PUBLISH) -> bytes:
    return message(Kind.APPLICATION_MESSAGE, stream, flags, payload, operation=operation)


def test_an_operation_without_events_ends_its_stream_with_the_response() -> None:
    connection = connected()
    assert connection.receive(request(1, {"topic": "a"})) == [Requested(1, PUBLISH, {"topic": "a"})]
    connection.respond(1, f"{PUBLISH}Response", {"b": 1}, last=True)
    connection.event(1, "aws.greengrass#Event", {})
    assert sent(connection) == [
        (Kind.APPLICATION_MESSAGE, 1, Flag.TERMINATE_STREAM, (f"{PUBLISH}Response", {"b": 1})),
    ]


def test_a_stream_goes_on_until_the_client_ends_it() -> None:
    connection = connected()
    connection.receive(request(1))
    connection.respond(1, f"{PUBLISH}Response", {}, last=False)
    connection.event(1, "aws.greengrass#Event", {"n": 1})
    assert [one[2] for one in sent(connection)] == [Flag.NONE, Flag.NONE]
    assert connection.receive(message(Kind.APPLICATION_MESSAGE, 1, Flag.TERMINATE_STREAM)) == [Ended(1)]
    connection.event(1, "aws.greengrass#Event", {"n": 2})
    assert connection.receive(message(Kind.APPLICATION_MESSAGE, 1, Flag.TERMINATE_STREAM)) == []
    assert sent(connection) == []
    assert not connection.closing


def test_an_error_has_the_sdks_shape_and_ends_the_stream() -> None:
    connection = connected()
    connection.receive(request(1))
    connection.fail(1, IpcError("ResourceNotFoundError", "no such thing", resourceName="x"))
    content = {"resourceName": "x", "message": "no such thing"}
    shape = "aws.greengrass#ResourceNotFoundError"
    assert sent(connection) == [(Kind.APPLICATION_ERROR, 1, Flag.TERMINATE_STREAM, (shape, content))]


@pytest.mark.parametrize("payload", [b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_request_that_is_no_json_object_is_refused_and_the_connection_goes_on(payload: bytes) -> None:
    connection = connected()
    assert connection.receive(request(1, payload)) == []
    ((kind, _, _, (shape, _)),) = sent(connection)
    assert (kind, shape) == (Kind.APPLICATION_ERROR, "aws.greengrass#InvalidArgumentsError")
    assert connection.receive(request(2)) == [Requested(2, PUBLISH, {})]


def test_a_ping_is_answered_with_what_it_brought() -> None:
    connection = connected()
    assert connection.receive(message(Kind.PING, payload={"n": 1}, own="x")) == []
    decoder = Decoder(LIMIT)
    decoder.feed(connection.data_to_send())
    answer = decoder.next()
    assert answer is not None
    assert (answer.payload, answer.find("own", HeaderType.STRING)) == (b'{"n": 1}', "x")
    assert answer.find(":message-type", HeaderType.INT32) == Kind.PING_RESPONSE


@pytest.mark.parametrize(
    ("what", "told"),
    [
        (request(2), "expected the next one, 1"),
        (request(-1), "expected the next one, 1"),
        (message(Kind.APPLICATION_MESSAGE, 1), "without the name of an operation"),
        (message(Kind.PING, 1), "expected application messages"),
        (CONNECT, "expected one Connect"),
        (message(Kind.CONNECT_ACK), "without a stream"),
        (message(Kind.APPLICATION_MESSAGE), "without a stream"),
        (encode(Message((), b"")), ":message-type"),
        (b"\0" * 16, "checksum"),
    ],
)
def test_who_breaks_the_protocol_is_told_and_disconnected(what: bytes, told: str) -> None:
    connection = connected()
    assert connection.receive(what + request(1)) == []
    ((kind, stream, _, content),) = sent(connection)
    assert (kind, stream, connection.closing) == (Kind.PROTOCOL_ERROR, 0, True)
    assert told in content["message"]


@pytest.mark.parametrize("first", [request(1), message(Kind.PING), CONNECT + request(1)])
def test_nothing_is_done_before_the_client_is_known(first: bytes) -> None:
    connection = Connection()
    assert all(isinstance(event, Asked) for event in connection.receive(first))
    assert connection.closing
    assert sent(connection)[-1][0] is Kind.PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("connect", "told"),
    [
        (message(Kind.CONNECT, payload={"authToken": "x"}, version="0.2.0"), "0.2.0"),
        (message(Kind.CONNECT, payload={"authToken": "x"}), "expected '0.1.0'"),
        (message(Kind.CONNECT, payload={"token": "x"}, version="0.1.0"), "no authToken"),
        (message(Kind.CONNECT, payload=b"x", version="0.1.0"), "no authToken"),
    ],
)
def test_a_client_that_cannot_be_known_is_refused(connect: bytes, told: str) -> None:
    connection = Connection()
    assert connection.receive(connect) == []
    assert sent(connection) == [(Kind.CONNECT_ACK, 0, Flag.NONE, None)]
    assert connection.closing
    assert told in (connection.reason or "")


def test_a_first_message_cannot_fill_the_memory() -> None:
    connection = Connection()
    connection.receive(message(Kind.CONNECT, payload=b"x" * MAX_CONNECT)[:100])
    assert connection.closing


def test_streams_are_bounded_and_one_that_ends_makes_room() -> None:
    connection = connected()
    for stream in range(1, MAX_STREAMS + 1):
        connection.receive(request(stream))
    assert connection.receive(request(MAX_STREAMS + 1)) == []
    ((_, stream, _, (shape, _)),) = sent(connection)
    assert (stream, shape) == (MAX_STREAMS + 1, "aws.greengrass#ServiceError")
    connection.respond(5, f"{PUBLISH}Response", {}, last=True)
    assert connection.receive(request(MAX_STREAMS + 2)) == [Requested(MAX_STREAMS + 2, PUBLISH, {})]


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(Kind), st.integers(-1, 4), st.integers(0, 3), st.binary(max_size=8)), max_size=8)
)
def test_no_sequence_of_messages_breaks_the_server(sequence: list[tuple[Kind, int, int, bytes]]) -> None:
    connection, events = connected(), list[Event]()
    for kind, stream, flags, payload in sequence:
        events += connection.receive(message(kind, stream, Flag(flags), payload, operation=PUBLISH))
    streams = [event.stream for event in events if isinstance(event, Requested)]
    assert streams == sorted(set(streams))
    for stream in streams:
        connection.respond(stream, f"{PUBLISH}Response", {}, last=True)
    decoder = Decoder(LIMIT)
    decoder.feed(connection.data_to_send())
    while decoder.next() is not None:
        pass


# Topic filters: OASIS MQTT 3.1.1, 4.7.1.
@pytest.mark.parametrize(
    ("topic_filter", "topic", "hears"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/b/c", False),
        ("a/+", "a/b", True),
        ("a/+", "a", False),
        ("a/+", "a/", True),
        ("+/b", "/b", True),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("a/#", "ab", False),
        ("#", "a/b", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True),
        ("a/b+", "a/bc", False),
        ("A", "a", False),
    ],
)
def test_who_hears_a_topic(topic_filter: str, topic: str, hears: bool) -> None:
    assert topic_filters.matches(topic_filter, topic) is hears


_levels = st.lists(st.sampled_from(["a", "b", "+", "#", "$c", ""]), min_size=1, max_size=4).map("/".join)
_filters = _levels.filter(lambda one: topic_filters.problem(one) is None)


@given(_filters, _filters, _levels.filter(lambda one: not topic_filters.is_wild(one)))
def test_a_filter_that_covers_another_hears_all_that_that_one_does(wide: str, narrow: str, topic: str) -> None:
    if topic_filters.covers(wide, narrow) and topic_filters.matches(narrow, topic):
        assert topic_filters.matches(wide, topic)


def policies(operations: Any, resources: Any, service: str = PUBSUB) -> dict[str, Any]:
    return {"accessControl": {service: {"one": {"operations": operations, "resources": resources}}}}


@pytest.mark.parametrize(
    ("resource", "asked", "yes"),
    [
        ("*", "a/b", True),
        ("a/*", "a/b/c", True),
        ("a/*/c", "a/b/b/c", True),
        ("a/*", "a", False),
        ("a", "a/b", False),
        ("A", "a", False),
        ("a/+", "a/b", True),
        ("a/+", "a/b/c", False),
        ("+/b", "a/b", True),
        ("+", "a", True),
        ("a/#", "a/b/c", True),
        ("a/#", "a", True),
        ("#", "a/b", True),
        ("a/b+", "a/bc", False),
        ("a/b+", "a/b+", True),
        ("a#", "ab", False),
        ("a/#", "a/#", True),
        ("a/+", "a/#", True),
        ("a/b", "a/#", False),
        ("a/${*}", "a/*", True),
        ("a/${*}", "a/b", False),
        ("a?", "ab", False),
        ("a.c", "abc", False),
        ("things/{iot:thingName}/x", "things/n1/x", True),
        ("things/{iot:thingName}/x", "things/n2/x", False),
    ],
)
def test_what_a_resource_of_access_control_allows(resource: str, asked: str, yes: bool) -> None:
    assert allowed(policies([PUBLISH], [resource]), "n1", PUBSUB, PUBLISH, asked) is yes


def test_wildcards_of_topics_are_ordinary_characters_elsewhere() -> None:
    shadows, get = "aws.greengrass.ShadowManager", "aws.greengrass#GetThingShadow"
    assert not allowed(policies([get], ["$aws/+/x"], shadows), "n1", shadows, get, "$aws/a/x")
    assert allowed(policies([get], ["$aws/*"], shadows), "n1", shadows, get, "$aws/a/x")


@pytest.mark.parametrize(
    ("configuration", "yes"),
    [
        (policies(["*"], ["*"]), True),
        (policies([PUBLISH.lower()], ["*"]), False),
        (policies(["aws.greengrass#SubscribeToTopic"], ["*"]), False),
        (policies([PUBLISH], []), False),
        (policies(PUBLISH, "*"), False),
        (policies([PUBLISH], ["*"], "aws.greengrass.ipc.mqttproxy"), False),
        ({"ACCESSCONTROL": {PUBSUB: {"one": {"Operations": [PUBLISH], "RESOURCES": ["*"]}}}}, True),
        ({"accessControl": json.dumps(policies([PUBLISH], ["*"])["accessControl"])}, True),
        ({"accessControl": "{"}, False),
        ({"accessControl": {PUBSUB: [1]}}, False),
        ({"accessControl": {PUBSUB: {"one": None}}}, False),
        ({}, False),
    ],
)
def test_which_policies_of_access_control_count(configuration: dict[str, Any], yes: bool) -> None:
    assert allowed(configuration, "n1", PUBSUB, PUBLISH, "a") is yes
