"""An event on its way from Lambda's Invoke API to a node's gateway: sealed, so that nobody else can make one. Pure.

A handler may rely on the gateway to have made the event of a request that a client sent. An event that the handler gets
as it is could say anything, so the gateway takes one only from who has the key. It travels as the body of a POST, or as
a payload of the invocation protocol: a magic, a tag of 32 bytes (HMAC-SHA256 over all else, RFC 2104), a 32-bit length,
a head so long in JSON, and the event. It is sealed for one service; whoever has seen it can send it there again.
"""

from __future__ import annotations

import hmac
import json
import struct

from hitless.wire.worker_frames import Invoked

MAGIC = b"\0hitless event 1\n"
"""No JSON and no text begins so."""
CONTENT_TYPE = "application/vnd.hitless.event"
"""Over HTTP, for functions whose bodies are not read before they begin."""
KEY_BYTES = 32
_LENGTH = struct.Struct("!I")
_TAG_BYTES = 32
_HEAD_AT = len(MAGIC) + _TAG_BYTES + _LENGTH.size
MAX_HEAD = 16 * 1024
"""Bytes of a head: far more than any client context may have."""


class SealError(ValueError):
    """A sealed event that is not taken, or a text that is no key; the message says why."""


def key_of(text: str) -> bytes:
    """The key that a file holds in hexadecimal. Raises SealError, which shows nothing of it."""
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise SealError(f"expected {2 * KEY_BYTES} hexadecimal digits, as `openssl rand -hex {KEY_BYTES}` prints them")
    return key


def seal(key: bytes, service: str, invoked: Invoked, event: bytes) -> bytes:
    """An event for a service. Raises SealError when what is said beside it is too long."""
    head = json.dumps({"service": service, **invoked._asdict()}).encode()
    if len(head) > MAX_HEAD:
        raise SealError(f"{len(head)} bytes beside the event, expected at most {MAX_HEAD}")
    length = _LENGTH.pack(len(head))
    return b"".join((MAGIC, _tag(key, length, head, event), length, head, event))


def overhead(service: str, invoked: Invoked) -> int:
    """Bytes by which a sealed event is longer than the event."""
    return len(seal(b"", service, invoked, b""))


def unseal(key: bytes, service: str, sealed: bytes) -> tuple[Invoked, bytes]:
    """What `seal` was given. Raises SealError."""
    tag, length = sealed[len(MAGIC) : len(MAGIC) + _TAG_BYTES], sealed[len(MAGIC) + _TAG_BYTES : _HEAD_AT]
    if not sealed.startswith(MAGIC) or len(length) < _LENGTH.size:
        raise SealError("the event is cut off")
    head_end = _HEAD_AT + int(_LENGTH.unpack(length)[0])
    head, event = sealed[_HEAD_AT:head_end], sealed[head_end:]
    if not hmac.compare_digest(tag, _tag(key, length, head, event)):
        raise SealError("the event is not sealed with the key of this node (invoke_key of its agent's configuration)")
    fields = json.loads(head)
    meant = fields.pop("service")
    if meant != service:
        raise SealError(f"the event is for service {meant}, this is {service}")
    return Invoked(**fields), event


def _tag(key: bytes, length: bytes, head: bytes, event: bytes) -> bytes:
    code = hmac.new(key, MAGIC, "sha256")
    for part in (length, head, event):
        code.update(part)
    return code.digest()
