"""Configurations: pointers, merges and resets as Greengrass documents them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greengrass_agent.deployment.configuration import ConfigurationError, lookup, merge, updated
from greengrass_agent.deployment.interpolation import Component, Context, Folders, interpolate, unset
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


OWN = Component({"port": 80, "name": "x", "list": [1]}, Folders("/art", "/zip", "/work"))
BASE = Component({"Port": 1111}, Folders("/base/art", "/base/zip", "/base/work"))
CONTEXT = Context(OWN, {"org.example.Base": BASE}, thing_name="edge1", root="/agent")


def test_variables_are_replaced_and_the_shell_keeps_its_own() -> None:
    text = "run {artifacts:path} {artifacts:decompressedPath} {work:path} {iot:thingName} {configuration:/port}"
    assert interpolate(text, CONTEXT) == "run /art /zip /work edge1 80"
    assert interpolate("{kernel:rootPath}/x", CONTEXT) == "/agent/x"
    assert interpolate("{configuration:/name}{configuration:/list}", CONTEXT) == "x[1]"
    for own in ("${HOME}", "for i in {1..3}", "a{b,c}", "f() { :; }"):
        assert interpolate(own, CONTEXT) == own


def test_a_dependency_has_variables_of_its_own_whatever_the_case_of_its_keys() -> None:
    text = "{org.example.Base:artifacts:path} {org.example.Base:configuration:/port} {configuration:/PORT}"
    assert interpolate(text, CONTEXT) == "/base/art 1111 80"
    with pytest.raises(ConfigurationError, match=r"expected org\.example\.Else among the recipe's dependencies"):
        interpolate("{org.example.Else:artifacts:path}", CONTEXT)


def test_a_configuration_that_is_not_set_leaves_its_variable_as_on_greengrass() -> None:
    text = interpolate("run --key={configuration:/nothing} --port={configuration:/port}", CONTEXT)
    assert text == "run --key={configuration:/nothing} --port=80"
    assert unset(text) == ["{configuration:/nothing}"]


def test_a_key_in_another_case_is_the_same_key() -> None:
    assert merge({"Message": "a", "deep": {"X": 1}}, {"message": "b", "DEEP": {"x": 2}}) == {
        "Message": "b",
        "deep": {"X": 2},
    }
    assert updated({"MESSAGE": "b"}, {"message": "a"}, ConfigurationUpdate(reset=("/Message",))) == {"message": "a"}


@pytest.mark.parametrize("text", ["{configuration:nothing}", "{artifacts:paths}", "{iot:thing}"])
def test_a_variable_that_does_not_exist_is_an_error(text: str) -> None:
    with pytest.raises(ConfigurationError):
        interpolate(text, CONTEXT)
