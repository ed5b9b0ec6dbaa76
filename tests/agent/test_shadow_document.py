"""A shadow's document: AWS IoT's rules, by example and against a model that knows single values only."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greengrass_agent.shadows.document import (
    MAX_STATE_BYTES,
    REMEMBERED_S,
    Deleted,
    Document,
    Key,
    Request,
    ShadowError,
    delete,
    encode,
    get,
    read_token,
    update,
)

Json = dict[str, Any]
KEY = Key("n1", "lamp")

VALUES = st.one_of(st.booleans(), st.integers(-3, 3), st.sampled_from([0.0, 1.0, 2.5]), st.sampled_from(["", "on"]))
ARRAYS = st.lists(st.one_of(VALUES, st.fixed_dictionaries({"x": VALUES})), max_size=2)
NAMES = st.sampled_from(["a", "b", "timestamp"])
PATCHES = st.dictionaries(
    NAMES,
    st.recursive(
        st.one_of(st.none(), VALUES, ARRAYS), lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
    ),
    max_size=3,
)
STATES = st.one_of(
    st.none(), st.dictionaries(st.sampled_from(["desired", "reported"]), st.one_of(st.none(), PATCHES), max_size=2)
)


def change(before: Document | Deleted | None, now: int = 100, **fields: Any) -> Document:
    return update(before, Request.read(json.dumps(fields).encode()), now).document


def refused(call: Any) -> ShadowError:
    with pytest.raises(ShadowError) as raised:
        call()
    return raised.value


def leaves(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """The values and arrays of a state, by their place."""
    if not isinstance(value, dict):
        return {path: value}
    return {place: leaf for name, inner in value.items() for place, leaf in leaves(inner, (*path, name)).items()}


class Model:
    """Each single value with the time when it was set, by its place."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, ...], tuple[Any, int]] = {}

    def apply(self, patch: Any, now: int, path: tuple[str, ...] = ()) -> None:
        if isinstance(patch, dict):
            self.values.pop(path, None)
            for name, inner in patch.items():
                self.apply(inner, now, (*path, name))
            return
        for place in [place for place in self.values if place[: len(path)] == path]:
            del self.values[place]
        if patch is not None:
            self.values[path] = (patch, now)


def times(state: Any, metadata: Any) -> dict[tuple[str, ...], int]:
    """When each value of a state was set; fails where the metadata has another shape."""
    found = {}

    def look(value: Any, meta: Any, path: tuple[str, ...]) -> int:
        if isinstance(value, dict):
            assert isinstance(meta, dict) and value.keys() == meta.keys()
            return max([look(inner, meta[name], (*path, name)) for name, inner in value.items()], default=0)
        if isinstance(value, list):
            assert isinstance(meta, list) and len(value) == len(meta)
            return max([look(*pair, (*path, "[]")) for pair in zip(value, meta, strict=True)], default=0)
        assert meta.keys() == {"timestamp"}
        found[path] = meta["timestamp"]
        return int(meta["timestamp"])

    look(state, metadata, ())
    return found


@given(st.lists(STATES, max_size=6))
def test_values_and_times_are_those_of_the_last_who_set_them(patches: list[Json | None]) -> None:
    model, document = Model(), None
    for number, patch in enumerate(patches, start=1):
        document = change(document, now=number, state=patch)
        model.apply({"desired": None, "reported": None} if patch is None else patch, number)
        assert document.version == number
        assert leaves(document.state) == {place: value for place, (value, _) in model.values.items()}
        told = times(document.state, document.metadata)
        for place, (value, when) in model.values.items():
            if not isinstance(value, list):
                assert told[place] == when
        assert all(document.state.values()), "an empty section is none"


def test_a_value_that_becomes_an_object_and_back_keeps_no_time_of_the_other() -> None:
    document = change(None, now=1, state={"desired": {"a": 1}})
    document = change(document, now=2, state={"desired": {"a": {"b": 1}}})
    assert document.metadata == {"desired": {"a": {"b": {"timestamp": 2}}}}
    document = change(document, now=3, state={"desired": {"a": {"timestamp": 1}}})
    document = change(document, now=4, state={"desired": {"a": 1}})
    assert document.metadata == {"desired": {"a": {"timestamp": 4}}}


@given(STATES, STATES)
def test_whoever_reports_the_delta_has_what_is_desired(first: Json | None, second: Json | None) -> None:
    document = change(None, state=first)
    updated = update(document, Request.read(json.dumps({"state": second}).encode()), 100)
    if updated.delta is None:
        return
    times(updated.delta["state"], updated.delta["metadata"])
    after = update(updated.document, Request.read(encode({"state": {"reported": updated.delta["state"]}})), 101)
    assert after.delta is None
    assert "delta" not in get(after.document, KEY, None, 101)["state"]


@given(STATES, STATES, STATES)
def test_of_two_that_saw_the_same_version_one_is_refused(base: Json, one: Json, other: Json) -> None:
    seen = change(None, state=base)
    first = change(seen, state=one, version=seen.version)
    error = refused(lambda: change(first, state=other, version=seen.version, clientToken="t"))
    assert (error.code, error.message) == (409, "Version conflict")
    assert error.document(7) == {"code": 409, "message": "Version conflict", "timestamp": 7, "clientToken": "t"}
    assert change(first, state=other, version=first.version).version == first.version + 1


FIELDS = st.sampled_from(["state", "desired", "reported", "version", "clientToken", "x"])
NEAR_MISSES = st.dictionaries(FIELDS, st.one_of(st.none(), VALUES, ARRAYS, PATCHES, STATES), max_size=3)


