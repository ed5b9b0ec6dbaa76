"""What an action profile holds, and what entries of indirect tables refer to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from finsy.proto import p4r

from softswitch.p4runtime import bytestrings
from softswitch.p4runtime.keys import encode_action
from softswitch.p4runtime.schema import Action

Ports = Callable[[], dict[int, tuple[str, bool]]]
"""The device's ports: number -> (interface, up)."""


@dataclass(frozen=True, slots=True)
class Watch:
    """A port whose state decides whether a member takes part, as a byte string or, in the old way, as a number."""

    port: int
    numeric: bool


@dataclass(slots=True)
class Member:
    """An action that entries and groups refer to. It has as many numbers as it weighs in a group, and is member
    `numbers[0]` to the engine."""

    action: Action
    parameters: tuple[int, ...]
    numbers: list[int]
    entries: int = 0


@dataclass(frozen=True, slots=True)
class Choice:
    """A member of a group. `weight` is as written: 0 where weights are not allowed."""

    member: int
    weight: int
    watch: Watch | None


@dataclass(slots=True)
class Group:
    """A weighted set of members, group `number` to the engine."""

    number: int
    max_size: int
    choices: tuple[Choice, ...] = ()
    entries: int = 0


@dataclass(frozen=True, slots=True)
class OneShotAction:
    """One of the actions that an entry brings along."""

    action: Action
    parameters: tuple[int, ...]
    weight: int
    watch: Watch | None


@dataclass(slots=True)
class OneShot:
    """The actions that an entry brings along, and which members and which group they are to the engine."""

    actions: tuple[OneShotAction, ...]
    selection_mode: int
    size_semantics: int
    numbers: list[list[int]] = field(default_factory=list)
    group_number: int = 0


@dataclass(frozen=True, slots=True)
class MemberReference:
    """What an entry has in place of an action: a member's id."""

    member: int


@dataclass(frozen=True, slots=True)
class GroupReference:
    """What an entry has in place of an action: a group's id."""

    group: int


Reference = MemberReference | GroupReference | OneShot


def encode_reference(reference: Reference) -> p4r.TableAction:
    """The message for what an entry refers to, as it was written."""
    match reference:
        case MemberReference(member):
            return p4r.TableAction(action_profile_member_id=member)
        case GroupReference(group):
            return p4r.TableAction(action_profile_group_id=group)
    action_set = p4r.ActionProfileActionSet(
        action_selection_mode=reference.selection_mode,
        size_semantics=reference.size_semantics,
    )
    for item in reference.actions:
        added = action_set.action_profile_actions.add(
            action=encode_action(item.action, item.parameters), weight=item.weight
        )
        encode_watch(added, item.watch)
    return p4r.TableAction(action_profile_action_set=action_set)


def encode_watch(message: p4r.ActionProfileGroup.Member | p4r.ActionProfileAction, watch: Watch | None) -> None:
    """Set the port that a member watches, as it was written."""
    if watch is not None and watch.numeric:
        message.watch = watch.port
    elif watch is not None:
        message.watch_port = bytestrings.encode(watch.port)
