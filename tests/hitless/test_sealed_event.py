"""Events that a handler gets as they are: sealed for one service, by one key, and never by chance."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitless.wire.sealed_event import MAGIC, SealError, key_of, overhead, seal, unseal
from hitless.wire.worker_codec import Decoder, encode
from hitless.wire.worker_frames import Invoked, Request, WorkerProtocolError

KEY = bytes(range(32))
LINE = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=40)
INVOKED = st.builds(Invoked, LINE, LINE, LINE, LINE)


@given(INVOKED, st.binary(max_size=200))
def test_what_is_sealed_is_what_the_gateway_of_the_service_gets(invoked: Invoked, event: bytes) -> None:
    sealed = seal(KEY, "shout", invoked, event)
    assert unseal(KEY, "shout", sealed) == (invoked, event)
    assert len(sealed) == len(event) + overhead("shout", invoked)
    with pytest.raises(SealError, match="for service shout"):
        unseal(KEY, "detect", sealed)
    with pytest.raises(SealError, match="not sealed with the key"):
        unseal(KEY[::-1], "shout", sealed)


@given(st.binary(max_size=40), st.integers(0), st.integers(1, 255))
def test_a_changed_or_shortened_one_is_refused(event: bytes, at: int, bits: int) -> None:
    sealed = bytearray(seal(KEY, "shout", Invoked("id"), event))
    with pytest.raises(SealError):
        unseal(KEY, "shout", bytes(sealed[: at % len(sealed)]))
    sealed[at % len(sealed)] ^= bits
    with pytest.raises(SealError):
        unseal(KEY, "shout", bytes(sealed))


@pytest.mark.parametrize("text", ["", "00", "g" * 64, "00" * 33])
def test_a_key_is_64_hexadecimal_digits(text: str) -> None:
    with pytest.raises(SealError, match="64 hexadecimal digits"):
        key_of(text)
    assert key_of(KEY.hex() + "\n") == KEY


def test_a_head_of_more_lines_is_malformed() -> None:
    with pytest.raises(WorkerProtocolError, match="line feed"):
        encode(Request(1, 2, 3, 4, 5, b"", None, Invoked("a\nb")))
    frame = encode(Request(1, 2, 3, 4, 5, b"", None, Invoked("id", "c", "v", "t")))
    with pytest.raises(WorkerProtocolError, match="malformed request"):
        Decoder().feed(frame.replace(b"id", b"i\n"))


def test_no_text_and_no_json_begins_like_one() -> None:
    assert MAGIC[0] == 0
