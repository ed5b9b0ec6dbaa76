"""Whether an instance can take the work that the operator wants to send there. Pure."""

from controller.operator.documents import status_name
from controller.steering.doubts import Doubt
from controller.steering.interface import InstanceView
from hitless.component.states import ComponentState
from hitless.words import MemberStatus

US_PER_S = 1_000_000


def unfit(
    instance: InstanceView | None,
    dead_after_us: int,
    component: ComponentState | None,
    details: str | None,
    doubt: Doubt | None,
) -> str | None:
    """Why an instance cannot serve; None if nothing speaks against it, or if nobody could be asked.

    `component`: its state as the node told it, with `details`. To drain is no reason, since the operator's word comes
    first; neither is a silence that flows would sit out, which may be over when it is told.
    """
    if component is ComponentState.BROKEN:
        return f"BROKEN{f': {details}' if details else ''}"
    if doubt is not None:
        return f"doubted: {doubt.evidence.finding}"
    if instance is None or instance.status is None:
        return None
    if instance.age_us is None:
        return "without any report so far"
    if instance.age_us > dead_after_us:
        return f"silent: its last report is {instance.age_us / US_PER_S:.1f} s old"
    if instance.status is MemberStatus.NOT_READY:
        state = f" (its component is {component})" if component is not None else ""
        return f"{status_name(instance.status).replace('_', ' ')}{state}"
    return None
