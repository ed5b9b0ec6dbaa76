"""Keys of reports: made once, rotated in steps between which every tagged report verifies, kept for the owner alone."""

from itertools import count
from pathlib import Path

import pytest

from controller.fabric.file import Fabric, load
from controller.keys.ring import KEY_IDS, LINGER_S, BindingKeys, KeyRing, Rotation
from controller.state import KeyFile, StateError
from controller.switches.entries import Overrides, Place, desired_entries
from hitless.wire.report import Key

PAIR = load(Path(__file__).with_name("fabric.yaml"))
DETECT = ("detect", "edge2")


def with_authentication(word: str) -> Fabric:
    return PAIR.model_copy(update={"reports": PAIR.reports.model_copy(update={"authentication": word})})


FABRIC = with_authentication("required")


def ring_of(fabric: Fabric = FABRIC, known: dict[tuple[str, str], BindingKeys] | None = None) -> KeyRing:
    numbers = count(1)
    return KeyRing.of(fabric, known or {}, lambda: next(numbers).to_bytes(16))


def accepted(ring: KeyRing) -> set[Key]:
    keys = ring.on_switches[DETECT]
    return {keys.current} | ({keys.next} if keys.next else set())


def test_every_binding_has_a_key_of_its_own() -> None:
    ring = ring_of()
    assert set(ring.on_switches) == {(name, node) for name, one in PAIR.services.items() for node in one.instances}
    assert len({keys.current.secret for keys in ring.on_switches.values()}) == 6
    assert ring_of(PAIR).on_switches == {}


def test_known_keys_are_kept_and_others_forgotten() -> None:
    known = {DETECT: BindingKeys(Key(9, b"k" * 16)), ("gone", "edge1"): BindingKeys(Key(1, b"g" * 16))}
    ring = ring_of(known=known)
    assert ring.on_switches[DETECT] == known[DETECT]
    assert ("gone", "edge1") not in ring.on_switches


def test_a_rotation_has_no_step_in_which_a_tagged_report_fails() -> None:
    ring = ring_of()
    old = ring.on_switches[DETECT].current
    assert ring.rotate([DETECT]) == [DETECT]
    new = ring.on_switches[DETECT].next
    assert new is not None
    assert new.secret != old.secret
    assert new.id != old.id
    assert ring.at_nodes[DETECT] == old, "no switch knows the new key yet"

    assert not ring.confirmed(DETECT, new.id, 1.0), "nobody was told of it"
    assert ring.written(dict(ring.on_switches))
    assert ring.at_nodes[DETECT] == new
    assert accepted(ring) == {old, new}

    assert not ring.confirmed(DETECT, old.id, 2.0)
    assert ring.settle(100.0) == [], "the node has not confirmed"
    assert ring.confirmed(DETECT, new.id, 100.0)
    assert ring.settle(100.0 + LINGER_S / 2) == [], "what it sent before may still arrive"
    assert ring.next_due() == 100.0 + LINGER_S
    assert ring.settle(100.0 + LINGER_S) == [DETECT]
    assert accepted(ring) == {new}
    assert ring.at_nodes[DETECT] == new
    assert ring.rotating == {}


def test_a_write_of_older_keys_offers_nothing() -> None:
    ring = ring_of()
    before = dict(ring.on_switches)
    ring.rotate([DETECT])
    assert not ring.written(before)
    assert ring.rotating == {DETECT: Rotation.MADE}


def test_a_rotation_under_way_goes_on_as_it_is() -> None:
    ring = ring_of()
    ring.rotate([DETECT])
    keys = ring.on_switches[DETECT]
    assert ring.rotate([DETECT, ("detect", "edge1")]) == [("detect", "edge1")]
    assert ring.on_switches[DETECT] == keys


def test_a_restart_in_mid_rotation_accepts_both_keys_and_begins_again_with_the_old() -> None:
    ring = ring_of()
    ring.rotate([DETECT])
    ring.written(dict(ring.on_switches))
    both = accepted(ring)
    again = ring_of(known=dict(ring.on_switches))
    assert accepted(again) == both
    assert again.at_nodes[DETECT] in both
    assert again.written(dict(again.on_switches))
    assert again.at_nodes[DETECT] == ring.at_nodes[DETECT]


def test_ids_go_round_and_are_never_zero() -> None:
    ring = ring_of(known={DETECT: BindingKeys(Key(KEY_IDS, b"k" * 16))})
    ring.rotate([DETECT])
    following = ring.on_switches[DETECT].next
    assert following is not None
    assert following.id == 1


def test_a_rotation_is_taken_back() -> None:
    ring = ring_of()
    before = dict(ring.on_switches)
    ring.rotate([DETECT])
    ring.restore(before)
    assert ring.on_switches == before


@pytest.mark.parametrize(("word", "demanded"), [("required", 1), ("accepted", 0)])
def test_what_a_switch_is_told(word: str, demanded: int) -> None:
    fabric = with_authentication(word)
    keys = {DETECT: BindingKeys(Key(7, bytes(range(16))), Key(8, b"n" * 16))}
    entries = desired_entries(fabric, "s1", Overrides(keys=keys))
    host = fabric.hosts["edge2"]
    place = Place("bindings", (("port", 3), ("source", int(host.address)), ("service_id", 2), ("node_id", 2)))
    params = dict(entries[place].params)
    assert (params["key_id"], params["next_key_id"], params["authenticate"]) == (7, 8, demanded)
    assert params["key"].to_bytes(16) == bytes(range(16))
    assert str(params["key"]) not in str(entries[place]), "a log would show it"
    assert str(params["next_key"]) not in str(entries[place])


def test_without_a_next_key_no_second_one_is_accepted() -> None:
    keys = {DETECT: BindingKeys(Key(7, b"k" * 16))}
    entries = desired_entries(FABRIC, "s1", Overrides(keys=keys))
    (bound,) = [
        dict(act.params)
        for place, act in entries.items()
        if place.table == "bindings" and dict(act.params)["key_id"] == 7
    ]
    assert (bound["next_key_id"], bound["next_key"]) == (bound["key_id"], bound["key"])


def test_keys_are_on_disk_for_the_owner_alone(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "deep" / "keys.json")
    assert file.load() == {}
    keys = {
        DETECT: BindingKeys(Key(7, b"k" * 16), Key(8, b"n" * 16)),
        ("detect", "edge1"): BindingKeys(Key(1, bytes(16))),
    }
    file.save(keys)
    assert file.load() == keys
    assert file.path.stat().st_mode & 0o777 == 0o600
    file.path.write_text('{"format": 1, "keys": [{"service": "detect"}]}')
    with pytest.raises(StateError, match="not a key file"):
        file.load()
