"""Header compression for HTTP/2 (RFC 7541): all of it is read; what is written uses no table and no Huffman code."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

Header = tuple[bytes, bytes]

TABLE_BYTES = 4096
"""How much the peer may keep in the dynamic table: the default, which we never change."""

_ENTRY_OVERHEAD = 32

_STATIC_TEXT = (
    b":authority|:method=GET|:method=POST|:path=/|:path=/index.html|:scheme=http|:scheme=https|:status=200|"
    b":status=204|:status=206|:status=304|:status=400|:status=404|:status=500|accept-charset|"
    b"accept-encoding=gzip, deflate|accept-language|accept-ranges|accept|access-control-allow-origin|age|allow|"
    b"authorization|cache-control|content-disposition|content-encoding|content-language|content-length|"
    b"content-location|content-range|content-type|cookie|date|etag|expect|expires|from|host|if-match|"
    b"if-modified-since|if-none-match|if-range|if-unmodified-since|last-modified|link|location|max-forwards|"
    b"proxy-authenticate|proxy-authorization|range|referer|refresh|retry-after|server|set-cookie|"
    b"strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate"
)
_STATIC: list[Header] = [
    (name, value) for name, _, value in (text.partition(b"=") for text in _STATIC_TEXT.split(b"|"))
]
"""Appendix A."""

_CODE_LENGTHS = (
    "ISXXXXXXXTZXXZXXXXXXXXZXXXXXXXXXBFFHIBDGFFDGDBBBAAABBBBBBBCDKBHFIBCCCCCCCCCCCCCCCCCCCCCCDCDIOIJBKABA"
    "BABBBACCBBBABCBAABCCCCCKGJIXPRPPRRRSRSSSSSTSTTRSTSSSSQRSRSSTRQPRRSSQSRRTQRSSQQRQSRSSPRRRSRRSVVPORSRU"
    "VVVWWVTUOQVWWVWTQQVVXWWWPTPQRQQSRRUUTTVSVWVVWWWWWXWWWWWVZ"
)
"""Appendix B: bits of the code of each byte and of the end of string, from A for 5. The code is canonical: within a
length, codes follow the symbols."""

_END_OF_STRING = 256


class HpackError(ValueError):
    """A header block that cannot be decoded, after which the connection's table is unknown."""


def _huffman_codes() -> dict[tuple[int, int], int]:
    """(length, code) -> symbol."""
    codes: dict[tuple[int, int], int] = {}
    lengths = [ord(letter) - ord("A") + 5 for letter in _CODE_LENGTHS]
    code = before = 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(lengths)):
        code <<= length - before
        codes[length, code] = symbol
        code, before = code + 1, length
    return codes


_HUFFMAN = _huffman_codes()
_SHORTEST, _LONGEST = 5, 30
_MAX_PADDING = 7


class Decoder:
    """The table of one direction of one connection."""

    def __init__(self) -> None:
        self._dynamic: deque[Header] = deque()
        self._bytes = 0
        self._limit = TABLE_BYTES
        # A client's calls are alike: their blocks are the same indices again until the table changes.
        self._known: dict[bytes, tuple[Header, ...]] = {}

    def decode(self, block: bytes, limit: int) -> tuple[Header, ...]:
        """The headers of a block, of `limit` bytes at most. Raises HpackError."""
        known = self._known.get(block)
        if known is not None:
            return known
        headers: list[Header] = []
        changed = False
        octets = position = 0
        while position < len(block):
            first = block[position]
            if first & 0x80:
                index, position = _integer(block, position, 7)
                headers.append(self._at(index))
            elif first & 0xE0 == 0x20:
                size, position = _integer(block, position, 5)
                if headers or size > TABLE_BYTES:
                    raise HpackError(f"change of the table's size to {size}")
                self._limit, changed = size, True
                self._evict()
                continue
            else:
                indexed = bool(first & 0x40)
                header, position = self._literal(block, position, 6 if indexed else 4)
                headers.append(header)
                if indexed:
                    self._add(header)
                    changed = True
            octets += len(headers[-1][0]) + len(headers[-1][1]) + _ENTRY_OVERHEAD
            if octets > limit:
                raise HpackError(f"more than {limit} bytes of headers")
        result = tuple(headers)
        if changed or len(self._known) >= 64:
            self._known.clear()
        if not changed:
            self._known[block] = result
        return result

    def _at(self, index: int) -> Header:
        if 0 < index <= len(_STATIC):
            return _STATIC[index - 1]
        if 0 <= index - len(_STATIC) - 1 < len(self._dynamic):
            return self._dynamic[index - len(_STATIC) - 1]
        raise HpackError(f"no header has index {index}")

    def _literal(self, block: bytes, position: int, prefix: int) -> tuple[Header, int]:
        index, position = _integer(block, position, prefix)
        if index:
            name = self._at(index)[0]
        else:
            name, position = _string(block, position)
        value, position = _string(block, position)
        return (name, value), position

    def _add(self, header: Header) -> None:
        self._dynamic.appendleft(header)
        self._bytes += len(header[0]) + len(header[1]) + _ENTRY_OVERHEAD
        self._evict()

    def _evict(self) -> None:
        while self._bytes > self._limit:
            name, value = self._dynamic.pop()
            self._bytes -= len(name) + len(value) + _ENTRY_OVERHEAD


def encode(headers: Iterable[Header]) -> bytes:
    """A block that leaves the peer's table as it is."""
    block = bytearray()
    for name, value in headers:
        block.append(0)
        for text in (name, value):
            _put_integer(block, len(text))
            block += text
    return bytes(block)


def _put_integer(block: bytearray, value: int) -> None:
    if value < 0x7F:
        block.append(value)
        return
    block.append(0x7F)
    value -= 0x7F
    while value >= 0x80:
        block.append(value & 0x7F | 0x80)
        value >>= 7
    block.append(value)


def _integer(block: bytes, position: int, prefix: int) -> tuple[int, int]:
    """Section 5.1."""
    mask = (1 << prefix) - 1
    value = block[position] & mask
    position += 1
    if value < mask:
        return value, position
    for shift in range(0, 35, 7):
        if position == len(block):
            break
        byte = block[position]
        position += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise HpackError("an integer has no end")


def _string(block: bytes, position: int) -> tuple[bytes, int]:
    """Section 5.2."""
    if position == len(block):
        raise HpackError("a string is missing")
    coded = block[position] & 0x80
    length, position = _integer(block, position, 7)
    if position + length > len(block):
        raise HpackError("a string reaches beyond its block")
    text = block[position : position + length]
    return (_unhuffman(text) if coded else text), position + length


def _unhuffman(coded: bytes) -> bytes:
    text = bytearray()
    code = length = 0
    for byte in coded:
        for bit in (7, 6, 5, 4, 3, 2, 1, 0):
            code = code << 1 | byte >> bit & 1
            length += 1
            symbol = _HUFFMAN.get((length, code)) if length >= _SHORTEST else None
            if symbol is not None:
                if symbol == _END_OF_STRING:
                    raise HpackError("the end of a string inside of it")
                text.append(symbol)
                code = length = 0
            elif length > _LONGEST:
                raise HpackError("no such code")
    if length > _MAX_PADDING or code != (1 << length) - 1:
        raise HpackError("a string's padding is not all ones")
    return bytes(text)
