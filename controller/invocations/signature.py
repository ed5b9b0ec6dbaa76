"""AWS's Signature Version 4: who sent a request, and that nobody has changed it. Pure: the time is an argument.

AWS, "Signature Version 4 signing process" and "Create a signed AWS API request". The path is encoded once more than it
came, as for every service but S3. Signatures in the query are not taken, nor paths that signing would shorten.
"""

from __future__ import annotations

import configparser
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote

from controller.invocations.errors import LambdaError

ALGORITHM = "AWS4-HMAC-SHA256"
SKEW_S = 300
"""How far the caller's clock may be from this machine's."""
SERVICE = "lambda"
_FIELDS = re.compile(
    rf"{ALGORITHM} +Credential=(?P<key>[^/,\s]+)/(?P<date>\d{{8}})/(?P<region>[a-z0-9-]+)/(?P<service>[a-z0-9-]+)"
    r"/aws4_request, *SignedHeaders=(?P<headers>[a-z0-9;._-]+), *Signature=(?P<signature>[0-9a-f]{64})"
)
_TIME = "%Y%m%dT%H%M%SZ"


class KeysError(ValueError):
    """A file of access keys that cannot be used; the message shows nothing of them."""


def access_keys(text: str) -> dict[str, str]:
    """Secrets by access key, of a file in the form of AWS's shared credentials. Raises KeysError."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
    except configparser.Error:
        raise KeysError("expected sections of aws_access_key_id and aws_secret_access_key") from None
    keys: dict[str, str] = {}
    for name in parser.sections():
        section = parser[name]
        key, secret = section.get("aws_access_key_id", ""), section.get("aws_secret_access_key", "")
        if not key or not secret:
            raise KeysError(f"[{name}]: expected aws_access_key_id and aws_secret_access_key")
        if key in keys:
            raise KeysError(f"[{name}]: the access key is that of another section")
        keys[key] = secret
    if not keys:
        raise KeysError("expected at least one section with aws_access_key_id and aws_secret_access_key")
    return keys


def verify(
    keys: Mapping[str, str],
    method: str,
    path: str,
    query: str,
    headers: Sequence[tuple[str, str]],
    body: bytes,
    now: float,
) -> str:
    """The access key that signed a request; `path` and `query` are as they came. Raises LambdaError."""
    values: dict[str, list[str]] = {}
    for name, value in headers:
        values.setdefault(name.lower(), []).append(" ".join(value.split()))
    given = ",".join(values.get("authorization", ()))
    if not given:
        raise _refusal("MissingAuthenticationTokenException", "Missing Authentication Token: sign the request (SigV4)")
    fields = _FIELDS.fullmatch(given)
    if fields is None:
        raise _refusal("IncompleteSignatureException", f"Authorization header: expected {ALGORITHM} with its fields")
    time_text = ",".join(values.get("x-amz-date", ()))
    signed = fields["headers"].split(";")
    if "host" not in signed or "x-amz-date" not in signed or fields["service"] != SERVICE:
        raise _refusal(
            "IncompleteSignatureException", f"expected a signature for {SERVICE} that covers host and x-amz-date"
        )
    # What decides what is done must be what was signed.
    loose = [name for name in values if name.startswith("x-amz-") and name not in signed]
    if loose:
        raise _refusal("InvalidSignatureException", f"not covered by the signature: {', '.join(sorted(loose))}")
    secret = keys.get(fields["key"])
    if secret is None:
        raise _refusal("UnrecognizedClientException", "The security token included in the request is invalid.")
    if set(path.split("/")[1:-1]) & {"", ".", ".."} or path.endswith(("/.", "/..")):
        # A signature is of the path without these, so that others than the signed one would pass.
        raise _refusal("InvalidSignatureException", "a path with empty segments, . or .. cannot be signed for certain")
    digest = hashlib.sha256(body).hexdigest()
    canonical = "\n".join(
        (
            method,
            quote(path, safe="/~"),
            _query(query),
            *(f"{name}:{','.join(values.get(name, ()))}" for name in signed),
            "",
            fields["headers"],
            digest,
        )
    )
    scope = f"{fields['date']}/{fields['region']}/{SERVICE}/aws4_request"
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    wanted = _sign(secret, fields["date"], fields["region"], f"{ALGORITHM}\n{time_text}\n{scope}\n{hashed}")
    if not hmac.compare_digest(wanted, fields["signature"]):
        raise _refusal(
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method.",
        )
    _check_time(time_text, fields["date"], now)
    return fields["key"]


def _check_time(text: str, date: str, now: float) -> None:
    try:
        at = datetime.strptime(text, _TIME).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise _refusal("IncompleteSignatureException", "x-amz-date: expected such as 20261130T200000Z") from None
    if not text.startswith(date) or abs(at - now) > SKEW_S:
        here = datetime.fromtimestamp(now, UTC).strftime(_TIME)
        raise _refusal(
            "InvalidSignatureException",
            f"Signature expired or not yet current: {text} is more than {SKEW_S} s from {here}: set the wrong clock",
        )


def _query(query: str) -> str:
    pairs = parse_qsl(query, keep_blank_values=True)
    encoded = sorted((quote(name, safe="~"), quote(value, safe="~")) for name, value in pairs)
    return "&".join(f"{name}={value}" for name, value in encoded)


def _sign(secret: str, date: str, region: str, text: str) -> str:
    key = f"AWS4{secret}".encode()
    for part in (date, region, SERVICE, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def _refusal(kind: str, message: str) -> LambdaError:
    return LambdaError(kind, 403, message)
