"""What AWS's clients may call a function, who is let in, and what an answer means to them."""

import asyncio
import json
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from controller.invocations import functions, outcomes
from controller.invocations.errors import LambdaError
from controller.invocations.functions import Function, find
from controller.invocations.names import Named, named
from controller.invocations.outcomes import Reply, TooLongError, UnreachedError
from controller.invocations.queue import End, Failed, HttpCall, Invocation, Refused, State, Succeeded, Unreached
from controller.invocations.settings import Listen, Settings, origin
from controller.invocations.signature import KeysError, access_keys, verify
from controller.operator.client import Client, NoControllerError
from controller.operator.documents import BrokerStatus, CalledAt, ServiceStatus, Status
from tests.patience import PATIENCE

KEYS = {"AKIDEXAMPLE": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
ARN = "arn:aws:lambda:us-east-1:000000000000:function:shout"


@pytest.mark.parametrize(
    ("text", "qualifier", "wanted"),
    [
        ("shout", None, Named("shout", "")),
        ("org.example.Shout", "1.0.0", Named("org.example.Shout", "1.0.0")),
        ("shout:$LATEST", None, Named("shout", "$LATEST")),
        ("arn:aws:lambda:eu-central-1:123456789012:function:shout", None, Named("shout", "")),
        ("arn:aws-cn:lambda:cn-north-1:123456789012:function:shout:2", "2", Named("shout", "2")),
        ("123456789012:function:shout:2", None, Named("shout", "2")),
    ],
)
def test_a_function_may_be_named_as_on_lambda(text: str, qualifier: str | None, wanted: Named) -> None:
    assert named(text, qualifier) == wanted


@pytest.mark.parametrize(
    ("text", "qualifier"),
    [("", None), ("a b", None), ("arn:aws:s3:::shout", None), ("shout:1", "2"), ("x" * 171, None)],
)
def test_what_is_no_name_is_refused(text: str, qualifier: str | None) -> None:
    with pytest.raises(LambdaError, match=r"expected|does not match") as refused:
        named(text, qualifier)
    assert refused.value.status == 400


def test_a_service_is_found_by_its_name_and_by_its_components() -> None:
    known = (Function("a", "b", None, None), Function("b", "c", None, None))
    assert [one and one.service for one in (find(known, name) for name in "abcd")] == ["a", "b", "b", None]


def signed(url: str, body: bytes, headers: dict[str, str], secret: str = KEYS["AKIDEXAMPLE"]) -> AWSRequest:
    request = AWSRequest("POST", url, headers, body)
    SigV4Auth(Credentials("AKIDEXAMPLE", secret), "lambda", "us-east-1").add_auth(request)
    return request


def check(request: AWSRequest, body: bytes, *, method: str = "POST", now: float | None = None) -> str:
    prepared = request.prepare()
    _, _, rest = prepared.url.partition("://")
    host, _, target = rest.partition("/")
    path, _, query = f"/{target}".partition("?")
    fields = [
        ("Host", host),
        *((str(name), value if isinstance(value, str) else value.decode()) for name, value in prepared.headers.items()),
    ]
    return verify(KEYS, method, path, query, fields, body, datetime.now(UTC).timestamp() if now is None else now)


@given(
    st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1, max_size=12).filter(
        lambda name: name not in (".", "..")
    ),
    st.dictionaries(st.text("aZ-~ ", min_size=1, max_size=4), st.text("b/&= ü", max_size=4), max_size=3),
    st.binary(max_size=30),
)
def test_what_botocore_signs_is_let_in(name: str, parameters: dict[str, str], body: bytes) -> None:
    from urllib.parse import quote, urlencode

    url = f"http://127.0.0.1:9001/2015-03-31/functions/{quote(name, safe='')}/invocations"
    url += f"?{urlencode(parameters, quote_via=quote)}" if parameters else ""
    assert check(signed(url, body, {"X-Amz-Invocation-Type": "Event"}), body) == "AKIDEXAMPLE"


