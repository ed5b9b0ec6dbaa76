"""Fetches a deployment's recipes and artefacts; nothing counts before its SHA-256 has been checked."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import aiohttp

from greengrass_agent.config import ArchiveSettings
from greengrass_agent.deployment.plan import Components, Installed, manifest_for
from greengrass_agent.deployment.store import Store
from greengrass_agent.deployment.transfer import DownloadError, Limits, Progress, Transfer
from greengrass_agent.deployment.unpack import unpack
from hitless.component.recipe import Artifact, Recipe, RecipeError
from hitless.mqtt.messages import DeploymentDocument
from hitless.tls import Identity, TlsError

PATIENT = Limits()
MAX_RECIPE = 1 << 17
"""Bytes. A hundred lines are four thousand; the reader of YAML takes seconds for this many."""
MAX_ARTIFACT = 1 << 30


class Downloader:
    """Brings packages into the store."""

    def __init__(
        self,
        store: Store,
        session: aiohttp.ClientSession,
        limits: Limits,
        archives: ArchiveSettings,
        identity: Identity | None,
    ) -> None:
        self.progress = Progress()
        """How far the file is that comes now, or came last."""
        self._store = store
        self._session = session
        self._limits = limits
        self._archives = archives
        self._identity = identity

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, store: Store, archives: ArchiveSettings, identity: Identity | None = None, limits: Limits = PATIENT
    ) -> AsyncIterator[Downloader]:
        """A downloader with connections of its own; `identity` is who the node is to the repository."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_s, sock_read=limits.stall_s)
        async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
            yield cls(store, session, limits, archives, identity)

    async def recipes(self, document: DeploymentDocument) -> dict[str, Recipe]:
        """The recipes of a deployment's components. Raises DownloadError."""
        found = {}
        for name, component in document.components.items():
            source = document.recipes[name]
            file = self._store.recipe_file(name, component.component_version, source.sha256)
            await self._fetch(source.uri, bytes.fromhex(source.sha256), file, MAX_RECIPE)
            try:
                found[name] = await asyncio.to_thread(Recipe.parse, file.read_text(), source.uri)
            except (RecipeError, UnicodeDecodeError) as error:
                raise DownloadError(str(error)) from error
        return found

    async def artifacts(self, components: Components) -> None:
        """The artefacts of all components. Raises DownloadError."""
        self.progress = Progress()
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
        try:
            file.chmod(0o644 if artifact.permission is None else artifact.permission.mode)
        except OSError as error:
            raise DownloadError(f"{file}: {error.strerror}") from error
        if artifact.unarchive == "ZIP":
            folder = self._store.unarchived(name, installed) / file.stem
            mode = None if artifact.permission is None else artifact.permission.mode
            await asyncio.to_thread(unpack, file, folder, self._archives, mode)

    async def _fetch(self, uri: str, digest: bytes, file: Path, limit: int) -> None:
        """Have `file` hold what `uri` names, with this SHA-256."""
        if urlsplit(uri).scheme not in ("http", "https"):
            raise DownloadError(f"{uri}: expected an http or https address (was the component published?)")
        if not await asyncio.to_thread(_matches, file, digest):
            self.progress = Progress(file.name)
            try:
                # The repository's authority and the world's: a recipe may name files that lie elsewhere.
                tls = self._identity.client(also_public=True) if self._identity is not None else None
            except TlsError as error:
                raise DownloadError(f"{uri}: {error}") from error
            await Transfer(self._session, self._limits, uri, file, limit, self.progress, tls).run(digest)


def _matches(file: Path, digest: bytes) -> bool:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").digest() == digest
    except OSError:
        return False
