"""Action profiles as clients wrote them (specification, "ActionProfileMember" and "ActionProfileGroup"): a pure model
that says what the engine has to do.

A group's members stand in the order in which BMv2 keeps them, so that the same hash picks the same one: by number, each
number the lowest that was free, and a member that weighs more than one has as many.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finsy.proto import p4r
from grpc import StatusCode

from softswitch.bmv2.v1model import PORT_WIDTH
from softswitch.engine import packing
from softswitch.engine.packing import Content, ProfileCodec
from softswitch.p4runtime import bytestrings
from softswitch.p4runtime.entities.profile_entries import (
    Choice,
    Group,
    GroupReference,
    Member,
    MemberReference,
    OneShot,
    OneShotAction,
    Ports,
    Reference,
    Watch,
    encode_watch,
)
from softswitch.p4runtime.entities.profile_limits import check_size, check_weight, group_limit
from softswitch.p4runtime.errors import P4RuntimeError, check_presence, invalid
from softswitch.p4runtime.keys import decode_action, encode_action
from softswitch.p4runtime.schema import ActionProfile

if TYPE_CHECKING:
    from softswitch.p4runtime.pipeline import Pipeline


class Numbers:
    """Gives the lowest number that is free."""

    def __init__(self) -> None:
        self._next = 0
        self._free: list[int] = []

    def take(self) -> int:
        """A number that is free no longer."""
        if self._free:
            return heapq.heappop(self._free)
        self._next += 1
        return self._next - 1

    def give(self, number: int) -> None:
        """It is free again."""
        heapq.heappush(self._free, number)


@dataclass(frozen=True, slots=True)
class ProfileChange:
    """A staged write of `what`. `to_do` is what the engine has to do; `revert` takes it out of the model, after which
    `back` is what brings the engine back."""

    what: str
    to_do: tuple[bytes, ...]
    revert: Callable[[], None]
    back: Callable[[], tuple[bytes, ...]] = tuple

    def operations(self, now_us: int) -> tuple[bytes, ...]:
        """What the engine has to do, at whatever time."""
        return self.to_do

    def inverse(self, now_us: int) -> tuple[bytes, ...]:
        """What brings the engine back, once `revert` was called."""
        return self.back()


class ProfileState:
    """The members and groups of one action profile."""

    def __init__(self, schema: ActionProfile, codec: ProfileCodec, ports: Ports) -> None:
        self.schema = schema
        self._codec = codec
        self.members: dict[int, Member] = {}
        self.groups: dict[int, Group] = {}
        self._one_shots: list[OneShot] = []
        self._member_numbers = Numbers()
        self._group_numbers = Numbers()
        self._ports = ports
        self._up: dict[int, bool] = {}

    def stage_member(self, kind: int, message: p4r.ActionProfileMember) -> ProfileChange:
        """Check one update and do it in the model. Raises P4RuntimeError, having changed nothing."""
        identifier, members = message.member_id, self.members
        what = f"member {identifier} of action profile {self.schema.name!r}"
        if not identifier:
            raise invalid(f"action profile {self.schema.name!r}: member_id must not be 0")
        before = members.get(identifier)
        check_presence(kind, before is not None, what)
        if kind == p4r.Update.DELETE:
            assert before is not None
            if before.entries or any(c.member == identifier for g in self.groups.values() for c in g.choices):
                raise P4RuntimeError(StatusCode.FAILED_PRECONDITION, f"{what} is used by an entry or a group")
            self._forget_member(identifier)

            def restore() -> None:
                before.numbers = [self._member_numbers.take()]
                members[identifier] = before

            return ProfileChange(what, (), restore, lambda: (self._member_operation(before),))
        if not message.HasField("action"):
            raise invalid(f"{what}: an action is needed")
        action, parameters = decode_action(self.schema, message.action)
        if before is not None:
            old = before.action, before.parameters
            before.action, before.parameters = action, parameters

            def revert() -> None:
                before.action, before.parameters = old

            def to_do() -> tuple[bytes, ...]:
                return (self._member_operation(before),)

            return ProfileChange(what, to_do(), revert, to_do)
        self._refuse_mixture(one_shot=False)
        if self.schema.size and len(members) >= self.schema.size:
            raise self._exhausted(f"{self.schema.size} members")
        members[identifier] = Member(action, parameters, [self._member_numbers.take()])
        operation = self._member_operation(members[identifier])
        return ProfileChange(what, (operation,), lambda: self._forget_member(identifier))

    def stage_group(self, kind: int, message: p4r.ActionProfileGroup) -> ProfileChange:
        """Check one update and do it in the model. Raises P4RuntimeError, having changed nothing."""
        identifier, name = message.group_id, self.schema.name
        what = f"group {identifier} of action profile {name!r}"
        if not self.schema.with_selector:
            raise invalid(f"action profile {name!r} has no selector, so it has no groups")
        if not identifier:
            raise invalid(f"action profile {name!r}: group_id must not be 0")
        group = self.groups.get(identifier)
        check_presence(kind, group is not None, what)
        if kind == p4r.Update.DELETE:
            assert group is not None
            return self._delete_group(identifier, group, what)
        choices = self._choices(message, what)
        limit = group_limit(self.schema, message.max_size, None if group is None else group.max_size, what)
        check_size((c.weight for c in choices), self.schema.weighed, limit, StatusCode.RESOURCE_EXHAUSTED, what)
        before = group.choices if group is not None else ()
        if group is None:
            self._refuse_mixture(one_shot=False)
            group = self.groups[identifier] = Group(self._group_numbers.take(), message.max_size)
        created, changed = kind == p4r.Update.INSERT, group
        self._set_choices(changed, choices)

        def revert() -> None:
            self._set_choices(changed, before)
            if created:
                self._group_numbers.give(changed.number)
                del self.groups[identifier]

        return ProfileChange(what, (self._group_operation(changed),), revert, lambda: (self._group_operation(changed),))

    def decode_reference(self, message: p4r.TableAction, table: str) -> Reference:
        """What an entry of an indirect table refers to. Raises INVALID_ARGUMENT, NOT_FOUND, UNIMPLEMENTED."""
        match message.WhichOneof("type"):
            case "action_profile_member_id":
                member = message.action_profile_member_id
                if member not in self.members:
                    raise self._absent(f"member {member}")
                return MemberReference(member)
            case "action_profile_group_id" if self.schema.with_selector:
                group = message.action_profile_group_id
                if group not in self.groups:
                    raise self._absent(f"group {group}")
                return GroupReference(group)
            case "action_profile_action_set" if self.schema.with_selector:
                self._refuse_mixture(one_shot=True)
                return self._one_shot(message.action_profile_action_set, f"table {table!r}")
            case kind:
                raise invalid(
                    f"table {table!r} takes what action profile {self.schema.name!r} has, not {kind or 'nothing'}"
                )

    def take(self, reference: Reference) -> tuple[bytes, ...]:
        """An entry refers to it now. Returns what the engine has to do before it hears of the entry."""
        match reference:
            case MemberReference(member):
                self.members[member].entries += 1
                return ()
            case GroupReference(group):
                self.groups[group].entries += 1
                return ()
        self._one_shots.append(reference)
        reference.numbers = [[self._member_numbers.take() for _ in range(a.weight or 1)] for a in reference.actions]
        reference.group_number = self._group_numbers.take()
        members = (
            self._codec.member(numbers[0], item.action.name, item.parameters)
            for item, numbers in zip(reference.actions, reference.numbers, strict=True)
        )
        return (*members, self._one_shot_operation(reference))

    def give(self, reference: Reference) -> None:
        """An entry refers to it no longer."""
        match reference:
            case MemberReference(member):
                self.members[member].entries -= 1
            case GroupReference(group):
                self.groups[group].entries -= 1
            case OneShot():
                self._one_shots = [o for o in self._one_shots if o is not reference]
                for number in (number for numbers in reference.numbers for number in numbers):
                    self._member_numbers.give(number)
                self._group_numbers.give(reference.group_number)

    def content(self, reference: Reference) -> Content:
        """What the engine's entry holds of a reference."""
        match reference:
            case MemberReference(member):
                return packing.member(self.members[member].numbers[0])
            case GroupReference(group):
                return packing.group(self.groups[group].number)
        return packing.group(reference.group_number)

    def take_over(self, old: ProfileState) -> None:
        """Have all that `old` has, which is not used any more."""
        self.members, self.groups, self._one_shots = old.members, old.groups, old._one_shots
        self._member_numbers, self._group_numbers, self._up = old._member_numbers, old._group_numbers, old._up

    def select_members(self, member: int) -> list[p4r.Entity]:
        """The members that a read asks for; 0 means all. Raises NOT_FOUND."""
        if member and member not in self.members:
            raise self._absent(f"member {member}")
        return [
            p4r.Entity(
                action_profile_member=p4r.ActionProfileMember(
                    action_profile_id=self.schema.id,
                    member_id=identifier,
                    action=encode_action(known.action, known.parameters),
                )
            )
            for identifier, known in self.members.items()
            if member in (0, identifier)
        ]

    def select_groups(self, group: int) -> list[p4r.Entity]:
        """The groups that a read asks for; 0 means all. Raises NOT_FOUND."""
        if group and group not in self.groups:
            raise self._absent(f"group {group}")
        entities = []
        for identifier, known in self.groups.items():
            if group not in (0, identifier):
                continue
            message = p4r.ActionProfileGroup(
                action_profile_id=self.schema.id, group_id=identifier, max_size=known.max_size
            )
            for choice in known.choices:
                encode_watch(message.members.add(member_id=choice.member, weight=choice.weight), choice.watch)
            entities.append(p4r.Entity(action_profile_group=message))
        return entities

    def ports_changed(self) -> tuple[bytes, ...]:
        """Look at the ports again. Returns what the engine has to do for the members that watch them."""
        self._look_at_ports()
        groups = [self._group_operation(g) for g in self.groups.values() if any(c.watch for c in g.choices)]
        shots = [self._one_shot_operation(o) for o in self._one_shots if any(a.watch for a in o.actions)]
        return (*groups, *shots)

    def _delete_group(self, identifier: int, group: Group, what: str) -> ProfileChange:
        if group.entries:
            raise P4RuntimeError(StatusCode.FAILED_PRECONDITION, f"{what} is used by an entry")
        choices = group.choices
        self._set_choices(group, ())
        self._group_numbers.give(group.number)
        del self.groups[identifier]

        def revert() -> None:
            group.number = self._group_numbers.take()
            self.groups[identifier] = group
            self._set_choices(group, choices)

        return ProfileChange(what, (), revert, lambda: (self._group_operation(group),))

    def _forget_member(self, identifier: int) -> None:
        for number in self.members.pop(identifier).numbers:
            self._member_numbers.give(number)

    def _choices(self, message: p4r.ActionProfileGroup, what: str) -> tuple[Choice, ...]:
        choices: dict[int, Choice] = {}
        for item in message.members:
            if item.member_id not in self.members:
                raise self._absent(f"member {item.member_id}")
            if item.member_id in choices:
                raise invalid(f"{what}: member {item.member_id} is given twice; use its weight")
            check_weight(self.schema, item.weight, what)
            choices[item.member_id] = Choice(item.member_id, item.weight, self._watch(item, what))
        return tuple(choices.values())

    def _one_shot(self, message: p4r.ActionProfileActionSet, what: str) -> OneShot:
        mode, semantics = message.action_selection_mode, message.size_semantics
        if mode == p4r.ActionProfileActionSet.RANDOM:
            raise P4RuntimeError(StatusCode.UNIMPLEMENTED, f"{what}: groups are selected from by hash, not at random")
        actions = []
        for item in message.action_profile_actions:
            action, parameters = decode_action(self.schema, item.action)
            check_weight(self.schema, item.weight, what)
            actions.append(OneShotAction(action, parameters, item.weight, self._watch(item, what)))
        weighed = self.schema.weighed
        if semantics:
            weighed = semantics == p4r.ActionProfileActionSet.SUM_OF_WEIGHTS
        limit = self.schema.max_group_size
        check_size((a.weight for a in actions), weighed, limit, StatusCode.INVALID_ARGUMENT, what)
        return OneShot(tuple(actions), mode, semantics)

    def _watch(self, message: p4r.ActionProfileGroup.Member | p4r.ActionProfileAction, what: str) -> Watch | None:
        kind = message.WhichOneof("watch_kind")
        if kind is None or (kind == "watch" and not message.watch):
            return None
        try:
            port = message.watch if kind == "watch" else bytestrings.decode(message.watch_port, PORT_WIDTH)
        except ValueError as error:
            raise invalid(f"{what}: watch_port: {error}") from error
        self._look_at_ports()
        if port not in self._up:
            raise invalid(f"{what}: watch_port: the device has no port {port}")
        return Watch(port, kind == "watch")

    def _look_at_ports(self) -> None:
        self._up = {port: up for port, (_, up) in self._ports().items()}

    def _set_choices(self, group: Group, choices: tuple[Choice, ...]) -> None:
        """Members get as many numbers as they weigh in any group, in the order in which BMv2's server creates them."""
        touched = sorted({c.member for c in (*group.choices, *choices)})
        group.choices = choices
        weights = {c.member: c.weight or 1 for c in choices}
        for identifier in touched:
            numbers = self.members[identifier].numbers
            while len(numbers) < weights.get(identifier, 0):
                numbers.append(self._member_numbers.take())
        for identifier in touched:
            numbers = self.members[identifier].numbers
            needed = max(
                (c.weight for g in self.groups.values() for c in g.choices if c.member == identifier), default=1
            )
            while len(numbers) > max(needed, 1):
                self._member_numbers.give(numbers.pop())

    def _member_operation(self, member: Member) -> bytes:
        return self._codec.member(member.numbers[0], member.action.name, member.parameters)

    def _group_operation(self, group: Group) -> bytes:
        members = [(c.watch, self.members[c.member].numbers, c.weight or 1) for c in group.choices]
        return self._selection(group.number, members)

    def _one_shot_operation(self, shot: OneShot) -> bytes:
        members = [(a.watch, n, len(n)) for a, n in zip(shot.actions, shot.numbers, strict=True)]
        return self._selection(shot.group_number, members)

    def _selection(self, group: int, members: Iterable[tuple[Watch | None, list[int], int]]) -> bytes:
        """`members` are given by what they watch, their numbers, and how many of these count."""
        chosen = [
            (number, numbers[0])
            for watch, numbers, count in members
            if watch is None or self._up.get(watch.port, False)
            for number in numbers[:count]
        ]
        return self._codec.group(group, [first for _, first in sorted(chosen)])

    def _refuse_mixture(self, *, one_shot: bool) -> None:
        if (self.members or self.groups) if one_shot else self._one_shots:
            raise invalid(f"action profile {self.schema.name!r}: one shots do not mix with members and groups")

    def _absent(self, what: str) -> P4RuntimeError:
        return P4RuntimeError(StatusCode.NOT_FOUND, f"action profile {self.schema.name!r} has no {what}")

    def _exhausted(self, what: str) -> P4RuntimeError:
        return P4RuntimeError(StatusCode.RESOURCE_EXHAUSTED, f"action profile {self.schema.name!r} is full ({what})")


