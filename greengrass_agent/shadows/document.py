"""A device shadow: what a request makes of it, and what is told of that. Pure.

By the rules of AWS IoT's Device Shadow service and of Greengrass's shadow manager: their limits, error codes, messages.
Times are whole seconds since 1970.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final, Literal, NoReturn

Json = dict[str, Any]
Operation = Literal["get", "update", "delete"]

SECTIONS: Final = ("desired", "reported")
MAX_STATE_BYTES: Final = 8 * 1024
"""Of both sections together, as JSON without spaces; metadata does not count."""
MAX_REQUEST_BYTES: Final = 128 * 1024
"""Of a request, which may say more than it leaves behind: nulls, and its token."""
MAX_DEPTH: Final = 6
"""Objects and arrays within one another, the section among them; what is empty does not count."""
_DEEP = f"JSON contains too many levels of nesting; maximum is {MAX_DEPTH}"
MAX_TOKEN_BYTES: Final = 64
REMEMBERED_S: Final = 48 * 3600
"""How long the version of a deleted shadow goes on in one that takes its name."""

THING_NAME: Final = re.compile(r"[a-zA-Z0-9:_-]{1,128}")
SHADOW_NAME: Final = re.compile(r"[a-zA-Z0-9:_-]{1,64}")

BAD_REQUEST, FORBIDDEN, NOT_FOUND, CONFLICT = 400, 403, 404, 409
TOO_LARGE, ENCODING, TOO_MANY, FAILED = 413, 415, 429, 500


class ShadowError(Exception):
    """A request is refused and nothing has changed."""

    def __init__(self, code: int, message: str, token: str | None = None) -> None:
        """`code` is HTTP's, as the service has it; `token` the request's, where it could be read."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.token = token

    def document(self, now: int) -> Json:
        """What is told on the topic `rejected`."""
        return {"code": self.code, "message": self.message, "timestamp": now, **_token(self.token)}


@dataclass(frozen=True, slots=True)
class Key:
    """Which shadow."""

    thing: str
    name: str
    """Empty: the classic one, which has no name."""

    def check(self) -> None:
        """Raises ShadowError where thing or shadow cannot have such a name."""
        if not self.thing:
            raise ShadowError(BAD_REQUEST, "ThingName is missing")
        if not THING_NAME.fullmatch(self.thing):
            raise ShadowError(BAD_REQUEST, f"ThingName must match pattern {THING_NAME.pattern}")
        if self.name and not SHADOW_NAME.fullmatch(self.name):
            raise ShadowError(BAD_REQUEST, f"ShadowName must match pattern {SHADOW_NAME.pattern}")


@dataclass(frozen=True, slots=True)
class Document:
    """A shadow as it is kept."""

    version: int
    state: Json
    """`desired` and `reported`, each only where it holds something. There is no null in it."""
    metadata: Json
    """As the state, but each value is `{"timestamp": when it was last set}`."""

    def told(self) -> Json:
        """As it stands in the topic `documents`."""
        return {"state": self.state, "metadata": self.metadata, "version": self.version}


@dataclass(frozen=True, slots=True)
class Deleted:
    """A shadow that is no more."""

    version: int
    """The last that it had."""
    at: int

    def forgotten(self, now: int) -> bool:
        """Whether a new shadow of that name begins anew."""
        return now - self.at >= REMEMBERED_S


Kept = Document | Deleted