def test_what_was_changed_is_not_signed_by_a_known_key_or_too_old_is_refused() -> None:
    url, body = "http://127.0.0.1:9001/2015-03-31/functions/shout/invocations", b"{}"
    good = signed(url, body, {"X-Amz-Invocation-Type": "Event"})
    with pytest.raises(LambdaError, match="does not match") as refused:
        check(good, b"{} ")
    assert (refused.value.kind, refused.value.status) == ("InvalidSignatureException", 403)
    with pytest.raises(LambdaError, match="does not match"):
        check(good, body, method="GET")
    with pytest.raises(LambdaError, match="does not match"):
        check(signed(url, body, {}, "another secret"), body)
    with pytest.raises(LambdaError, match="set the wrong clock"):
        check(good, body, now=datetime.now(UTC).timestamp() + 301)
    other = signed(url, body, {})
    other.headers["X-Amz-Client-Context"] = "e30="
    with pytest.raises(LambdaError, match="not covered by the signature: x-amz-client-context"):
        check(other, body)
    with pytest.raises(LambdaError, match="security token"):
        verify({}, "POST", "/", "", [("host", "h"), *good.prepare().headers.items()], body, 0.0)
    for path in ("/services/a/../b/", "/services//b", "/services/a/."):
        other = signed(f"http://127.0.0.1:9001{path}", body, {})
        with pytest.raises(LambdaError, match="cannot be signed for certain"):
            check(other, body)
    for headers in ([], [("Authorization", "Bearer x")]):
        with pytest.raises(LambdaError, match=r"Authenti|Authori"):
            verify(KEYS, "POST", "/", "", headers, body, 0.0)


def test_access_keys_are_read_as_aws_writes_them() -> None:
    first = "[default]\naws_access_key_id = A\naws_secret_access_key = s%/=\n"
    second = "[x]\naws_access_key_id=B\naws_secret_access_key=t\n"
    assert access_keys(first + second) == {"A": "s%/=", "B": "t"}
    for wrong in ("", "x", "[a]\naws_access_key_id=A\n", "[a]\naws_access_key_id=A\naws_secret_access_key=SECRET\n[a]"):
        with pytest.raises(KeysError, match="expected") as refused:
            access_keys(wrong)
        assert "SECRET" not in str(refused.value)


def test_who_can_be_reached_from_elsewhere_must_have_requests_signed() -> None:
    files = {"invoke_key": "k", "queue": "q"}
    with pytest.raises(ValueError, match="expected access_keys"):
        Settings.model_validate({**files, "listen": {"address": "10.0.0.1"}})
    assert Settings.model_validate({**files, "listen": {"address": "10.0.0.1"}, "access_keys": "a"}).access_keys
    assert Settings.model_validate(files).listen == Listen()


def test_a_callback_may_go_to_named_origins_only() -> None:
    assert origin("http://h/x?y") == "http://h:80"
    assert origin("https://h:444/") == "https://h:444"
    assert [origin(url) for url in ("ftp://h/", "http://u@h/", "http:///x", "h", "http://h:x/")] == [None] * 5


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (200, "", None),
        (500, "Unhandled", "E"),
        (502, "Unhandled", "Runtime.ExitError"),
        (504, "Unhandled", "Sandbox.Timedout"),
    ],
)
def test_what_was_executed_is_told_as_such(status: int, error: str, kind: str | None) -> None:
    done = outcomes.executed(Reply(status, {}, b'{"errorType": "E"}'), "r1", ARN)
    assert done.error == error
    assert kind is None or json.loads(done.payload)["errorType"] == kind


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (403, "ServiceException"),
        (404, "ResourceNotFoundException"),
        (503, "ServiceException"),
        (415, "UnsupportedMediaTypeException"),
    ],
)
def test_what_was_not_executed_is_refused(status: int, kind: str) -> None:
    with pytest.raises(LambdaError) as refused:
        outcomes.executed(Reply(status, {}, b"why"), "r1", ARN)
    assert refused.value.kind == kind


