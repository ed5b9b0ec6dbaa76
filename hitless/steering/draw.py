"""Drawing a member from those that new work may go to. In the program: draw.p4 and choose.p4."""

import random
import zlib
from collections.abc import Callable

from hitless.words import MEMBERS

Draw = Callable[[int], int]
"""Draws a member from a set that is not empty; bit m of the set stands for member m."""


def by_chance(members: int) -> int:
    """Any of them."""
    return random.choice([member for member in range(MEMBERS) if members >> member & 1])


def better_of_two(eligible: int, rank: Callable[[int], int]) -> int:
    """The set of those who can win against another one drawn from the same set; who is alone has won."""
    if eligible & eligible - 1 == 0:
        return eligible
    ranks = sorted((rank(member), member) for member in range(MEMBERS) if eligible >> member & 1)
    beaten_by_all = ranks[0][1] if ranks[0][0] < ranks[1][0] else None
    return eligible if beaten_by_all is None else eligible & ~(1 << beaten_by_all)


def first_from(eligible: int, start: int) -> int:
    """The first member of a set (bit m stands for member m) at or after a slot, cyclically. The set is not empty."""
    turned: int = (eligible >> start | eligible << MEMBERS - start) & (1 << MEMBERS) - 1
    skip = (turned & -turned).bit_length() - 1
    return (start + skip) % MEMBERS


def hashed_slot(key: bytes, members: int) -> int:
    """The slot that a flow's hash points to, of `members` in use: the same for the same key."""
    return zlib.crc32(key) % max(members, 1)
