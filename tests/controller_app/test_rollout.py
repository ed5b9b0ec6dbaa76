"""Jobs: a node gets what it lacks, once, and is left alone when it has it."""

from typing import Literal

import pytest

from controller.nodes.rollout import Job, Rollout
from hitless.mqtt.messages import (
    ComponentDeployment,
    ComponentHealth,
    DeploymentDocument,
    DeploymentInformation,
    Health,
    JobStatusDetails,
    JobUpdate,
    RecipeSource,
)


def deployment(name: str) -> DeploymentDocument:
    return DeploymentDocument(
        deployment_id=name,
        components={"org.example.Resize": ComponentDeployment(component_version="1.0.0")},
        recipes={"org.example.Resize": RecipeSource(uri="http://repository/recipe.yaml", sha256="0" * 64)},
    )


def health(deployment_id: str | None, status: Literal["SUCCEEDED", "FAILED"] = "SUCCEEDED") -> Health:
    return Health(
        ggc_version="0.1.0",
        architecture="amd64",
        thing="edge1",
        overall_device_status="HEALTHY",
        sequence_number=1,
        timestamp=0,
        trigger="DEPLOYMENT",
        components=(ComponentHealth(component_name="org.example.Resize", version="1.0.0", status="RUNNING"),),
        deployment_information=DeploymentInformation(deployment_id=deployment_id, status=status)
        if deployment_id
        else None,
    )


def update(status: Literal["IN_PROGRESS", "SUCCEEDED", "FAILED", "REJECTED"], reason: str | None = None) -> JobUpdate:
    return JobUpdate(status=status, status_details=JobStatusDetails(reason=reason), client_token="t")


def come(rollout: Rollout) -> Job | None:
    """A node comes and asks for its job."""
    rollout.presence("edge1", True)
    answer = rollout.start_next("edge1")
    return Job("edge1", answer, None, again=False) if answer.execution else None


def job_id(job: Job | None) -> str:
    assert job is not None
    assert job.message.execution is not None
    return job.message.execution.job_id


def test_a_node_that_comes_gets_its_job_and_after_it_nothing() -> None:
    rollout = Rollout(term=1)
    assert rollout.want("edge1", deployment("a")) is None, "nobody is there to take it"
    first = job_id(come(rollout))
    assert rollout.update("edge1", first, update("IN_PROGRESS")) == (None, None)
    outcome, following = rollout.update("edge1", first, update("SUCCEEDED"))
    assert outcome is not None
    assert (outcome.deployment, outcome.status) == ("a", "SUCCEEDED")
    assert following is None
    assert rollout.progress("edge1") == "done"

    assert rollout.update("edge1", first, update("SUCCEEDED")) == (None, None), "a duplicate"
    assert rollout.health("edge1", health("a")) is None
    assert rollout.want("edge1", deployment("a")) is None
    assert rollout.start_next("edge1").execution is None


def test_a_restarted_controller_leaves_a_node_alone_that_has_what_it_should() -> None:
    rollout = Rollout(term=2)
    rollout.health("edge1", health("a"))
    assert rollout.want("edge1", deployment("a")) is None
    assert come(rollout) is None
    assert rollout.remind("edge1") is None
    assert rollout.progress("edge1") == "done"


@pytest.mark.parametrize("said", [health("b"), health(None), health("a", "FAILED")])
def test_a_node_that_has_something_else_gets_a_job(said: Health) -> None:
    rollout = Rollout(term=1)
    rollout.want("edge1", deployment("a"))
    rollout.presence("edge1", True)
    assert job_id(rollout.health("edge1", said)).startswith("a-")


def test_a_node_that_a_restarted_controller_finds_with_what_it_should_have_gets_no_job() -> None:
    rollout = Rollout(term=2)
    rollout.want("edge1", deployment("a"))
    assert rollout.health("edge1", health("a")) is None, "its last word, kept by the broker"
    rollout.presence("edge1", True)
    assert rollout.remind("edge1") is None