def test_only_what_was_certainly_not_sent_is_a_status_that_awss_clients_try_again() -> None:
    with pytest.raises(LambdaError, match="refused") as refused:
        outcomes.without_reply(UnreachedError("refused", sent=False), "r1")
    assert refused.value.status == 503
    assert outcomes.without_reply(UnreachedError("lost", sent=True), "r1").error == "Unhandled"
    assert b"ResponseSizeTooLarge" in outcomes.without_reply(TooLongError(6, result=True), "r1").payload
    with pytest.raises(LambdaError, match="smaller than 6 bytes"):
        outcomes.without_reply(TooLongError(6, result=False), "r1")


def test_what_an_answer_means_to_the_queue() -> None:
    event = Invocation(id="i", service="s", accepted_at=0.0, size=0)
    http = event.model_copy(update={"http": HttpCall(method="GET", path="/", headers=())})
    kinds = {
        status: (
            type(outcomes.outcome(event, Reply(status, {}, b""))),
            type(outcomes.outcome(http, Reply(status, {}, b""))),
        )
        for status in (200, 404, 500, 502, 503, 504, 403)
    }
    assert kinds == {
        200: (Succeeded, Succeeded),
        404: (Refused, Succeeded),
        500: (Failed, Failed),
        502: (Failed, Failed),
        503: (Unreached, Unreached),
        504: (Failed, Failed),
        403: (Unreached, Succeeded),
    }
    assert isinstance(outcomes.outcome(event, UnreachedError("", sent=True)), Unreached)
    assert isinstance(outcomes.outcome(event, TooLongError(1, result=False)), Refused)


def test_a_notice_of_a_dead_letter_is_lambdas_record() -> None:
    end = End(condition="RetriesExhausted", status=500, reason="raised", at=1.5)
    state = State(since=0.0, not_before=0.0, failures=3, end=end)
    event = Invocation(id="i", service="s", accepted_at=0.0, size=0)
    said = json.loads(outcomes.record(event, state, ARN, b'{"a": 1}', b"\xff"))
    assert said["timestamp"] == "1970-01-01T00:00:01.500Z"
    assert said["requestContext"] == {
        "requestId": "i",
        "functionArn": ARN,
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 3,
    }
    assert (said["requestPayload"], said["responsePayload"]) == ({"a": 1}, "/w==")


def test_what_the_controller_said_last_counts_while_it_is_away_or_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "FRESH_S", 0.0)
    monkeypatch.setattr(functions, "WAIT_S", 0.01)
    hangs = threading.Event()
    place = CalledAt(service_id=1, address="10.96.0.1", port=80, protocol="tcp")
    service = ServiceStatus(
        policy="single", component="c", version="1.0.0", host=None, held=False, held_on=None, held_for_s=None,
        instances={}, called_at=place,
    )  # fmt: skip
    broker = BrokerStatus(address="h:1", connected=True, error=None)
    status = Status(fabric="f", mode="m", last_event=0, broker=broker, switches={}, nodes={}, services={"s": service})

    def hang() -> Status:
        assert hangs.wait(PATIENCE)
        return status

    def away() -> Status:
        raise NoControllerError("no controller")

    async def ask() -> None:
        client = Client(Path("/nowhere"))
        known = functions.FromController(client)
        monkeypatch.setattr(client, "status", away)
        with pytest.raises(LambdaError, match="does not answer"):
            await known.all()
        monkeypatch.setattr(client, "status", lambda: status)
        wanted = (Function("s", "c", "1.0.0", place),)
        assert await known.all() == wanted
        for trouble in (away, hang):
            monkeypatch.setattr(client, "status", trouble)
            assert await known.all() == wanted
        hangs.set()

    asyncio.run(ask())
