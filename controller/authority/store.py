"""The authority's folder: its own keys, and what it has issued, each in a folder to hand out.

authorities/REALM/ID.crt, ID.key                        never leave this machine
issued/NAME/REALM/ca.crt, tls.crt, tls.key              NAME's machine gets `issued/NAME`
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from controller.authority import certificates
from controller.authority.certificates import Pair
from controller.authority.plan import Authority, Issued, Realm, Subject, issuer, plan, trusted
from hitless.files import write_atomic
from hitless.tls import AUTHORITY, CERTIFICATE, KEY

PRIVATE = 0o600
SUCCESSOR = "new authority, which issues in 90 days: until then hand out every folder, and start mosquitto again once"
Parsed = TypeVar("Parsed")


class AuthorityError(Exception):
    """The authority's folder cannot be used; the message says what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Done:
    """Something that was made."""

    realm: Realm
    name: str
    """Whose certificate it is; empty for an authority of its own."""
    reason: str
    folder: Path


class AuthorityStore:
    """Reads and writes the folder. Every call may raise AuthorityError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def there(self) -> bool:
        """Whether an authority was ever made here."""
        return (self.folder / "authorities").is_dir()

    def issued_folder(self, realm: Realm, name: str) -> Path:
        """Where someone's three files are."""
        return self.folder / "issued" / name / realm

    def authorities(self, realm: Realm) -> list[Authority]:
        """The authorities of a realm."""
        return [
            self._parsed(path, certificates.read_authority)
            for path in sorted((self.folder / "authorities" / realm).glob("*.crt"))
        ]

    def issued(self, realm: Realm) -> list[Issued]:
        """The certificates of a realm. One that an interrupted renewal left with another's key has no issuer."""
        found = []
        for path in sorted((self.folder / "issued").glob(f"*/{realm}/{CERTIFICATE}")):
            one = self._parsed(path, lambda pem: certificates.read_issued(realm, pem))
            whole = certificates.fit(self._read(path), self._read(path.with_name(KEY)))
            found.append(one if whole else replace(one, issuer=""))
        return found

    def bring_up_to_date(self, more: Iterable[Subject], now: float, *, rotate: bool = False) -> list[Done]:
        """Make what is due: new ones, renewals, a successor of an authority; on `rotate`, all certificates anew.

        `more` should be there beside what is there already. Twice in a row changes nothing.
        """
        wanted = {(one.realm, one.name): one for one in (*self._subjects(), *more)}
        return [
            done
            for realm in Realm
            if any(one.realm is realm for one in wanted.values())
            for done in self._realm(realm, [one for one in wanted.values() if one.realm is realm], now, rotate)
        ]

    def new_authority(self, realm: Realm, now: float) -> Done:
        """Make an authority's successor before it is due; it issues once it has spread."""
        first = not self.authorities(realm)
        own, pair = certificates.make_authority(realm, now)
        path = self.folder / "authorities" / realm / f"{own.id}.crt"
        self._write(path.with_suffix(".key"), pair.key)
        self._write(path, pair.certificate)
        return Done(realm, "", "first authority" if first else SUCCESSOR, path)

    def _subjects(self) -> Iterator[Subject]:
        return (one.subject for realm in Realm for one in self.issued(realm))

    def _realm(self, realm: Realm, wanted: Sequence[Subject], now: float, rotate: bool) -> Iterator[Done]:
        issued = {} if rotate else {one.subject.name: one for one in self.issued(realm)}
        wants = plan(self.authorities(realm), issued, wanted, now)
        if wants.new_authority:
            yield self.new_authority(realm, now)
            wants = plan(self.authorities(realm), issued, wanted, now)
        authorities = self.authorities(realm)
        present = issuer(authorities, now)
        assert present is not None, "a realm without one has just been given one"
        pair = self._pair(realm, present)
        for subject, reason in wants.issue:
            folder = self.issued_folder(realm, subject.name)
            made = certificates.issue(subject, pair, now)
            self._write(folder / KEY, made.key)
            self._write(folder / CERTIFICATE, made.certificate)
            yield Done(realm, subject.name, "renewed" if rotate else reason, folder)
        bundle = b"".join(self._pair(realm, one).certificate for one in trusted(authorities, now))
        for subject in wanted:
            path = self.issued_folder(realm, subject.name) / AUTHORITY
            if not path.exists() or path.read_bytes() != bundle:
                self._write(path, bundle)

    def _pair(self, realm: Realm, authority: Authority) -> Pair:
        path = self.folder / "authorities" / realm / f"{authority.id}.crt"
        return Pair(self._read(path), self._read(path.with_suffix(".key")))

    def _parsed(self, path: Path, parse: Callable[[bytes], Parsed]) -> Parsed:
        try:
            return parse(self._read(path))
        except ValueError as error:
            raise AuthorityError(f"{path}: not a certificate of this authority ({error}): move it away") from error

    def _read(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise AuthorityError(f"{path}: {error.strerror}: run this as the owner of {self.folder}") from error

    def _write(self, path: Path, content: bytes) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomic(path, content, mode=PRIVATE)
        except OSError as error:
            raise AuthorityError(f"{path}: {error.strerror}: choose another folder with --folder") from error