@dataclass(frozen=True, slots=True)
class Request:
    """An update that is well-formed."""

    state: Json | None
    """What it sets, with nulls for what it deletes; None: it deletes all."""
    version: int | None
    """The version that the document must have; None: whichever."""
    token: str | None

    @classmethod
    def read(cls, payload: bytes) -> Request:
        """Read an update. Raises ShadowError."""
        if not payload:
            raise ShadowError(BAD_REQUEST, "Missing update payload")
        fields = _parse(payload)
        token = _read_token(fields)

        def refuse(message: str) -> NoReturn:
            raise ShadowError(BAD_REQUEST, message, token)

        if "state" not in fields:
            refuse("Missing required node: state")
        state = fields["state"]
        if state is not None:
            if not isinstance(state, dict):
                refuse("State node must be an object")
            # `delta` is what follows from the two others: a client that sends a whole document back means no harm.
            state = {name: value for name, value in state.items() if name != "delta"}
            if unknown := sorted(set(state) - set(SECTIONS)):
                refuse(f"State contains an invalid node: {unknown[0]}")
            for name, section in state.items():
                if section is not None and not isinstance(section, dict):
                    refuse(f"{name.capitalize()} node must be an object")
                if _too_deep(section, 1):
                    refuse(_DEEP)
                if _null_in_array(section):
                    refuse(f"State contains an invalid node: null in an array of {name}")
        version = fields.get("version")
        if version is not None and (isinstance(version, bool) or not isinstance(version, int) or version < 0):
            refuse("Invalid version")
        return cls(state, version, token)


@dataclass(frozen=True, slots=True)
class Update:
    """What came of an update."""

    document: Document
    accepted: Json
    delta: Json | None
    """None: what is desired is reported."""
    documents: Json


def update(before: Kept | None, request: Request, now: int) -> Update:
    """Apply an update. Raises ShadowError.

    Values are merged key by key; null deletes a key; arrays are replaced as a whole. An update with a version is
    applied only to the document of that version, so of two that saw the same one the later is refused.
    """
    old = before if isinstance(before, Document) else None
    if request.version is not None:
        if old is None and request.version != 1:
            raise ShadowError(BAD_REQUEST, "Invalid version", request.token)
        if old is not None and request.version != old.version:
            raise ShadowError(CONFLICT, "Version conflict", request.token)
    patch: Json = dict.fromkeys(SECTIONS) if request.state is None else request.state
    state_before, metadata_before = (old.state, old.metadata) if old is not None else ({}, {})
    state = _filled(_merged(state_before, patch))
    if sum(len(_bytes(section)) for section in state.values()) > MAX_STATE_BYTES:
        raise ShadowError(TOO_LARGE, "The payload exceeds the maximum size allowed", request.token)
    metadata = _filled(_stamped(state_before, metadata_before, patch, now))
    document = Document(_next_version(before, now), state, metadata)
    common = {"timestamp": now, **_token(request.token)}
    numbered = {"version": document.version, **common}
    unmet = _difference(state.get("desired", {}), state.get("reported", {}))
    return Update(
        document,
        {"state": request.state, "metadata": _stamps(request.state, now), **numbered},
        {"state": unmet, "metadata": _of(unmet, metadata["desired"]), **numbered} if unmet else None,
        {"previous": old.told() if old is not None else None, "current": document.told(), **common},
    )


def get(kept: Kept | None, key: Key, token: str | None, now: int) -> Json:
    """What is told of a shadow. Raises ShadowError."""
    document = _there(kept, key, token)
    unmet = _difference(document.state.get("desired", {}), document.state.get("reported", {}))
    state = document.state | ({"delta": unmet} if unmet else {})
    return document.told() | {"state": state, "timestamp": now, **_token(token)}


def delete(kept: Kept | None, key: Key, token: str | None, now: int) -> tuple[Deleted, Json]:
    """Delete a shadow; returns what is kept of it, and what is told. Raises ShadowError."""
    document = _there(kept, key, token)
    return Deleted(document.version, now), {"version": document.version, "timestamp": now, **_token(token)}


def read_token(payload: bytes) -> str | None:
    """The client token of a request that says nothing else. Raises ShadowError."""
    return _read_token(_parse(payload)) if payload else None


def encode(document: Json) -> bytes:
    """JSON as it is sent."""
    return _bytes(document)


def _there(kept: Kept | None, key: Key, token: str | None) -> Document:
    if isinstance(kept, Document):
        return kept
    raise ShadowError(NOT_FOUND, f"No shadow exists with name: {key.name or 'Unnamed Shadow'}", token)


