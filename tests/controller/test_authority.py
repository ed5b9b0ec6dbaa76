"""The authority: what is due when, what its certificates may be used for, and what an operator is told of them."""

import json
import ssl
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from controller.authority.plan import (
    AUTHORITY_LIFETIME_S,
    DAY_S,
    LIFETIME_S,
    RENEWED_S,
    SPREAD_S,
    Authority,
    Issued,
    Realm,
    Subject,
    issuer,
    plan,
    subjects,
)
from controller.authority.watch import CertificateWatch
from controller.fabric.file import FabricError, load
from controller.operator.cli import main
from hitless.tls import Identity, TlsError
from tests.authority import HERE, authority

NOW = 2_000_000_000.0
NODE = Subject(Realm.BUS, "edge1")
FABRIC = Path(__file__).with_name("fabric.yaml")


def issued(subject: Subject, left: float, by: str = "old") -> dict[str, Issued]:
    return {subject.name: Issued(subject, by, NOW + left - LIFETIME_S, NOW + left)}


def own(name: str, age: float) -> Authority:
    return Authority(name, NOW - age, NOW - age + AUTHORITY_LIFETIME_S)


@pytest.mark.parametrize(
    "there, reason",
    [
        ({}, "new"),
        (issued(NODE, RENEWED_S + 1), None),
        (issued(NODE, RENEWED_S - 1), "29 days left"),
        (issued(NODE, -1), "expired"),
        (issued(Subject(Realm.BUS, "edge1", ("10.0.0.9",)), LIFETIME_S), "its addresses have changed"),
        (issued(NODE, LIFETIME_S, by="another"), "another authority issues now"),
    ],
)
def test_a_certificate_is_made_when_it_is_due(there: dict[str, Issued], reason: str | None) -> None:
    due = plan([own("old", 365 * DAY_S)], there, [NODE], NOW).issue
    assert [why for _, why in due] == ([reason] if reason else [])


def test_an_authority_has_a_successor_that_waits_until_everyone_trusts_it() -> None:
    old = own("old", AUTHORITY_LIFETIME_S * 0.81)
    assert plan([], {}, [NODE], NOW).new_authority
    assert plan([old], {}, [NODE], NOW).new_authority
    new = own("new", 0.0)
    assert not plan([old, new], {}, [NODE], NOW).new_authority
    assert issuer([old, new], NOW) == old
    assert issuer([old, new], NOW + SPREAD_S) == new
    assert issuer([old, new], NOW + AUTHORITY_LIFETIME_S * 0.2) == new
    assert issuer([old], NOW + AUTHORITY_LIFETIME_S) is None


def test_who_serves_has_addresses_and_who_is_no_controller_may_not_call_switches() -> None:
    wanted = {(one.realm, one.name): one for one in subjects(load(FABRIC))}
    assert wanted[Realm.BUS, "broker"] == Subject(Realm.BUS, "broker", ("10.0.0.100",), client=False)
    callers = [name for (realm, name), one in wanted.items() if realm is Realm.SWITCHES and one.client]
    assert callers == ["controller"]
    assert not wanted[Realm.BUS, "edge1"].hosts


def test_keys_are_for_their_owner_alone_and_making_twice_changes_nothing(tmp_path: Path) -> None:
    store = authority(tmp_path / "authority", ["edge1"])
    files = {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()}
    assert all(path.stat().st_mode & 0o077 == 0 for path in (*files, store.folder))
    assert store.bring_up_to_date([NODE], time.time()) == []
    assert {path: path.read_bytes() for path in files} == files


def test_a_renewal_that_was_interrupted_is_made_good_by_the_next(tmp_path: Path) -> None:
    store = authority(tmp_path / "authority", ["edge1", "edge2"])
    folder = store.issued_folder(Realm.BUS, "edge1")
    (folder / "tls.key").write_bytes((store.issued_folder(Realm.BUS, "edge2") / "tls.key").read_bytes())
    with pytest.raises(TlsError, match=r"tls\.key is not the key of tls\.crt"):
        Identity(folder).client()
    assert [done.name for done in store.bring_up_to_date((), time.time())] == ["edge1"]
    Identity(folder).client()


def test_the_command_makes_what_a_fabric_needs_and_says_how_long_it_lasts(tmp_path: Path) -> None:
    def hitless(*words: str) -> Result:
        return CliRunner().invoke(main, ["authority", *words, "--folder", str(tmp_path / "a")])

    missing = hitless("show")
    assert missing.exit_code == 1 and "make one with hitless authority init" in missing.output
    assert hitless("init", str(FABRIC)).exit_code == 0
    assert hitless("init", str(FABRIC)).output == "nothing is due\n"
    assert hitless("issue", "controller").exit_code == 1
    assert hitless("issue", "client-camera").exit_code == 0
    assert hitless("renew", "--new-authority").exit_code == hitless("renew", "--all").exit_code == 0
    assert hitless("renew").output == "nothing is due\n"
    access = CliRunner().invoke(main, ["authority", "access", str(FABRIC), "--client", "camera"]).output
    assert "user client-camera\n" in access and "user edge1-emitter\n" in access
    shown = {row["name"]: row for row in json.loads(hitless("show", "--json").output)}
    assert {"broker", "controller", "edge1", "edge1-emitter", "client-camera"} < set(shown)
    assert shown["broker"]["hosts"] == ["10.0.0.100"]


def test_a_node_may_not_be_called_as_the_controller_is(tmp_path: Path) -> None:
    path = tmp_path / "fabric.yaml"
    path.write_text(FABRIC.read_text().replace("edge1:", "controller:"))
    with pytest.raises(FabricError, match=r"nodes.controller: expected another name: on the bus"):
        load(path)


def test_an_operator_hears_of_an_end_weeks_before_and_of_a_wrong_clock(tmp_path: Path) -> None:
    now = time.time()
    store = authority(tmp_path / "authority", ["controller"], now=now)
    watch = CertificateWatch({"controller (bus)": Identity(store.issued_folder(Realm.BUS, "controller"))})
    watch.heard("edge1", now + LIFETIME_S, 2.0)
    assert watch.look(now) == []
    later = now + LIFETIME_S - 20.5 * DAY_S
    watch.heard("edge2", later + 300 * DAY_S, -400.0)
    told = watch.look(later)
    assert [text.split(" (2")[0] for text in told] == [
        "the clock of edge2 is 400 s behind this machine's: set the wrong one of the two",
        "the certificate of controller (bus) expires in 20 days",
        "the certificate of edge1 expires in 20 days",
    ]
    assert watch.look(later) == [] and watch.warnings(later) == told
    watch.heard("edge2", later + 300 * DAY_S, 0.0)
    assert "has expired" in watch.look(now + LIFETIME_S + DAY_S)[0]


def test_a_renewed_certificate_is_served_without_a_restart(tmp_path: Path) -> None:
    store = authority(tmp_path / "authority", [])
    identity = Identity(store.issued_folder(Realm.BUS, "broker"))
    context = identity.server(client_certificate=ssl.CERT_NONE)
    watch = CertificateWatch({"controller (bus)": identity}, servers=[context])
    before = shown(context, identity)
    store.bring_up_to_date((), time.time(), rotate=True)
    assert shown(context, identity) == before
    watch.look(time.time())
    assert shown(context, identity) != before


def shown(server: ssl.SSLContext, client: Identity) -> bytes | None:
    """The certificate that a server shows, without a network between."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.client().wrap_bio(to_client, to_server, server_hostname=HERE)
    other = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(3):
        for side in (one, other):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return one.getpeercert(binary_form=True)
