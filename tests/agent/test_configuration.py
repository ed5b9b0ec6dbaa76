"""Configurations: pointers, merges and resets as Greengrass documents them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greengrass_agent.deployment.configuration import ConfigurationError, lookup, merge, updated
from greengrass_agent.deployment.interpolation import Context, interpolate
from hitless.mqtt.messages import ConfigurationUpdate

json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc/~"), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from("abc/~"), json, max_size=3)


def test_lookup_follows_a_json_pointer() -> None:
    document = {"a": {"b/c": [10, {"~": 1}]}, "": 5}
    assert lookup(document, "") == document
    assert lookup(document, "/a/b~1c/0") == 10
    assert lookup(document, "/a/b~1c/1/~0") == 1
    for missing in ("/x", "/a/b~1c/2", "/a/b~1c/-1", "/a/b~1c/0/z"):
        with pytest.raises(ConfigurationError, match="no /"):
            lookup(document, missing)
    with pytest.raises(ConfigurationError, match="start with /"):
        lookup(document, "a")


def test_an_update_resets_first_and_then_merges() -> None:
    defaults = {"keep": 1, "list": [1], "deep": {"x": 1, "y": 2}}
    current = {"keep": 7, "list": [9, 9], "deep": {"x": 5, "z": 6}, "own": 3}
    update = ConfigurationUpdate.decode(
        '{"merge": "{\\"deep\\": {\\"y\\": 8}}", "reset": ["/deep/x", "/own", "/list"]}'
    )
    assert updated(current, defaults, update) == {"keep": 7, "list": [1], "deep": {"x": 1, "y": 8, "z": 6}}
    assert updated(current, defaults, ConfigurationUpdate(reset=("",))) == defaults
    assert updated(None, defaults, None) == defaults


def test_lists_are_replaced_and_not_mixed() -> None:
    assert merge({"a": [1, 2, 3]}, {"a": [4]}) == {"a": [4]}


@given(objects, objects)
def test_merging_changes_no_argument_and_can_be_repeated(base: dict[str, object], change: dict[str, object]) -> None:
    before = repr((base, change))
    once = merge(base, change)
    assert merge(once, change) == once
    assert repr((base, change)) == before
    assert merge(base, {}) == base


CONTEXT = Context("/art", "/zip", "/work", "edge1", {"port": 80, "name": "x", "list": [1]})


def test_variables_are_replaced_and_the_shell_keeps_its_own() -> None:
    text = "run {artifacts:path} {artifacts:decompressedPath} {work:path} {iot:thingName} {configuration:/port}"
    assert interpolate(text, CONTEXT) == "run /art /zip /work edge1 80"
    assert interpolate("{configuration:/name}{configuration:/list}", CONTEXT) == "x[1]"
    for own in ("${HOME}", "for i in {1..3}", "a{b,c}", "f() { :; }"):
        assert interpolate(own, CONTEXT) == own


@pytest.mark.parametrize("text", ["{configuration:/nothing}", "{artifacts:paths}", "{iot:thing}"])
def test_a_variable_without_a_value_is_an_error(text: str) -> None:
    with pytest.raises(ConfigurationError):
        interpolate(text, CONTEXT)
