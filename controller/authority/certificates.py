"""X.509 certificates made and read, with the `cryptography` package: ECDSA on P-256, as RFC 5280 wants them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import NameOID
from cryptography.x509.oid import ExtendedKeyUsageOID

from controller.authority.plan import AUTHORITY_LIFETIME_S, BACKDATED_S, LIFETIME_S, Authority, Issued, Realm, Subject

Extension = TypeVar("Extension", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, in PEM."""

    certificate: bytes
    key: bytes


def make_authority(realm: Realm, now: float) -> tuple[Authority, Pair]:
    """A new self-signed authority. Its name differs from its predecessor's, or chains could be built with the wrong."""
    key = ec.generate_private_key(ec.SECP256R1())
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    name = _name(f"hitless {realm} authority {own.digest.hex()[:8]}")
    until = now + AUTHORITY_LIFETIME_S
    certificate = (
        _builder(name, name, key.public_key(), now, until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(own, critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(own.digest.hex(), now - BACKDATED_S, until), _pem(certificate, key)


def issue(subject: Subject, authority: Pair, now: float) -> Pair:
    """A certificate with a new key, no longer valid than its authority."""
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    issuer_key = serialization.load_pem_private_key(authority.key, None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    until = min(now + LIFETIME_S, issuer.not_valid_after_utc.timestamp())
    purposes = [ExtendedKeyUsageOID.CLIENT_AUTH] * subject.client
    purposes += [ExtendedKeyUsageOID.SERVER_AUTH] * bool(subject.hosts)
    builder = (
        _builder(_name(subject.name), issuer.subject, key.public_key(), now, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if subject.hosts:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_general_name(host) for host in subject.hosts]), critical=False
        )
    return _pem(builder.sign(issuer_key, hashes.SHA256()), key)


def read_authority(pem: bytes) -> Authority:
    """What an authority's certificate says. Raises ValueError."""
    certificate = x509.load_pem_x509_certificate(pem)
    own = _extension(certificate, x509.SubjectKeyIdentifier).digest.hex()
    return Authority(own, certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp())


def read_issued(realm: Realm, pem: bytes) -> Issued:
    """What a certificate says that `issue` made. Raises ValueError."""
    certificate = x509.load_pem_x509_certificate(pem)
    (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    purposes = _extension(certificate, x509.ExtendedKeyUsage)
    try:
        served = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hosts = tuple(str(one.value) for one in served)
    except x509.ExtensionNotFound:
        hosts = ()
    subject = Subject(realm, str(name.value), hosts, client=ExtendedKeyUsageOID.CLIENT_AUTH in purposes)
    return Issued(
        subject,
        (_extension(certificate, x509.AuthorityKeyIdentifier).key_identifier or b"").hex(),
        certificate.not_valid_before_utc.timestamp(),
        certificate.not_valid_after_utc.timestamp(),
    )


def fit(certificate: bytes, key: bytes) -> bool:
    """Whether a certificate and a key in PEM belong together."""
    try:
        own = serialization.load_pem_private_key(key, None).public_key()
    except ValueError:
        return False
    return x509.load_pem_x509_certificate(certificate).public_key() == own


def _extension(certificate: x509.Certificate, kind: type[Extension]) -> Extension:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound as error:
        raise ValueError(f"it has no {kind.__name__}") from error


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: float, until: float
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.fromtimestamp(int(now - BACKDATED_S), UTC))
        .not_valid_after(datetime.fromtimestamp(int(until), UTC))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
