"""Who one is to others over TLS: a folder with `ca.crt`, `tls.crt` and `tls.key`, in PEM.

The names are those that Kubernetes and cert-manager give the same three files: `ca.crt` holds the authorities that are
trusted, any number of them; `tls.crt` one's own certificate and what stands between it and its authority; `tls.key`
its key. They are read at each connection, so a renewed certificate is used from the next one on.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

AUTHORITY, CERTIFICATE, KEY = "ca.crt", "tls.crt", "tls.key"

_NOT_YET_VALID, _EXPIRED = 9, 10
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL's x509_vfy.h."""


class TlsError(Exception):
    """Certificates that cannot be used; the message says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says of itself."""

    name: str
    """Common name of its subject: the identity."""
    not_before: float
    """Seconds since 1970."""
    not_after: float
    """Seconds since 1970."""

    @classmethod
    def read(cls, pem: bytes) -> Certificate:
        """The first certificate in a PEM file. Raises ValueError."""
        from cryptography import x509  # half of the programs that use TLS never ask for dates

        parsed = x509.load_pem_x509_certificate(pem)
        names = parsed.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return cls(
            str(names[0].value) if names else "",
            parsed.not_valid_before_utc.timestamp(),
            parsed.not_valid_after_utc.timestamp(),
        )

    def problem(self, now: float) -> str | None:
        """Why it is of no use at a time, with the clock that says so; None if it is valid."""
        if now < self.not_before:
            return (
                f"begins to be valid at {_at(self.not_before)}, and this machine's clock says {_at(now)}: set the clock"
            )
        if now > self.not_after:
            return (
                f"expired at {_at(self.not_after)} (this machine's clock says {_at(now)}): renew it, or set the clock"
            )
        return None


@dataclass(frozen=True, slots=True)
class Pem:
    """The content of a folder."""

    authority: bytes
    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Identity:
    """The folder that says who one is."""

    folder: Path

    def read(self) -> Pem:
        """The three files. Raises TlsError."""
        try:
            return Pem(*((self.folder / name).read_bytes() for name in (AUTHORITY, CERTIFICATE, KEY)))
        except OSError as error:
            wanted = f"expected {AUTHORITY}, {CERTIFICATE} and {KEY} in {self.folder}"
            raise TlsError(f"{error.filename}: {error.strerror}: {wanted}") from error

    def certificate(self) -> Certificate:
        """One's own certificate. Raises TlsError."""
        try:
            return Certificate.read(self.read().certificate)
        except ValueError as error:
            raise TlsError(f"{self.folder / CERTIFICATE}: no certificate in PEM: {error}") from error

    def client(self, *, also_public: bool = False) -> ssl.SSLContext:
        """To connect with: the other side has to have a certificate for its address. Raises TlsError.

        `also_public` trusts the authorities of the operating system as well.
        """
        context = ssl.create_default_context() if also_public else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return self._load(context)

    def server(self, *, client_certificate: ssl.VerifyMode = ssl.CERT_REQUIRED) -> ssl.SSLContext:
        """To serve with. Raises TlsError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = client_certificate
        return self._load(context)

    def reload(self, context: ssl.SSLContext) -> None:
        """Have a server use what is in the folder now for its next connections. Raises TlsError."""
        self._load(context)

    def _load(self, context: ssl.SSLContext) -> ssl.SSLContext:
        self.read()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_verify_locations(self.folder / AUTHORITY)
            context.load_cert_chain(self.folder / CERTIFICATE, self.folder / KEY)
        except ssl.SSLError as error:
            reason = {"KEY_VALUES_MISMATCH": f"{KEY} is not the key of {CERTIFICATE}"}.get(error.reason, str(error))
            raise TlsError(f"{self.folder}: {reason}") from error
        return context


def explained(error: ssl.SSLError, now: float) -> str:
    """Why the other side of a connection was refused, or refused us, with the clock where it may be to blame."""
    if isinstance(error, ssl.SSLCertVerificationError):
        clock = f"this machine's clock says {_at(now)}"
        if error.verify_code == _NOT_YET_VALID:
            return f"its certificate is not valid yet, for {clock}: set the clock, if that is wrong"
        if error.verify_code == _EXPIRED:
            return f"its certificate has expired, for {clock}: renew it, or set the clock"
        return f"its certificate is refused: {error.verify_message}"
    return f"no TLS: {(error.reason or str(error)).replace('_', ' ').lower()}"


def _at(time: float) -> str:
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M} UTC"
