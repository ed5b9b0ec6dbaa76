"""Who may do what over the network: callers are known by certificate or token, and the fabric file gives them roles."""

import hashlib
import hmac
import logging
import secrets
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from controller.fabric.schema import Api
from hitless.files import JsonFile, StateError

log = logging.getLogger(__name__)

TOKEN_BYTES = 32
SCHEME = "Bearer "


class Role(IntEnum):
    """What a caller may do; a larger one includes the smaller."""

    READ = 1
    """Status, events, and what components print."""
    OPERATE = 2
    """Commands."""


def role_of(api: Api, name: str) -> Role | None:
    """The role of a caller by its name; None: it has none."""
    if name in api.operate:
        return Role.OPERATE
    return Role.READ if name in api.read else None


def needed(method: str) -> Role:
    """The role that a call takes."""
    return Role.READ if method in ("GET", "HEAD") else Role.OPERATE


@dataclass(frozen=True, slots=True)
class _Document:
    sha256: dict[str, str] = field(default_factory=dict)
    """By name, hexadecimal, of the token's text."""


class TokenFile:
    """The tokens' hashes by name: who reads the file learns no token. Calls raise StateError."""

    def __init__(self, path: Path) -> None:
        self._file = JsonFile(
            path,
            _Document,
            version=1,
            what="a file of tokens",
            unreadable="make a new one with hitless token",
            unwritable="choose another place with --file",
            mode=0o600,
        )

    def make(self, name: str) -> str:
        """A new token for a name, in place of its last one."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self._file.save(_Document({**self._hashes(), name: _hash(token)}))
        return token

    def remove(self, name: str) -> bool:
        """Let a name's token be good for nothing, from the next call on; whether there was one."""
        hashes = self._hashes()
        found = hashes.pop(name, None) is not None
        if found:
            self._file.save(_Document(hashes))
        return found

    def name_of(self, token: str) -> str | None:
        """Whose token it is."""
        own = _hash(token)
        matching = [name for name, known in self._hashes().items() if hmac.compare_digest(known, own)]
        return matching[0] if matching else None

    def _hashes(self) -> dict[str, str]:
        document = self._file.load()
        return dict(document.sha256) if document is not None else {}


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


def guard(api: Api) -> Middleware:
    """Lets a call through that its caller's role allows; others are answered with 401 or 403."""
    tokens = TokenFile(Path(api.tokens)) if api.tokens is not None else None

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        name = _caller(request, tokens)
        if name is None:
            return _refusal(401, "expected a client certificate, or a token in Authorization: Bearer ...")
        role = role_of(api, name)
        if role is None or role < needed(request.method):
            rights = "may read" if role is not None else "has no role: name it in api.read or api.operate"
            log.warning("api: %s %s refused to %s at %s", request.method, request.path, name, request.remote)
            return _refusal(403, f"{name} {rights}")
        if needed(request.method) is Role.OPERATE:
            log.info("api: %s by %s at %s", request.path, name, request.remote)
        return await handler(request)

    return check


def _caller(request: web.Request, tokens: TokenFile | None) -> str | None:
    """Whose token the call has, or else whose certificate; a wrong token is nobody's, whatever the certificate."""
    if given := request.headers.get("Authorization"):
        if tokens is None or not given.startswith(SCHEME):
            return None
        try:
            return tokens.name_of(given.removeprefix(SCHEME).strip())
        except StateError as error:
            log.error("api: no token is taken: %s", error)
            return None
    certificate = request.transport.get_extra_info("peercert") if request.transport is not None else None
    subject = dict(part[0] for part in certificate["subject"]) if certificate else {}
    return subject.get("commonName")


def _refusal(status: int, reason: str) -> web.Response:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return web.json_response({"error": reason}, status=status, headers=headers)
