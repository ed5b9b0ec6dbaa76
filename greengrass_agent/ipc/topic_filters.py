"""MQTT's topic filters. Pure.

OASIS MQTT 3.1.1, 4.7: `+` stands for one level, `#` at the end for any number of levels, its parent among them. Topics
that begin with `$` match no filter that begins with a wildcard.
"""

from __future__ import annotations


def is_wild(topic_filter: str) -> bool:
    """Whether it has a wildcard where MQTT takes it as one."""
    return not {"+", "#"}.isdisjoint(topic_filter.split("/"))


def problem(topic_filter: str) -> str | None:
    """What is wrong with a filter, for people; None if it can be subscribed to."""
    levels = topic_filter.split("/")
    if not topic_filter or "\0" in topic_filter or len(topic_filter.encode(errors="replace")) > 0xFFFF:
        return "expected 1 to 65535 bytes without a null character"
    if any(("+" in level and level != "+") or ("#" in level and level != "#") for level in levels):
        return "a wildcard stands for a whole level"
    return "# stands at the end only" if "#" in levels[:-1] else None


def matches(topic_filter: str, topic: str) -> bool:
    """Whether what is published to `topic` is for who has subscribed to the filter."""
    if topic[:1] == "$" and topic_filter[:1] in ("+", "#"):
        return False
    return _covers(topic_filter.split("/"), topic.split("/"))


def covers(wide: str, narrow: str) -> bool:
    """Whether whoever has subscribed to `wide` hears all that `narrow` would."""
    if narrow[:1] == "$" and wide[:1] in ("+", "#"):
        return False
    return _covers(wide.split("/"), narrow.split("/"))


def _covers(wide: list[str], narrow: list[str]) -> bool:
    for index, level in enumerate(wide):
        if level == "#":
            return True
        if index == len(narrow) or narrow[index] == "#":
            return False
        if level not in ("+", narrow[index]):
            return False
    return len(wide) == len(narrow)
