"""Topics: built, filtered and recognised."""

import pytest

from hitless.mqtt import topics
from hitless.mqtt.topics import Topic, TopicError

FAMILIES = list(
    dict.fromkeys(
        [value for value in vars(topics).values() if isinstance(value, Topic)]
        + topics.CLASSIC_SHADOW.families()
        + topics.NAMED_SHADOWS.families()
    )
)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.template)
def test_every_family_recognises_its_own_topics_only(family: Topic) -> None:
    levels = {name: f"org.example.{name}-1" for name in family.names}
    topic = family.of(**levels)
    assert topic.startswith("hitless/")
    assert family.match(topic) == levels
    assert [other for other in FAMILIES if other.match(topic) is not None] == [family]


def test_topics_of_the_contract() -> None:
    assert topics.JOB_UPDATE_ACCEPTED.of(node="edge1", job="j1") == "hitless/things/edge1/jobs/j1/update/accepted"
    assert (
        topics.SHADOW_UPDATE_DELTA.of(node="e", component="org.A") == "hitless/things/e/shadow/name/org.A/update/delta"
    )
    assert topics.CLASSIC_SHADOW.requests["get"].of(node="e") == "hitless/things/e/shadow/get"
    assert (
        topics.NAMED_SHADOWS.answers["update", "documents"].of(node="e", component="lamp")
        == "hitless/things/e/shadow/name/lamp/update/documents"
    )
    assert topics.HEALTH.of(node="e") == "hitless/things/e/greengrassv2/health/json"
    assert topics.METRICS.filter() == "hitless/things/+/metrics/+"
    assert topics.JOB_UPDATE.filter(node="edge1") == "hitless/things/edge1/jobs/+/update"


@pytest.mark.parametrize("value", ["", "a/b", "+", "#", "a+", "$aws", "a\x00"])
def test_a_name_that_is_no_level(value: str) -> None:
    with pytest.raises(TopicError, match="node"):
        topics.PRESENCE.of(node=value)


def test_missing_and_unknown_levels() -> None:
    with pytest.raises(TopicError, match="needs service"):
        topics.METRICS.of(node="edge1")
    with pytest.raises(TopicError, match="no level job"):
        topics.PRESENCE.of(node="edge1", job="1")


@pytest.mark.parametrize("topic", ["things/e/presence", "hitless/things/e/presence/x", "hitless/things//presence", ""])
def test_foreign_topics(topic: str) -> None:
    assert topics.PRESENCE.match(topic) is None