def test_the_last_word_of_a_node_that_is_away_brings_no_job() -> None:
    rollout = Rollout(term=2)
    rollout.want("edge1", deployment("a"))
    assert rollout.health("edge1", health("b")) is None
    rollout.presence("edge1", False)
    assert job_id(come(rollout)).startswith("a-")


def test_a_job_under_way_is_repeated_with_its_id_and_not_made_twice() -> None:
    rollout = Rollout(term=1)
    rollout.want("edge1", deployment("a"))
    first = job_id(come(rollout))
    assert rollout.health("edge1", health(None)) is None
    assert job_id(come(rollout)) == first
    assert job_id(rollout.remind("edge1")) == first


def test_a_newer_deployment_replaces_the_job_and_the_older_ones_end_is_only_told() -> None:
    rollout = Rollout(term=1)
    rollout.presence("edge1", True)
    first = job_id(rollout.want("edge1", deployment("a")))
    second = job_id(rollout.want("edge1", deployment("b")))
    assert first != second
    outcome, following = rollout.update("edge1", first, update("REJECTED", "another took its place"))
    assert outcome is not None
    assert (outcome.deployment, outcome.status, outcome.reason) == ("a", "REJECTED", "another took its place")
    assert following is None
    assert rollout.update("edge1", first, update("REJECTED")) == (None, None), "a duplicate"
    assert rollout.progress("edge1") == "under way"
    outcome, _ = rollout.update("edge1", second, update("SUCCEEDED"))
    assert outcome is not None
    assert outcome.deployment == "b"


def test_a_node_says_how_far_it_is() -> None:
    rollout = Rollout(term=1)
    rollout.presence("edge1", True)
    job = job_id(rollout.want("edge1", deployment("a")))
    assert rollout.step("edge1") is None
    details = JobStatusDetails(step="download", percent=42)
    rollout.update("edge1", job, JobUpdate(status="IN_PROGRESS", status_details=details, client_token="t"))
    assert rollout.step("edge1") == "download 42 %"
    rollout.update("edge1", job, update("SUCCEEDED"))
    assert rollout.step("edge1") is None


def test_back_to_an_earlier_deployment_is_a_new_job() -> None:
    rollout = Rollout(term=1)
    rollout.presence("edge1", True)
    ids = []
    for name in ("a", "b", "a"):
        ids.append(job_id(rollout.want("edge1", deployment(name))))
        rollout.update("edge1", ids[-1], update("SUCCEEDED"))
    assert len(set(ids)) == 3, "a node carries out each job id once"
    restarted = Rollout(term=2)
    restarted.want("edge1", deployment("a"))
    assert job_id(come(restarted)) not in ids


def test_a_failed_deployment_is_not_tried_again_until_another_is_wanted() -> None:
    rollout = Rollout(term=1)
    rollout.presence("edge1", True)
    job = job_id(rollout.want("edge1", deployment("a")))
    outcome, following = rollout.update("edge1", job, update("FAILED", "no such artefact"))
    assert outcome is not None
    assert outcome.reason == "no such artefact"
    assert following is None
    assert rollout.progress("edge1") == "failed"
    assert rollout.start_next("edge1").execution is None
    assert rollout.health("edge1", health("before")) is None
    assert rollout.want("edge1", deployment("b")) is not None


def test_a_node_that_was_away_must_say_again_what_it_has() -> None:
    rollout = Rollout(term=1)
    rollout.presence("edge1", True)
    job = job_id(rollout.want("edge1", deployment("a")))
    rollout.update("edge1", job, update("SUCCEEDED"))
    rollout.presence("edge1", False)
    assert rollout.progress("edge1") == "waiting"
    assert come(rollout) is not None, "its disk may be another one"
    again = Rollout(term=1)
    again.want("edge1", deployment("a"))
    again.presence("edge1", True)
    again.health("edge1", health("a"))
    assert again.start_next("edge1").execution is None