@given(st.one_of(st.binary(max_size=20), NEAR_MISSES.map(lambda value: json.dumps(value).encode())))
def test_whatever_is_sent_is_taken_or_refused_with_a_code(payload: bytes) -> None:
    for read in (Request.read, read_token):
        try:
            read(payload)
        except ShadowError as error:
            assert error.code in (400, 413, 415) and error.message


def nested(levels: int) -> Json:
    return {} if levels == 0 else {"a": nested(levels - 1)}


@pytest.mark.parametrize(
    "payload, code, message",
    [
        (b"", 400, "Missing update payload"),
        (b"{", 400, "Invalid JSON: "),
        (b"[1]", 400, "Invalid JSON: expected an object"),
        (b'{"state": {"desired": {"a": NaN}}}', 400, "Invalid JSON: NaN"),
        (b'{"state": {"desired": {"a": 1e999}}}', 400, "Invalid JSON: "),
        (b'{"state": {"desired": {"a": "\\ud800"}}}', 400, "Invalid JSON: "),
        (b"\xff", 415, "Unsupported documented encoding"),
        (b"[" * 100_000, 400, "JSON contains too many levels of nesting; maximum is 6"),
        (b" " * 140_000, 413, "The payload exceeds the maximum size allowed"),
        (b"{}", 400, "Missing required node: state"),
        (b'{"state": 1}', 400, "State node must be an object"),
        (b'{"state": {"desired": 1}}', 400, "Desired node must be an object"),
        (b'{"state": {"reported": []}}', 400, "Reported node must be an object"),
        (b'{"state": {"wanted": {}}}', 400, "State contains an invalid node: wanted"),
        (b'{"state": {"desired": {"a": [1, {"b": null}]}}}', 400, "State contains an invalid node: null in an array"),
        (b'{"state": {}, "version": -1}', 400, "Invalid version"),
        (b'{"state": {}, "version": true}', 400, "Invalid version"),
        (b'{"state": {}, "version": "1"}', 400, "Invalid version"),
        (b'{"state": {}, "version": 2}', 400, "Invalid version"),
        (json.dumps({"state": {}, "clientToken": "é" * 33}).encode(), 400, "Invalid clientToken"),
        (json.dumps({"state": {"desired": nested(7)}}).encode(), 400, "JSON contains too many levels of nesting"),
        (json.dumps({"state": {"desired": {"a": "x" * 8192}}}).encode(), 413, "The payload exceeds the maximum size"),
    ],
)
def test_what_is_refused(payload: bytes, code: int, message: str) -> None:
    error = refused(lambda: update(None, Request.read(payload), 100))
    assert error.code == code and error.message.startswith(message)


def test_the_limits_are_those_that_stay_within() -> None:
    assert change(None, state={"desired": nested(6)}).state == {"desired": nested(6)}
    full = {"a": "x" * (MAX_STATE_BYTES // 2 - len('{"a":""}'))}
    document = change(None, state={"desired": full, "reported": full})
    assert refused(lambda: change(document, state={"reported": {"b": 1}})).code == 413, "both sections count"
    assert change(document, state={"desired": {"a": None}, "reported": {"b": 1}}).version == 2


def test_what_is_told_of_an_update() -> None:
    first = change(None, now=10, state={"desired": {"color": "red", "on": True}, "reported": {"color": "red", "on": 1}})
    told = update(
        first,
        Request({"desired": {"color": "green"}, "reported": {"gone": None}}, 1, "t"),
        20,
    )
    common = {"version": 2, "timestamp": 20, "clientToken": "t"}
    assert told.accepted == {
        "state": {"desired": {"color": "green"}, "reported": {"gone": None}},
        "metadata": {"desired": {"color": {"timestamp": 20}}, "reported": {"gone": {"timestamp": 20}}},
        **common,
    }
    assert told.delta == {
        "state": {"color": "green", "on": True},  # true is not 1
        "metadata": {"color": {"timestamp": 20}, "on": {"timestamp": 10}},
        **common,
    }
    assert told.documents == {
        "previous": {"state": first.state, "metadata": first.metadata, "version": 1},
        "current": {"state": told.document.state, "metadata": told.document.metadata, "version": 2},
        "timestamp": 20,
        "clientToken": "t",
    }
    assert get(told.document, KEY, None, 30) == {
        "state": {**told.document.state, "delta": {"color": "green", "on": True}},
        "metadata": told.document.metadata,
        "version": 2,
        "timestamp": 30,
    }


def test_a_document_that_is_sent_back_as_it_came_is_taken() -> None:
    document = change(None, state={"desired": {"a": 1}})
    assert change(document, **get(document, KEY, None, 100)).state == document.state


def test_a_shadow_that_is_deleted_and_made_again() -> None:
    document = change(change(None, state={"desired": {"a": 1}}), state={})
    deleted, told = delete(document, KEY, "t", 50)
    assert told == {"version": 2, "timestamp": 50, "clientToken": "t"}
    for call in (lambda: get(deleted, KEY, None, 50), lambda: delete(deleted, KEY, None, 50)):
        assert (refused(call).code, refused(call).message) == (404, "No shadow exists with name: lamp")
    assert refused(lambda: get(None, Key("n1", ""), None, 50)).message.endswith("Unnamed Shadow")
    again = change(deleted, now=60, state={"reported": {"b": 1}}, version=1)
    assert (again.version, again.state) == (3, {"reported": {"b": 1}}), "its version goes on"
    assert change(deleted, now=50 + REMEMBERED_S, state={}).version == 1


@pytest.mark.parametrize("key", [Key("", "a"), Key("a/b", ""), Key("n1", "a.b"), Key("n1", "x" * 65), Key("n+", "")])
def test_names_that_no_shadow_has(key: Key) -> None:
    assert refused(key.check).code == 400
