"""Action profiles over Thrift: members and groups. Their handles are the numbers that the model gives them, each the
lowest that was free, as BMv2's are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from finsy.proto import p4r
from grpc import StatusCode

from softswitch.p4runtime.entities.profile_entries import Choice, Group, Member, encode_watch
from softswitch.p4runtime.entities.profiles import ProfileState
from softswitch.thrift import matches
from softswitch.thrift.access import Access, View
from softswitch.thrift.definitions import bad_table, codes, standard

_Result = TypeVar("_Result")

_CODES = {StatusCode.RESOURCE_EXHAUSTED: "TABLE_FULL", StatusCode.PERMISSION_DENIED: "INVALID_ACTION_NAME"}


class Profiles:
    """The calls about action profiles of service `standard`."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def bm_mt_act_prof_add_member(self, context: int, profile: str, action: str, parameters: Sequence[bytes]) -> int:
        """Returns its handle."""

        def add(view: View) -> int:
            state = view.profile(profile)
            identifier = _free(state.members)
            _write_member(view, state, p4r.Update.INSERT, identifier, action, parameters)
            return state.members[identifier].numbers[0]

        return self._do(add)

    def bm_mt_act_prof_modify_member(
        self, context: int, profile: str, member: int, action: str, parameters: Sequence[bytes]
    ) -> None:
        """Give it another action."""

        def modify(view: View) -> None:
            state = view.profile(profile)
            _write_member(view, state, p4r.Update.MODIFY, member_id(state, member), action, parameters)

        self._do(modify)

    def bm_mt_act_prof_delete_member(self, context: int, profile: str, member: int) -> None:
        """Delete one that nothing refers to."""

        def delete(view: View) -> None:
            state = view.profile(profile)
            message = p4r.ActionProfileMember(action_profile_id=state.schema.id, member_id=member_id(state, member))
            with codes(bad_table, {StatusCode.FAILED_PRECONDITION: "MBR_STILL_USED"}):
                view.write(p4r.Update.DELETE, p4r.Entity(action_profile_member=message))

        self._do(delete)

    def bm_mt_act_prof_create_group(self, context: int, profile: str) -> int:
        """Returns the handle of an empty group."""

        def create(view: View) -> int:
            state = _selecting(view, profile)
            identifier = _free(state.groups)
            message = p4r.ActionProfileGroup(action_profile_id=state.schema.id, group_id=identifier)
            with codes(bad_table, _CODES):
                view.write(p4r.Update.INSERT, p4r.Entity(action_profile_group=message))
            return state.groups[identifier].number

        return self._do(create)

    def bm_mt_act_prof_delete_group(self, context: int, profile: str, group: int) -> None:
        """Delete one that nothing refers to."""

        def delete(view: View) -> None:
            state = _selecting(view, profile)
            message = p4r.ActionProfileGroup(action_profile_id=state.schema.id, group_id=group_id(state, group))
            with codes(bad_table, {StatusCode.FAILED_PRECONDITION: "GRP_STILL_USED"}):
                view.write(p4r.Update.DELETE, p4r.Entity(action_profile_group=message))

        self._do(delete)

    def bm_mt_act_prof_add_member_to_group(self, context: int, profile: str, member: int, group: int) -> None:
        """Once it is in, it may be selected."""

        def add(view: View) -> None:
            state = _selecting(view, profile)
            identifier, added = group_id(state, group), member_id(state, member)
            choices = state.groups[identifier].choices
            if any(choice.member == added for choice in choices):
                raise bad_table("MBR_ALREADY_IN_GRP", f"member {member} is in group {group} of {profile!r} already")
            new = Choice(added, 0 if state.schema.equal else 1, None)
            _write_group(view, state, identifier, (*choices, new))

        self._do(add)

    def bm_mt_act_prof_remove_member_from_group(self, context: int, profile: str, member: int, group: int) -> None:
        """It is no longer selected."""

        def remove(view: View) -> None:
            state = _selecting(view, profile)
            identifier, removed = group_id(state, group), member_id(state, member)
            choices = state.groups[identifier].choices
            rest = tuple(choice for choice in choices if choice.member != removed)
            if len(rest) == len(choices):
                raise bad_table("MBR_NOT_IN_GRP", f"member {member} is not in group {group} of {profile!r}")
            _write_group(view, state, identifier, rest)

        self._do(remove)

    def bm_mt_act_prof_get_members(self, context: int, profile: str) -> list[Any]:
        """All, in the order of their handles."""

        def take(view: View) -> list[Any]:
            return [_member(member) for member in view.profile(profile).members.values()]

        return sorted(self._do(take), key=lambda member: int(member.handle))

    def bm_mt_act_prof_get_member(self, context: int, profile: str, member: int) -> Any:
        """One."""

        def take(view: View) -> Any:
            state = view.profile(profile)
            return _member(state.members[member_id(state, member)])

        return self._do(take)

    def bm_mt_act_prof_get_groups(self, context: int, profile: str) -> list[Any]:
        """All, in the order of their handles."""

        def take(view: View) -> list[Any]:
            state = view.profile(profile)
            return [_group(state, group) for group in state.groups.values()]

        return sorted(self._do(take), key=lambda group: int(group.handle))

    def bm_mt_act_prof_get_group(self, context: int, profile: str, group: int) -> Any:
        """One."""

        def take(view: View) -> Any:
            state = _selecting(view, profile)
            return _group(state, state.groups[group_id(state, group)])

        return self._do(take)

    def _do(self, work: Callable[[View], _Result]) -> _Result:
        return self._access.do(work, lambda: bad_table("INVALID_ACTION_PROFILE_NAME", "no program is loaded"))


