"""What nodes were asked ends in any case: with their answer, or with why there is none."""

import asyncio

from controller.nodes.asked import Asked


def test_a_question_ends_with_an_answer_or_with_the_reason_why_there_is_none() -> None:
    async def story() -> list[str]:
        asked: Asked[str] = Asked(60, lambda reason: f"none: {reason}")
        first, second, third = (asked.begin(node) for node in ("edge1", "edge2", "edge2"))
        asked.answered("of somebody else", "x")
        asked.answered(first, "one")
        asked.answered(first, "again")
        asked.unanswered(third, "no broker")
        asked.lost("edge2")
        ended = [await asked.answer(token) for token in (first, second, third)]
        hasty: Asked[str] = Asked(0.001, lambda reason: f"none: {reason}")
        return [*ended, await hasty.answer(hasty.begin("edge1"))]

    assert asyncio.run(story()) == [
        "one",
        "none: the node went offline meanwhile",
        "none: no broker",
        "none: the node has not answered within 0.001 s",
    ]
