"""Fetches recipes and artefacts over HTTP; nothing counts before its SHA-256 has been checked."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import aiohttp

from greengrass_agent.deployment.plan import Components, Installed, manifest_for
from greengrass_agent.deployment.store import Store
from hitless.component.recipe import Artifact, Recipe, RecipeError
from hitless.files import write_atomic
from hitless.mqtt.messages import DeploymentDocument

ATTEMPTS = 4
FIRST_RETRY_S = 0.25
TIMEOUT = aiohttp.ClientTimeout(total=120, sock_connect=5, sock_read=15)
MAX_RECIPE = 1 << 20
MAX_ARTIFACT = 1 << 30
_CHUNK = 1 << 16


class DownloadError(Exception):
    """Something that the deployment names cannot be had, or is not what it should be; names it."""


class Downloader:
    """Brings packages into the store."""

    def __init__(self, store: Store, session: aiohttp.ClientSession) -> None:
        self._store = store
        self._session = session

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, store: Store) -> AsyncIterator[Downloader]:
        """A downloader with connections of its own."""
        async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
            yield cls(store, session)

    async def recipes(self, document: DeploymentDocument) -> dict[str, Recipe]:
        """The recipes of a deployment's components. Raises DownloadError."""
        found = {}
        for name, component in document.components.items():
            source = document.recipes[name]
            file = self._store.recipe_file(name, component.component_version, source.sha256)
            await self._fetch(source.uri, bytes.fromhex(source.sha256), file, MAX_RECIPE)
            try:
                found[name] = Recipe.parse(file.read_text(), source.uri)
            except (RecipeError, UnicodeDecodeError) as error:
                raise DownloadError(str(error)) from error
        return found

    async def artifacts(self, components: Components) -> None:
        """The artefacts of all components. Raises DownloadError."""
        for name, installed in components.items():
            for artifact in manifest_for(installed.recipe).artifacts:
                await self._artifact(name, installed, artifact)

    async def _artifact(self, name: str, installed: Installed, artifact: Artifact) -> None:
        if artifact.digest is None:
            raise DownloadError(f"{name}: artefact {artifact.uri} has no Digest: it cannot be checked")
        try:
            digest = base64.b64decode(artifact.digest, validate=True)
        except binascii.Error as error:
            raise DownloadError(f"{name}: Digest of {artifact.uri} is not base64: {error}") from error
        file_name = PurePosixPath(urlsplit(artifact.uri).path).name
        if not file_name:
            raise DownloadError(f"{name}: artefact {artifact.uri} names no file")
        file = self._store.artifacts(name, installed) / file_name
        await self._fetch(artifact.uri, digest, file, MAX_ARTIFACT)
        file.chmod(0o755 if (artifact.permission or {}).get("Execute", "NONE") != "NONE" else 0o644)
        if artifact.unarchive == "ZIP":
            await asyncio.to_thread(_unpack, file, self._store.unarchived(name, installed) / file.stem)

    async def _fetch(self, uri: str, digest: bytes, file: Path, limit: int) -> None:
        """Have `file` hold what `uri` names, with this SHA-256."""
        if urlsplit(uri).scheme not in ("http", "https"):
            raise DownloadError(f"{uri}: expected an http or https address (was the component published?)")
        if await asyncio.to_thread(_matches, file, digest):
            return
        content = await self._get(uri, limit)
        found = hashlib.sha256(content).digest()
        if found != digest:
            raise DownloadError(f"{uri}: SHA-256 is {found.hex()}, expected {digest.hex()}")
        try:
            await asyncio.to_thread(write_atomic, file, content)
        except OSError as error:
            raise DownloadError(f"{file}: {error.strerror}") from error

    async def _get(self, uri: str, limit: int) -> bytes:
        wait = FIRST_RETRY_S
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self._session.get(uri) as answer:
                    if answer.status != 200:
                        raise DownloadError(f"{uri}: the repository answers {answer.status} {answer.reason}")
                    return await _body(answer, uri, limit)
            except (aiohttp.ClientError, TimeoutError) as error:
                if attempt == ATTEMPTS:
                    raise DownloadError(f"{uri}: {error or type(error).__name__}") from error
            await asyncio.sleep(wait)
            wait *= 2
        raise AssertionError("unreachable")


async def _body(answer: aiohttp.ClientResponse, uri: str, limit: int) -> bytes:
    content = bytearray()
    async for chunk in answer.content.iter_chunked(_CHUNK):
        content += chunk
        if len(content) > limit:
            raise DownloadError(f"{uri}: longer than {limit} bytes")
    return bytes(content)


def _matches(file: Path, digest: bytes) -> bool:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").digest() == digest
    except FileNotFoundError:
        return False


def _unpack(archive: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                place = Path(opened.extract(entry, folder))
                mode = entry.external_attr >> 16 & 0o777
                if mode and not entry.is_dir():
                    place.chmod(mode)
    except (zipfile.BadZipFile, OSError) as error:
        raise DownloadError(f"{archive}: cannot be unpacked: {error}") from error
