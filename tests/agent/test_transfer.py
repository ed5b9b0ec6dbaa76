"""Downloads over bad links."""

import asyncio
import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import aiohttp
import pytest

from greengrass_agent.deployment import transfer
from greengrass_agent.deployment.transfer import DownloadError, Limits, Progress, Transfer

CONTENT = bytes(range(256)) * 4096
"""A megabyte."""
DIGEST = hashlib.sha256(CONTENT).digest()
QUICK = Limits(stall_s=0.15, first_retry_s=0.01, last_retry_s=0.02)


@dataclass
class Link:
    """A server and what is wrong with it."""

    content: bytes = CONTENT
    etag: str = '"one"'
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    """After so many bytes of an answer the connection breaks, answer by answer."""
    stalls: bool = False
    """Sends nothing more where it would cut."""
    rate: float | None = None
    """Bytes a second."""
    status: int = 200
    asked: list[str | None] = field(default_factory=list)
    """The Range of each request."""
    url: str = ""
    ended: threading.Event = field(default_factory=threading.Event)


@contextmanager
def served(link: Link) -> Iterator[Link]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            asked = self.headers["Range"]
            link.asked.append(asked)
            if link.status != 200:
                self.send_error(link.status)
                return
            start = 0
            if asked and link.ranges and self.headers.get("If-Range", link.etag) == link.etag:
                start = int(asked.removeprefix("bytes=").rstrip("-"))
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(link.content) - 1}/{len(link.content)}")
            else:
                self.send_response(200)
            body = link.content[start:]
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", link.etag)
            self.end_headers()
            stop = link.cuts.pop(0) if link.cuts else len(body)
            for place in range(0, min(stop, len(body)), 1 << 14):
                self.wfile.write(body[place : min(stop, place + (1 << 14))])
                if link.rate:
                    time.sleep((1 << 14) / link.rate)
            if stop < len(body) and link.stalls:
                link.ended.wait()
            self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    link.url = f"http://127.0.0.1:{server.server_address[1]}/model.bin"
    try:
        yield link
    finally:
        link.ended.set()
        server.shutdown()
        server.server_close()


def fetch(link: Link, file: Path, limit: int = 1 << 30, digest: bytes = DIGEST, limits: Limits = QUICK) -> Progress:
    progress = Progress("model.bin")

    async def run() -> None:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_s, sock_read=limits.stall_s)
        async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
            await Transfer(session, limits, link.url, file, limit, progress).run(digest)

    asyncio.run(run())
    return progress


def offsets(link: Link) -> list[int]:
    return [int(one.removeprefix("bytes=").rstrip("-")) if one else 0 for one in link.asked]


def test_a_slow_link_that_breaks_is_gone_on_with_from_where_it_broke(tmp_path: Path) -> None:
    """Longer than any limit on silence, with more breaks than attempts, and no byte comes twice."""
    cuts = [1 << 17] * 6
    with served(Link(rate=2e6, cuts=cuts.copy())) as link:
        began = time.monotonic()
        progress = fetch(link, tmp_path / "model.bin")
        assert time.monotonic() - began > 2 * QUICK.stall_s
    assert (tmp_path / "model.bin").read_bytes() == CONTENT
    assert offsets(link) == [sum(cuts[:n]) for n in range(len(cuts) + 1)]
    assert (progress.percent, str(progress)) == (100, "model.bin: 1.0 MB of 1.0 MB")
    assert list(tmp_path.iterdir()) == [tmp_path / "model.bin"]


def test_what_an_earlier_agent_fetched_is_kept(tmp_path: Path) -> None:
    with served(Link(cuts=[300_000] + [0] * 20)) as link, pytest.raises(DownloadError, match=r"cut .300000 bytes are"):
        fetch(link, tmp_path / "model.bin")
    assert not (tmp_path / "model.bin").exists(), "nothing counts before it is whole"
    assert len(link.asked) == QUICK.attempts, "attempts that bring nothing are counted"
    with served(Link()) as again:
        fetch(again, tmp_path / "model.bin")
    assert offsets(again) == [300_000]
    assert (tmp_path / "model.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("ranges", [True, False])
def test_content_that_changed_meanwhile_is_fetched_from_its_beginning(tmp_path: Path, ranges: bool) -> None:
    (tmp_path / ".model.bin.part").write_bytes(b"of another version")
    with served(Link(ranges=ranges)) as link:
        fetch(link, tmp_path / "model.bin")
    assert (tmp_path / "model.bin").read_bytes() == CONTENT
    (tmp_path / ".model.bin.part").write_bytes(CONTENT + b"longer than it is")
    with served(Link(ranges=ranges)) as link:
        fetch(link, tmp_path / "model.bin")
    assert (tmp_path / "model.bin").read_bytes() == CONTENT


def test_an_etag_that_changes_in_the_middle_begins_anew(tmp_path: Path) -> None:
    link = Link(content=b"old" * 100_000, etag='"old"', cuts=[100_000])

    class Changing(list[str | None]):
        def append(self, asked: str | None) -> None:
            if self:
                link.content, link.etag = CONTENT, '"new"'
            super().append(asked)

    link.asked = Changing()
    with served(link):
        fetch(link, tmp_path / "model.bin")
    assert (tmp_path / "model.bin").read_bytes() == CONTENT
    assert len(link.asked) == 2, "If-Range has the server send all of the new one"


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        (Link(cuts=[1000] + [0] * 9, stalls=True), "no byte for 0.15 s"),
        (Link(cuts=[0] * 9), "the connection was cut"),
        (Link(status=404), "the repository answers 404"),
        (Link(status=503), "the repository answers 503"),
        (Link(content=b"another"), "SHA-256 is"),
    ],
)
def test_a_download_that_fails_says_why(tmp_path: Path, link: Link, reason: str) -> None:
    with served(link), pytest.raises(DownloadError, match=reason) as error:
        fetch(link, tmp_path / "model.bin")
    assert link.url in str(error.value)


def test_nobody_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1:1"):
        fetch(Link(url="http://127.0.0.1:1/model.bin"), tmp_path / "model.bin")


def test_what_has_no_room_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "free_bytes", lambda folder: 100_000)
    with served(Link()) as link, pytest.raises(DownloadError, match=r"needs 1.0 MB, but .* has room for 0.1 MB"):
        fetch(link, tmp_path / "model.bin")
    monkeypatch.undo()
    with served(Link()) as link, pytest.raises(DownloadError, match="longer than 5 bytes"):
        fetch(link, tmp_path / "model.bin", limit=5)