def member_id(profile: ProfileState, handle: int) -> int:
    """P4Runtime's id of the member with this handle. Raises INVALID_MBR_HANDLE."""
    for identifier, member in profile.members.items():
        if member.numbers[0] == handle:
            return identifier
    raise bad_table("INVALID_MBR_HANDLE", f"action profile {profile.schema.name!r} has no member {handle}")


def group_id(profile: ProfileState, handle: int) -> int:
    """P4Runtime's id of the group with this handle. Raises INVALID_GRP_HANDLE."""
    for identifier, group in profile.groups.items():
        if group.number == handle:
            return identifier
    raise bad_table("INVALID_GRP_HANDLE", f"action profile {profile.schema.name!r} has no group {handle}")


def _selecting(view: View, name: str) -> ProfileState:
    profile = view.profile(name)
    if not profile.schema.with_selector:
        raise bad_table("NO_ACTION_PROFILE_SELECTION", f"action profile {name!r} has no groups")
    return profile


def _free(taken: dict[int, Any]) -> int:
    """An id that is free."""
    identifier = len(taken) + 1
    while identifier in taken:
        identifier += 1
    return identifier


def _write_member(
    view: View, profile: ProfileState, kind: int, identifier: int, action: str, parameters: Sequence[bytes]
) -> None:
    message = p4r.ActionProfileMember(
        action_profile_id=profile.schema.id,
        member_id=identifier,
        action=matches.decode_action(profile.schema, action, parameters),
    )
    with codes(bad_table, _CODES):
        view.write(kind, p4r.Entity(action_profile_member=message))


def _write_group(view: View, profile: ProfileState, identifier: int, choices: Sequence[Choice]) -> None:
    size = profile.groups[identifier].max_size
    message = p4r.ActionProfileGroup(action_profile_id=profile.schema.id, group_id=identifier, max_size=size)
    for choice in choices:
        encode_watch(message.members.add(member_id=choice.member, weight=choice.weight), choice.watch)
    with codes(bad_table, _CODES):
        view.write(p4r.Update.MODIFY, p4r.Entity(action_profile_group=message))


def _member(member: Member) -> Any:
    parameters = matches.encode_parameters(member.action, member.parameters)
    return standard.Member(handle=member.numbers[0], action=member.action.name, parameters=parameters)


def _group(profile: ProfileState, group: Group) -> Any:
    members = [profile.members[choice.member].numbers[0] for choice in group.choices]
    return standard.Group(handle=group.number, members=members)
