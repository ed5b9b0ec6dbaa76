"""Shadows: who is told to be host or standby, who to drain, and that nobody is told twice."""

from controller.fabric.file import Fabric
from controller.nodes.shadows import Shadows, wanted
from hitless.mqtt.messages import ShadowState
from hitless.steering.policies import Spread

WEB1, WEB2 = ("edge1", "org.example.Web"), ("edge2", "org.example.Web")
RESIZE1 = ("edge1", "org.example.Resize")


def test_only_tcp_services_with_a_known_host_have_roles(fabric: Fabric) -> None:
    states = wanted(fabric, {"web": "edge1", "resize": "edge1"}, (), ())
    assert states[WEB1].role == "host"
    assert states[WEB2].role == "standby"
    assert states[RESIZE1].role is None
    assert {state.role for state in wanted(fabric, {"web": None}, (), ()).values()} == {None}


def test_a_spread_service_has_roles_only_while_it_is_pinned(fabric: Fabric) -> None:
    web = fabric.services["web"]
    spread = fabric.model_copy(update={"services": {"web": web.model_copy(update={"policy": Spread()})}})
    assert wanted(spread, {"web": "edge1"}, (), ())[WEB2].role is None
    assert wanted(spread, {"web": "edge1"}, ("web",), ())[WEB2].role == "standby"


def test_draining_is_told_to_the_one_instance(fabric: Fabric) -> None:
    states = wanted(fabric, {}, (), {("web", "edge1")})
    assert [key for key, state in states.items() if state.draining] == [WEB1]


def test_only_changes_are_told_with_growing_versions(fabric: Fabric) -> None:
    shadows = Shadows(term=3)
    first = shadows.want(wanted(fabric, {"web": "edge1"}, (), ()))
    assert len(first) == 4
    assert shadows.want(wanted(fabric, {"web": "edge1"}, (), ())) == {}
    second = shadows.want(wanted(fabric, {"web": "edge2"}, (), ()))
    assert {key: delta.state.role for key, delta in second.items()} == {WEB1: "standby", WEB2: "host"}
    assert second[WEB1].version > first[WEB1].version


def test_a_later_terms_deltas_are_newer(fabric: Fabric) -> None:
    old, new = Shadows(term=3), Shadows(term=4)
    states = [wanted(fabric, {"web": node}, (), ()) for node in ("edge1", "edge2", "edge1")]
    last = [old.want(state) for state in states][-1]
    assert new.want(states[0])[WEB1].version > last[WEB1].version


def test_a_node_that_comes_is_told_everything_of_its_own(fabric: Fabric) -> None:
    shadows = Shadows(term=1)
    shadows.want(wanted(fabric, {"web": "edge1"}, (), ()))
    assert set(shadows.present("edge1")) == {WEB1, RESIZE1}


def test_a_node_that_reports_another_state_is_told_once(fabric: Fabric) -> None:
    shadows = Shadows(term=1)
    shadows.want(wanted(fabric, {"web": "edge1"}, (), ()))
    wrong = ShadowState(role=None)
    delta = shadows.reported(*WEB1, wrong)
    assert delta is not None
    assert delta.state.role == "host"
    assert shadows.reported(*WEB1, wrong) is None, "telling it again would go on for ever"
    assert shadows.reported(*WEB1, delta.state) is None
    assert shadows.reported(*WEB1, wrong) is not None, "it had it, and has it no more"
    assert shadows.reported("edge1", "org.example.Unknown", wrong) is None
