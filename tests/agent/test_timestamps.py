"""What components change of their own configuration: which values, and which of two changes wins."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greengrass_agent.deployment.configuration import ConfigurationError, UnsetError, tokens_of
from greengrass_agent.deployment.timestamps import OutdatedError, changes, find, merged, stamped

BASE: dict[str, Any] = {"mqtt": {"port": 8883, "Host": "here"}, "list": [1, {"a": 2}], "on": True}


def test_a_value_is_found_by_its_keys_in_any_case_and_told_by_its_own() -> None:
    assert find(BASE, ()) == (None, BASE)
    assert find(BASE, ("MQTT", "host")) == ("Host", "here")
    for missing in (("x",), ("mqtt", "port", "x"), ("list", "0")):
        with pytest.raises(UnsetError, match="no /"):
            find(BASE, missing)


def test_a_change_is_merged_where_its_keys_lead_and_objects_are_made_on_the_way() -> None:
    configuration, times = merged(BASE, {}, ("mqtt",), {"port": 1, "tls": {"on": False}}, 5)
    assert configuration["mqtt"] == {"port": 1, "Host": "here", "tls": {"on": False}}
    assert times == {"/mqtt/port": 5, "/mqtt/tls/on": 5}
    configuration, times = merged(configuration, times, ("new", "deep"), {"x": []}, 6)
    assert (configuration["new"], times["/new/deep/x"]) == ({"deep": {"x": []}}, 6)
    assert BASE["mqtt"] == {"port": 8883, "Host": "here"}
    with pytest.raises(ConfigurationError, match="/mqtt/port is no object, so it has no x"):
        merged(BASE, {}, ("mqtt", "port", "x"), {"y": 1}, 7)


def test_an_older_change_fails_as_a_whole_and_one_of_the_same_time_does_not() -> None:
    configuration, times = merged(BASE, {}, ("mqtt",), {"PORT": 1}, 100)
    for keys, change in (
        ((), {"on": False, "mqtt": {"port": 2}}),
        (("mqtt",), {"port": {"deep": 2}}),
        ((), {"MQTT": 3}),
    ):
        with pytest.raises(OutdatedError, match="/mqtt/port was set at 100, which is later than 99"):
            merged(configuration, times, keys, change, 99)
        merged(configuration, times, keys, change, 100)
    assert merged(configuration, times, (), {"on": False, "mqtt": {"Host": "there"}}, 1)[1]["/on"] == 1


def test_times_go_with_the_values_that_they_are_of() -> None:
    configuration, times = merged(BASE, {"/mqtt/port": 3, "/mqtt/Host": 4}, (), {"mqtt": 1}, 5)
    assert times == {"/mqtt": 5}
    assert stamped(configuration, times, {"mqtt": 1, "on": False}, 9) == {"/mqtt": 5, "/on": 9}


def test_changes_are_told_by_the_value_and_not_by_the_object_that_holds_it() -> None:
    after = {"mqtt": {"port": 1, "Host": "here"}, "list": [1], "new": {"deep": 2}}
    assert sorted(changes(BASE, after)) == [("list",), ("mqtt", "port"), ("new", "deep"), ("on",)]
    assert changes(BASE, BASE) == []


objects = st.recursive(
    st.integers(0, 3), lambda inner: st.dictionaries(st.sampled_from("abC/~"), inner, max_size=3), max_leaves=8
).filter(lambda value: isinstance(value, dict))


@given(objects, objects)
def test_a_newer_change_always_succeeds_and_stays_against_every_older_one(base: Any, change: Any) -> None:
    configuration, times = merged(base, {}, (), change, 10)
    assert all(time == 10 for time in times.values())
    for pointer in times:
        *keys, last = tokens_of(pointer)
        with pytest.raises(OutdatedError):
            merged(configuration, times, keys, {last: 99}, 9)
