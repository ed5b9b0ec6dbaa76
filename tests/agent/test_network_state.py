"""What must be done where some of what the agent sets in the kernel is missing."""

from dataclasses import replace

import pytest

from greengrass_agent.host.network_state import SETTINGS, Found, MissingError, Route, changes

ADDRESS, GATEWAY, SERVICE = "10.9.0.11", "10.9.0.254", "10.96.0.9"
ROUTE = "ip route replace default via 10.9.0.254 dev eth0 src 10.9.0.11 table 10960"
WHOLE = Found(
    interface="eth0",
    default_gateway=GATEWAY,
    route=Route(GATEWAY, "eth0", ADDRESS),
    rules=frozenset({100, 200, 32766, 32767}),
    addresses=frozenset({"127.0.0.1", SERVICE}),
    settings={"all": {"rp_filter": "0"}, "eth0": dict(SETTINGS)},
)


def to_do(found: Found, gateway: str | None = None) -> list[str]:
    return [str(one) for one in changes(found, ADDRESS, gateway, [SERVICE])]


def test_nothing_is_done_where_nothing_is_missing() -> None:
    assert to_do(WHOLE) == []


def test_each_thing_that_is_missing_is_set_and_nothing_else() -> None:
    assert to_do(replace(WHOLE, route=None)) == [ROUTE]
    assert to_do(replace(WHOLE, route=Route(GATEWAY, "eth0", "10.9.0.12"))) == [ROUTE]
    assert to_do(replace(WHOLE, addresses=frozenset())) == [f"ip address replace {SERVICE}/32 dev lo"]
    assert to_do(replace(WHOLE, settings={**WHOLE.settings, "all": {"rp_filter": "2"}})) == [
        "net.ipv4.conf.all.rp_filter = 0"
    ]
    assert len(to_do(replace(WHOLE, interface="eth1"))) == len(SETTINGS) + 1, "settings and route of the new interface"


def test_the_table_local_is_looked_up_at_any_moment() -> None:
    assert to_do(replace(WHOLE, rules=frozenset({0, 32766}))) == [
        "ip rule add pref 200 lookup local",
        "ip rule add pref 100 iif lo to 10.96.0.0/16 lookup 10960",
        "ip rule del pref 0",
    ]


def test_own_calls_follow_the_default_route_unless_they_have_a_next_hop_of_their_own() -> None:
    moved = replace(WHOLE, default_gateway="10.9.0.1")
    assert to_do(moved) == [ROUTE.replace(GATEWAY, "10.9.0.1")]
    assert to_do(moved, GATEWAY) == []
    assert to_do(replace(WHOLE, default_gateway=None), GATEWAY) == []


def test_what_the_agent_does_not_set_is_told() -> None:
    with pytest.raises(MissingError, match=r"no interface has the node's address 10\.9\.0\.11"):
        to_do(replace(WHOLE, interface=None))
    with pytest.raises(MissingError, match="no default route"):
        to_do(replace(WHOLE, default_gateway=None))


def test_what_ip_says_is_read() -> None:
    routes = [
        {"dst": "default", "gateway": "10.9.0.1", "dev": "eth0", "table": "10960", "prefsrc": ADDRESS},
        {"dst": "default", "gateway": GATEWAY, "dev": "eth0"},
        {"dst": "10.9.0.0/24", "dev": "eth0"},
        {"dst": SERVICE, "dev": "lo", "table": "local", "type": "local"},
    ]
    links = [
        {"ifname": "lo", "addr_info": [{"local": "127.0.0.1"}, {"local": SERVICE}]},
        {"ifname": "eth0", "addr_info": [{"local": ADDRESS}]},
    ]
    found = Found.of(ADDRESS, links, routes, [{"priority": 100}, {"priority": 200}], WHOLE.settings)
    assert found == replace(WHOLE, route=Route("10.9.0.1", "eth0", ADDRESS), rules=frozenset({100, 200}))
