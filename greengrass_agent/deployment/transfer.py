"""One file over HTTP to disk: written as it comes, gone on with after a break, and nothing before its SHA-256 fits."""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import aiohttp

from greengrass_agent.deployment.store import PARTIAL
from hitless.backoff import Backoff
from hitless.tls import explained

_CHUNK = 1 << 18
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that may pass."""


class DownloadError(Exception):
    """Something that the deployment names cannot be had, or is not what it should be; names it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How patient a download is. There is no limit of the whole: a slow link is no failure."""

    connect_s: float = 5.0
    stall_s: float = 15.0
    """Longest time without a byte."""
    attempts: int = 6
    """Attempts in a row that bring nothing new: a repository that is started again is waited for."""
    first_retry_s: float = 0.25
    last_retry_s: float = 5.0


@dataclass(slots=True)
class Progress:
    """How far a download is, for people."""

    what: str = ""
    done: int = 0
    """Bytes on disk."""
    total: int | None = None
    """Bytes in all; None while the server has not said."""

    @property
    def percent(self) -> int | None:
        """Whole percent that are here."""
        return min(100, 100 * self.done // self.total) if self.total else None

    def __str__(self) -> str:
        total = size(self.total) if self.total is not None else "unknown"
        return f"{self.what}: {size(self.done)} of {total}"


class _BreakError(Exception):
    """An attempt ended too early; another may go on."""


class Transfer:
    """Brings one file. What has come of it stays beside its place if it fails, for the next transfer to go on with."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        limits: Limits,
        uri: str,
        file: Path,
        limit: int,
        progress: Progress,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`limit` is the largest size in bytes; `progress` is kept up to date. `tls` is for https."""
        self._session = session
        self._limits = limits
        self._uri = uri
        self._file = file
        self._limit = limit
        self._progress = progress
        self._tls: ssl.SSLContext | bool = tls or True
        self._partial = file.with_name(f".{file.name}{PARTIAL}")
        self._sum = hashlib.sha256()
        self._validator: str | None = None
        """ETag or date of what is here, where the server has one; what an earlier agent fetched has none."""

    async def run(self, digest: bytes) -> None:
        """Have the file there, with this SHA-256. Raises DownloadError."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._open() as opened:
                resumed = await self._take_up(opened)
                await self._whole(opened)
                if self._sum.digest() != digest and resumed:
                    # What was here may be of another content: from the first byte once more.
                    self._begin_anew(opened)
                    await self._whole(opened)
                if (found := self._sum.digest()) != digest:
                    self._begin_anew(opened)
                    raise DownloadError(f"{self._uri}: SHA-256 is {found.hex()}, expected {digest.hex()}")
                opened.flush()
                await asyncio.to_thread(os.fsync, opened.fileno())
            self._partial.replace(self._file)
        except OSError as error:
            raise DownloadError(f"{self._file}: {error.strerror or error}") from error

    def _open(self) -> BinaryIO:
        return os.fdopen(os.open(self._partial, os.O_RDWR | os.O_CREAT, 0o644), "r+b", buffering=0)

    async def _take_up(self, opened: BinaryIO) -> bool:
        """Count in what an earlier transfer has left; whether there is anything."""
        self._sum = await asyncio.to_thread(_sum_of, self._partial)
        self._progress.done = opened.seek(0, os.SEEK_END)
        return self._progress.done > 0

    def _begin_anew(self, opened: BinaryIO) -> None:
        opened.seek(0)
        opened.truncate()
        self._sum, self._validator, self._progress.done = hashlib.sha256(), None, 0

    async def _whole(self, opened: BinaryIO) -> None:
        """Attempt by attempt until all is here. One that gets further than all before begins the count anew."""
        backoff = Backoff(self._limits.first_retry_s, self._limits.last_retry_s)
        furthest, failures = self._progress.done, 0
        while True:
            try:
                await self._attempt(opened)
                return
            except (_BreakError, aiohttp.ClientError, TimeoutError) as error:
                if self._progress.done > furthest:
                    furthest, failures = self._progress.done, 0
                    backoff.reset()
                failures += 1
                if failures >= self._limits.attempts:
                    here = f" ({self._progress.done} bytes are here)" if self._progress.done else ""
                    raise DownloadError(f"{self._uri}: {self._reason(error)}{here}") from error
            await asyncio.sleep(backoff.next())

    async def _attempt(self, opened: BinaryIO) -> None:
        headers = {"Accept-Encoding": "identity"}
        if offset := self._progress.done:
            headers["Range"] = f"bytes={offset}-"
            if self._validator is not None:
                headers["If-Range"] = self._validator
        async with self._session.get(self._uri, headers=headers, ssl=self._tls) as answer:
            if answer.status == 416:
                # Either all of it is here, or more than there is.
                if answer.headers.get("Content-Range") == f"bytes */{offset}":
                    return
                self._begin_anew(opened)
                raise _BreakError("what is here is not part of it")
            if answer.status in _AGAIN:
                raise _BreakError(f"the repository answers {answer.status} {answer.reason}")
            if answer.status not in (200, 206):
                raise DownloadError(f"{self._uri}: the repository answers {answer.status} {answer.reason}")
            if answer.status == 206 and not answer.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
                self._begin_anew(opened)
                raise _BreakError("the repository sends another part than was asked for")
            if answer.status == 200:
                self._begin_anew(opened)
            self._validator = _validator(answer)
            await self._body(opened, answer)

    async def _body(self, opened: BinaryIO, answer: aiohttp.ClientResponse) -> None:
        progress = self._progress
        if (coming := answer.content_length) is not None:
            progress.total = progress.done + coming
            self._check(progress.total)
            free = free_bytes(self._file.parent)
            if coming > free:
                raise DownloadError(
                    f"{self._uri}: needs {size(coming)}, but {self._file.parent} has room for {size(free)}: make room"
                )
        async for chunk in answer.content.iter_chunked(_CHUNK):
            self._check(progress.done + len(chunk))
            _write(opened, chunk)
            self._sum.update(chunk)
            progress.done += len(chunk)

    def _check(self, length: int) -> None:
        if length > self._limit:
            raise DownloadError(f"{self._uri}: longer than {self._limit} bytes")

    def _reason(self, error: Exception) -> str:
        """Why an attempt failed, never blank: errors of time have no text."""
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return f"no connection within {self._limits.connect_s:g} s"
        if isinstance(error, TimeoutError):
            return f"no byte for {self._limits.stall_s:g} s"
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            refused = error.certificate_error
            return explained(refused, time.time()) if isinstance(refused, ssl.SSLError) else str(refused)
        if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError):
            return "the connection was cut"
        return str(error) or type(error).__name__


def size(count: int) -> str:
    """Bytes for people."""
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count} bytes"


def free_bytes(folder: Path) -> int:
    """Bytes that can still be written below an existing folder."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def _write(opened: BinaryIO, chunk: bytes) -> None:
    # Unbuffered, and a disk that gets full takes a part.
    view = memoryview(chunk)
    while view:
        view = view[opened.write(view) :]


def _validator(answer: aiohttp.ClientResponse) -> str | None:
    """What If-Range may name (RFC 9110, 13.1.5): a strong ETag, or else the date."""
    etag = answer.headers.get("ETag")
    if etag is not None and not etag.startswith("W/"):
        return etag
    return answer.headers.get("Last-Modified")


def _sum_of(file: Path) -> hashlib._Hash:
    found = hashlib.sha256()
    with suppress(FileNotFoundError), file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            found.update(chunk)
    return found