def _next_version(before: Kept | None, now: int) -> int:
    if before is None or (isinstance(before, Deleted) and before.forgotten(now)):
        return 1
    return before.version + 1


def _parse(payload: bytes) -> Json:
    if len(payload) > MAX_REQUEST_BYTES:
        raise ShadowError(TOO_LARGE, "The payload exceeds the maximum size allowed")
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        raise ShadowError(ENCODING, "Unsupported documented encoding; supported encoding is UTF-8") from None
    try:
        fields = json.loads(text, parse_constant=_no_constant)
        _bytes(fields)  # a half of a surrogate pair is JSON, and no text
    except RecursionError:
        raise ShadowError(BAD_REQUEST, _DEEP) from None
    except ValueError as error:
        raise ShadowError(BAD_REQUEST, f"Invalid JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ShadowError(BAD_REQUEST, "Invalid JSON: expected an object")
    return fields


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _read_token(fields: Json) -> str | None:
    token = fields.get("clientToken")
    if token is not None and (not isinstance(token, str) or len(token.encode()) > MAX_TOKEN_BYTES):
        raise ShadowError(BAD_REQUEST, "Invalid clientToken")
    return token


def _token(token: str | None) -> Json:
    return {} if token is None else {"clientToken": token}


def _bytes(value: object) -> bytes:
    # Infinity is what a number too large for a double has become.
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _children(value: object) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def _too_deep(value: object, depth: int) -> bool:
    children = _children(value)
    return bool(children) and (depth > MAX_DEPTH or any(_too_deep(child, depth + 1) for child in children))


def _null_in_array(value: object) -> bool:
    """Whether there is a null that deletes nothing, since arrays are replaced as a whole."""
    if isinstance(value, list):
        return any(_has_null(child) for child in value)
    return any(_null_in_array(child) for child in _children(value))


def _has_null(value: object) -> bool:
    return value is None or any(_has_null(child) for child in _children(value))


def _filled(sections: Json) -> Json:
    return {name: section for name, section in sections.items() if section}


def _merged(before: object, patch: Json) -> Json:
    """RFC 7396's merge of an object."""
    merged = dict(before) if isinstance(before, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), value) if isinstance(value, dict) else value
    return merged


def _stamped(before: object, metadata: Json, patch: Json, now: int) -> Json:
    """The metadata of `_merged(before, patch)`, where `metadata` is that of `before`."""
    stamped = dict(metadata) if isinstance(before, dict) else {}
    for name, value in patch.items():
        if value is None:
            stamped.pop(name, None)
        elif isinstance(value, dict):
            inner = before.get(name) if isinstance(before, dict) else None
            stamped[name] = _stamped(inner, stamped.get(name, {}), value, now)
        else:
            stamped[name] = _stamps(value, now)
    return stamped


def _stamps(value: object, now: int) -> Any:
    """The metadata of values that are all set now."""
    if isinstance(value, dict):
        return {name: _stamps(child, now) for name, child in value.items()}
    if isinstance(value, list):
        return [_stamps(child, now) for child in value]
    return {"timestamp": now}


def _difference(desired: Json, reported: Json) -> Json:
    """What of `desired` is not in `reported`."""
    unmet: Json = {}
    for name, value in desired.items():
        there = reported.get(name)
        if isinstance(value, dict) and isinstance(there, dict):
            if inner := _difference(value, there):
                unmet[name] = inner
        elif not _same(value, there):
            unmet[name] = value
    return unmet


def _same(one: object, other: object) -> bool:
    """Equality of JSON: to Python, true is 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())
    return one == other


def _of(part: Json, metadata: Json) -> Json:
    """The metadata of a part of what `metadata` is of; arrays and values are in a part as a whole."""
    return {
        name: _of(value, metadata[name]) if isinstance(value, dict) else metadata[name] for name, value in part.items()
    }
