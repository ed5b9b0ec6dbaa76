"""Action profiles as clients wrote them (specification, "ActionProfileMember" and "ActionProfileGroup"): a pure model
that says what the engine has to do.

A group's members stand in the order in which BMv2 keeps them, so that the same hash picks the same one: by handle, each
handle the lowest that was free, and a member that weighs more than one has as many.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from finsy.proto import p4r
from grpc import StatusCode

from softswitch.entries import PORT_WIDTH, GroupOperation, MemberOperation
from softswitch.p4runtime import bytestrings
from softswitch.p4runtime.errors import P4RuntimeError, check_presence, invalid
from softswitch.p4runtime.keys import decode_action, encode_action
from softswitch.p4runtime.profile_entries import (
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
from softswitch.p4runtime.profile_limits import check_size, check_weight, group_limit
from softswitch.p4runtime.schema import ActionProfile

ProfileOperation = MemberOperation | GroupOperation


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
    """A staged write. `operations` is what the engine has to do; `revert` takes it out of the model, after which
    `inverse` is what brings the engine back."""

    operations: tuple[ProfileOperation, ...]
    revert: Callable[[], None]
    inverse: Callable[[], tuple[ProfileOperation, ...]] = tuple


class ProfileState:
    """The members and groups of one action profile."""

    def __init__(self, schema: ActionProfile, ports: Ports) -> None:
        self.schema = schema
        self.members: dict[int, Member] = {}
        self.groups: dict[int, Group] = {}
        self._one_shots: list[OneShot] = []
        self._handles = Numbers()
        self._numbers = Numbers()
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
                before.handles = [self._handles.take()]
                members[identifier] = before

            return ProfileChange((), restore, lambda: (self._member_operation(before),))
        if not message.HasField("action"):
            raise invalid(f"{what}: an action is needed")
        action, parameters = decode_action(self.schema, message.action)
        if before is not None:
            old = before.action, before.parameters
            before.action, before.parameters = action, parameters

            def revert() -> None:
                before.action, before.parameters = old

            return ProfileChange((self._member_operation(before),), revert, lambda: (self._member_operation(before),))
        self._refuse_mixture(one_shot=False)
        if self.schema.size and len(members) >= self.schema.size:
            raise self._exhausted(f"{self.schema.size} members")
        members[identifier] = Member(action, parameters, [self._handles.take()])
        operation = self._member_operation(members[identifier])
        return ProfileChange((operation,), lambda: self._forget_member(identifier))

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
            group = self.groups[identifier] = Group(self._numbers.take(), message.max_size)
        created, changed = kind == p4r.Update.INSERT, group
        self._set_choices(changed, choices)

        def revert() -> None:
            self._set_choices(changed, before)
            if created:
                self._numbers.give(changed.number)
                del self.groups[identifier]

        return ProfileChange((self._group_operation(changed),), revert, lambda: (self._group_operation(changed),))

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

    def take(self, reference: Reference) -> tuple[ProfileOperation, ...]:
        """An entry refers to it now. Returns what the engine has to do before it hears of the entry."""
        match reference:
            case MemberReference(member):
                self.members[member].entries += 1
                return ()
            case GroupReference(group):
                self.groups[group].entries += 1
                return ()
        self._one_shots.append(reference)
        reference.handles = [[self._handles.take() for _ in range(a.weight or 1)] for a in reference.actions]
        reference.number = self._numbers.take()
        members = (
            MemberOperation(self.schema.name, handles[0], item.action.name, item.parameters)
            for item, handles in zip(reference.actions, reference.handles, strict=True)
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
                for handle in (handle for handles in reference.handles for handle in handles):
                    self._handles.give(handle)
                self._numbers.give(reference.number)

    def target(self, reference: Reference) -> tuple[int | None, int | None]:
        """Member and group as the engine numbers them."""
        match reference:
            case MemberReference(member):
                return self.members[member].handles[0], None
            case GroupReference(group):
                return None, self.groups[group].number
        return None, reference.number

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

    def ports_changed(self) -> tuple[ProfileOperation, ...]:
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
        self._numbers.give(group.number)
        del self.groups[identifier]

        def revert() -> None:
            group.number = self._numbers.take()
            self.groups[identifier] = group
            self._set_choices(group, choices)

        return ProfileChange((), revert, lambda: (self._group_operation(group),))

    def _forget_member(self, identifier: int) -> None:
        for handle in self.members.pop(identifier).handles:
            self._handles.give(handle)

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
        """Members get as many handles as they weigh in any group, in the order in which BMv2's server creates them."""
        touched = sorted({c.member for c in (*group.choices, *choices)})
        group.choices = choices
        weights = {c.member: c.weight or 1 for c in choices}
        for identifier in touched:
            handles = self.members[identifier].handles
            while len(handles) < weights.get(identifier, 0):
                handles.append(self._handles.take())
        for identifier in touched:
            handles = self.members[identifier].handles
            needed = max(
                (c.weight for g in self.groups.values() for c in g.choices if c.member == identifier), default=1
            )
            while len(handles) > max(needed, 1):
                self._handles.give(handles.pop())

    def _member_operation(self, member: Member) -> MemberOperation:
        return MemberOperation(self.schema.name, member.handles[0], member.action.name, member.parameters)

    def _group_operation(self, group: Group) -> GroupOperation:
        members = [(c.watch, self.members[c.member].handles, c.weight or 1) for c in group.choices]
        return self._selection(group.number, members)

    def _one_shot_operation(self, shot: OneShot) -> GroupOperation:
        members = [(a.watch, h, len(h)) for a, h in zip(shot.actions, shot.handles, strict=True)]
        return self._selection(shot.number, members)

    def _selection(self, number: int, members: Iterable[tuple[Watch | None, list[int], int]]) -> GroupOperation:
        """`members` are given by what they watch, their handles, and how many of these count."""
        chosen = [
            (handle, handles[0])
            for watch, handles, count in members
            if watch is None or self._up.get(watch.port, False)
            for handle in handles[:count]
        ]
        return GroupOperation(self.schema.name, number, tuple(first for _, first in sorted(chosen)))

    def _refuse_mixture(self, *, one_shot: bool) -> None:
        if (self.members or self.groups) if one_shot else self._one_shots:
            raise invalid(f"action profile {self.schema.name!r}: one shots do not mix with members and groups")

    def _absent(self, what: str) -> P4RuntimeError:
        return P4RuntimeError(StatusCode.NOT_FOUND, f"action profile {self.schema.name!r} has no {what}")

    def _exhausted(self, what: str) -> P4RuntimeError:
        return P4RuntimeError(StatusCode.RESOURCE_EXHAUSTED, f"action profile {self.schema.name!r} is full ({what})")
