"""The function under load: it reads its disk, needs some fresh memory, computes, and calls another function."""

import hashlib
import mmap
import os
import random
from functools import cache
from pathlib import Path
from typing import Any

from hitless.function import invoke

ROUNDS = 1000
"""Of the key derivation that is its work: about half a millisecond."""
BLOCK = 4096
ROOM = 1 << 20
"""Bytes of memory that each request takes from the kernel and gives back, as one that decodes a picture does."""


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """`served`, after one block from the disk, a moment of work and a call of `back`."""
    disk, block, blocks = opened(context.configuration["data"])
    os.preadv(disk, [block], random.randrange(blocks) * BLOCK)
    with mmap.mmap(-1, ROOM) as room:
        room.write(b"\1" * ROOM)
        hashlib.pbkdf2_hmac("sha256", block[:64], b"front", ROUNDS)
    answered = invoke("back", b"")
    status = 502 if answered.failed else answered.status
    return {"statusCode": status, "headers": {"content-type": "text/plain"}, "body": "served"}


@cache
def opened(data: str) -> tuple[int, mmap.mmap, int]:
    """The node's file, read past the page cache where its disk can do that; a block's buffer; how many it has."""
    file = Path(data) / os.environ["HITLESS_NODE"] / "blocks"
    try:
        disk = os.open(file, os.O_RDONLY | os.O_DIRECT)
    except OSError:
        disk = os.open(file, os.O_RDONLY)
    return disk, mmap.mmap(-1, BLOCK), file.stat().st_size // BLOCK