def _states(pipeline: Pipeline, identifier: int, element: int) -> Iterable[ProfileState]:
    if identifier:
        return [pipeline.tables.profile(identifier)]
    if element:
        raise invalid("a read that names no action profile cannot name a member or group")
    return pipeline.tables.profiles.values()


def select_members(pipeline: Pipeline, request: p4r.ActionProfileMember) -> Iterable[p4r.Entity]:
    """The members that a read asks for. Raises P4RuntimeError."""
    states = _states(pipeline, request.action_profile_id, request.member_id)
    return [entity for state in states for entity in state.select_members(request.member_id)]


def select_groups(pipeline: Pipeline, request: p4r.ActionProfileGroup) -> Iterable[p4r.Entity]:
    """The groups that a read asks for. Raises P4RuntimeError."""
    states = _states(pipeline, request.action_profile_id, request.group_id)
    return [entity for state in states for entity in state.select_groups(request.group_id)]


def carry(old: Pipeline, new: Pipeline, whole: Collection[int]) -> None:
    """Take over members and groups, those of the profiles `whole` as they are: the engines will exchange them. Raises
    P4RuntimeError for what does not fit."""
    operations: list[bytes] = []
    for identifier, state in old.tables.profiles.items():
        if identifier in whole:
            new.tables.profiles[identifier].take_over(state)
            continue
        for entity in state.select_members(0):
            member = entity.action_profile_member
            operations += new.tables.profile(identifier).stage_member(p4r.Update.INSERT, member).to_do
        for entity in state.select_groups(0):
            group = entity.action_profile_group
            operations += new.tables.profile(identifier).stage_group(p4r.Update.INSERT, group).to_do
    new.engine.apply(operations)
