"""Deployments: phases, results, rollback, cancelling, repetition; and plans."""

from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greengrass_agent.deployment.events import (
    Abandon,
    Applied,
    Apply,
    ArtifactsFetched,
    Changed,
    Commit,
    Committed,
    Configured,
    Confirmed,
    Connected,
    Effect,
    Ended,
    Failed,
    FetchArtifacts,
    FetchRecipes,
    Keep,
    NothingOffered,
    Notified,
    Notify,
    Offered,
    RecipesFetched,
    Tell,
    Unreadable,
    Validate,
    Validated,
)
from greengrass_agent.deployment.machine import Deployer, Phase
from greengrass_agent.deployment.plan import Installed, Plan, ResolveError, manifest_for, plan
from greengrass_agent.deployment.record import Result
from hitless.component.recipe import Recipe
from hitless.component.states import ComponentState
from hitless.mqtt.messages import DeploymentDocument

T = TypeVar("T")


def recipe(name: str, version: str = "1.0.0", **extra: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "RecipeFormatVersion": "2020-01-25",
            "ComponentName": name,
            "ComponentVersion": version,
            "Manifests": [{"Platform": {"os": "linux"}, "Lifecycle": {"run": "true"}}],
            **extra,
        }
    )


def document(components: dict[str, Any], policy: str = "ROLLBACK", notify: bool = False) -> DeploymentDocument:
    """`components`: name -> version, or (version, merge)."""
    wanted = {name: value if isinstance(value, tuple) else (value, {}) for name, value in components.items()}
    return DeploymentDocument.model_validate(
        {
            "deploymentId": f"d-{sorted(wanted.items())}",
            "components": {
                name: {"componentVersion": version, "configurationUpdate": {"merge": merge}}
                for name, (version, merge) in wanted.items()
            },
            "recipes": {
                name: {"uri": "http://x/r", "sha256": f"{hash((name, version)) & 0xFFFF:064x}"}
                for name, (version, _) in wanted.items()
            },
            "deploymentPolicies": {
                "failureHandlingPolicy": policy,
                "componentUpdatePolicy": {"action": "NOTIFY_COMPONENTS" if notify else "SKIP_NOTIFY_COMPONENTS"},
            },
        }
    )


def only(effects: list[Effect], kind: type[T]) -> T:
    """The one effect of a kind."""
    (found,) = [effect for effect in effects if isinstance(effect, kind)]
    return found


def merge(deployer: Deployer, job: str, wanted: DeploymentDocument, recipes: dict[str, Recipe]) -> list[Effect]:
    """Take a job into its merge."""
    assert only(deployer.handle(Offered(job, wanted)), FetchRecipes).document == wanted
    only(deployer.handle(RecipesFetched(job, recipes)), FetchArtifacts)
    before = deployer.current
    (commit,) = deployer.handle(ArtifactsFetched(job))
    if isinstance(commit, Validate):
        (commit,) = deployer.handle(Validated(job))
    assert isinstance(commit, Commit)
    assert deployer.current == before, "nothing counts before it is on disk"
    return deployer.handle(Committed(job))


def running(deployer: Deployer, effects: list[Effect]) -> list[Effect]:
    """Carry out the merge: everything that it starts runs."""
    apply = only(effects, Apply)
    for name in apply.plan.changed:
        assert deployer.handle(Changed(name, ComponentState.RUNNING)) == []
    return deployer.handle(Applied(apply.serial, deployer.states))


def deployed(names: dict[str, Any]) -> Deployer:
    """A deployer on which these components run."""
    deployer = Deployer()
    wanted = document(names)
    recipes = {name: recipe(name, one.component_version) for name, one in wanted.components.items()}
    assert only(running(deployer, merge(deployer, "first", wanted, recipes)), Tell).result.status == "SUCCEEDED"
    return deployer


def test_a_deployment_succeeds_when_all_of_it_runs() -> None:
    deployer = Deployer()
    wanted = document({"A": "1.0.0"})
    effects = merge(deployer, "j", wanted, {"A": recipe("A")})
    assert only(effects, Apply).plan == Plan(start=("A",))
    assert deployer.handle(Applied(1, {})) == []
    assert deployer.handle(Changed("A", ComponentState.STARTING)) == []
    success = Result("SUCCEEDED", "SUCCESSFUL")
    effects = deployer.handle(Changed("A", ComponentState.RUNNING))
    assert effects == [Keep(deployer.record), Ended("j", success), Tell("j", success)]
    assert deployer.phase is Phase.IDLE
    assert deployer.record.deployment_id == wanted.deployment_id
    assert deployer.record.information is not None
    assert deployer.record.information.deployment_id == wanted.deployment_id


@pytest.mark.parametrize("phase", [Phase.RESOLVE, Phase.DOWNLOAD])
def test_a_failure_before_the_merge_changes_nothing(phase: Phase) -> None:
    deployer = deployed({"A": "1.0.0"})
    before = (dict(deployer.current), deployer.record.deployment_id)
    deployer.handle(Offered("j", document({"A": "2.0.0"})))
    if phase is Phase.DOWNLOAD:
        deployer.handle(RecipesFetched("j", {"A": recipe("A", "2.0.0")}))
    assert deployer.phase is phase
    effects = deployer.handle(Failed("j", "SHA-256 is ..."))
    assert only(effects, Tell).result == Result("FAILED", "FAILED_NO_STATE_CHANGE", "SHA-256 is ...")
    assert not [effect for effect in effects if isinstance(effect, Apply)]
    assert (dict(deployer.current), deployer.record.deployment_id) == before


def test_a_recipe_that_is_not_what_was_asked_for_fails() -> None:
    deployer = Deployer()
    deployer.handle(Offered("j", document({"A": "2.0.0"})))
    result = only(deployer.handle(RecipesFetched("j", {"A": recipe("A", "1.0.0")})), Tell).result
    assert result.detail == "FAILED_NO_STATE_CHANGE"
    assert result.reason == "A 2.0.0: its recipe is of A 1.0.0"


def broken(policy: str) -> tuple[Deployer, list[Effect]]:
    deployer = deployed({"A": "1.0.0", "B": "1.0.0"})
    wanted = document({"A": "2.0.0"}, policy)
    effects = merge(deployer, "j", wanted, {"A": recipe("A", "2.0.0")})
    apply = only(effects, Apply)
    assert apply.plan == Plan(remove=("B",), replace=("A",))
    assert deployer.handle(Applied(apply.serial, {"A": ComponentState.STARTING})) == []
    return deployer, deployer.handle(Changed("A", ComponentState.BROKEN, "run exited with code 1"))


def test_what_does_not_run_is_rolled_back() -> None:
    deployer, effects = broken("ROLLBACK")
    back = only(effects, Apply)
    assert back.plan == Plan(replace=("A",), start=("B",))
    assert {name: one.version for name, one in back.target.items()} == {"A": "1.0.0", "B": "1.0.0"}
    result = only(running(deployer, effects), Tell).result
    assert result == Result("FAILED", "FAILED_ROLLBACK_COMPLETE", "A: run exited with code 1")
    assert set(deployer.current) == {"A", "B"}


def test_a_rollback_can_fail() -> None:
    deployer, effects = broken("ROLLBACK")
    deployer.handle(Applied(only(effects, Apply).serial, deployer.states))
    result = only(deployer.handle(Changed("B", ComponentState.BROKEN, "gone")), Tell).result
    assert result.detail == "FAILED_UNABLE_TO_ROLLBACK"


def test_what_the_new_version_still_says_is_no_failure_of_the_rollback() -> None:
    deployer, effects = broken("ROLLBACK")
    apply = only(effects, Apply)
    assert deployer.handle(Changed("A", ComponentState.BROKEN, "the new one again")) == []
    there = {"A": ComponentState.RUNNING, "B": ComponentState.RUNNING}
    assert only(deployer.handle(Applied(apply.serial, there)), Tell).result.detail == "FAILED_ROLLBACK_COMPLETE"


def test_no_rollback_unless_it_is_wanted() -> None:
    deployer, effects = broken("DO_NOTHING")
    assert only(effects, Tell).result.detail == "FAILED_ROLLBACK_NOT_REQUESTED"
    assert {name: one.version for name, one in deployer.current.items()} == {"A": "2.0.0"}


def test_success_waits_until_what_goes_has_gone() -> None:
    deployer = deployed({"A": "1.0.0"})
    effects = merge(deployer, "j", document({}), {})
    assert not [effect for effect in effects if isinstance(effect, Tell)]
    assert (
        only(deployer.handle(Applied(only(effects, Apply).serial, deployer.states)), Tell).result.status == "SUCCEEDED"
    )


def test_a_changed_configuration_is_taken_by_the_component_and_its_state_decides() -> None:
    deployer = deployed({"A": "1.0.0"})
    effects = merge(deployer, "j", document({"A": ("1.0.0", {"x": 1})}), {"A": recipe("A")})
    apply = only(effects, Apply)
    assert apply.plan == Plan(reconfigure=("A",))
    assert apply.target["A"].configuration == {"x": 1}
    assert deployer.handle(Applied(apply.serial, deployer.states)) == []
    assert only(deployer.handle(Changed("A", ComponentState.RUNNING)), Tell).result.status == "SUCCEEDED"


def test_a_broken_component_is_started_again_by_the_next_deployment() -> None:
    deployer = deployed({"A": "1.0.0"})
    deployer.handle(Changed("A", ComponentState.BROKEN))
    effects = merge(deployer, "j", document({"A": "1.0.0"}), {"A": recipe("A")})
    assert only(effects, Apply).plan == Plan(replace=("A",))


def test_a_repeated_job_is_answered_with_its_result() -> None:
    deployer = deployed({"A": "1.0.0"})
    assert deployer.handle(Offered("first", document({"A": "9.0.0"}))) == [
        Tell("first", Result("SUCCEEDED", "SUCCESSFUL"))
    ]
    deployer.handle(Offered("j", document({"A": "2.0.0"})))
    assert deployer.handle(Offered("j", document({"A": "2.0.0"}))) == []


def at(deployer: Deployer, job: str, phase: Phase) -> None:
    """Take a job that also removes something to a phase."""
    wanted = document({"A": "2.0.0"}, notify=True)
    deployer.handle(Offered(job, wanted))
    if phase is not Phase.RESOLVE:
        deployer.handle(RecipesFetched(job, {"A": recipe("A", "2.0.0")}))
    if phase in (Phase.NOTIFY, Phase.MERGE):
        deployer.handle(ArtifactsFetched(job))
    if phase is Phase.MERGE:
        deployer.handle(Notified(job))
    assert deployer.phase is phase


@pytest.mark.parametrize("phase", [Phase.RESOLVE, Phase.DOWNLOAD, Phase.NOTIFY])
def test_before_the_merge_a_job_can_be_cancelled_and_is_told_so(phase: Phase) -> None:
    deployer = deployed({"A": "1.0.0", "B": "1.0.0"})
    told_of = deployer.record.information
    at(deployer, "j", phase)
    effects = deployer.handle(NothingOffered())
    assert effects[0] == Abandon("j")
    assert only(effects, Tell) == Tell("j", Result("REJECTED", "REJECTED", "cancelled by the controller"))
    for late in (RecipesFetched("j", {"A": recipe("A", "2.0.0")}), ArtifactsFetched("j"), Notified("j")):
        assert deployer.handle(late) == []
    assert deployer.current["A"].version == "1.0.0"
    assert deployer.record.information == told_of, "the node still has what it had"


@pytest.mark.parametrize("phase", [Phase.RESOLVE, Phase.DOWNLOAD, Phase.NOTIFY])
def test_a_newer_job_takes_the_place_of_one_that_has_not_merged(phase: Phase) -> None:
    deployer = deployed({"A": "1.0.0", "B": "1.0.0"})
    at(deployer, "old", phase)
    effects = deployer.handle(Offered("new", document({"A": "3.0.0"})))
    assert effects[0] == Abandon("old")
    told = {effect.job: effect.result for effect in effects if isinstance(effect, Tell)}
    assert (told["old"].status, told["new"].status) == ("REJECTED", "IN_PROGRESS")
    assert "new" in (told["old"].reason or "")
    assert only(effects, FetchRecipes).job == "new"


def test_of_three_jobs_that_overlap_each_gets_a_result() -> None:
    deployer = Deployer()
    effects = merge(deployer, "first", document({"A": "1.0.0"}), {"A": recipe("A")})
    assert deployer.handle(Offered("second", document({"A": "2.0.0"}))) == []
    assert deployer.handle(Offered("second", document({"A": "2.0.0"}))) == [], "named twice"
    third = deployer.handle(Offered("third", document({"A": "3.0.0"})))
    assert only(third, Tell).job == "second"
    assert only(third, Tell).result.status == "REJECTED"
    assert "third" in (only(third, Tell).result.reason or "")
    effects = running(deployer, effects)
    assert [effect for effect in effects if isinstance(effect, Tell)] == [
        Tell("first", Result("SUCCEEDED", "SUCCESSFUL")),
        Tell("third", Result("IN_PROGRESS")),
    ]
    assert only(effects, FetchRecipes).job == "third"


def test_a_job_that_waits_can_be_cancelled_and_the_merge_goes_on() -> None:
    deployer = Deployer()
    effects = merge(deployer, "first", document({"A": "1.0.0"}), {"A": recipe("A")})
    deployer.handle(Offered("second", document({"A": "2.0.0"})))
    assert only(deployer.handle(NothingOffered()), Tell).job == "second"
    assert only(running(deployer, effects), Tell).result.status == "SUCCEEDED"


def test_results_are_told_again_until_the_controller_has_taken_them() -> None:
    deployer = deployed({"A": "1.0.0"})
    deployer.handle(Unreadable("junk", "no JSON"))
    told = [
        Tell("first", Result("SUCCEEDED", "SUCCESSFUL")),
        Tell("junk", Result("REJECTED", "REJECTED", "no JSON")),
    ]
    assert deployer.handle(Connected()) == told
    assert Deployer(deployer.record).handle(Connected()) == told, "also by an agent that is started again"
    deployer.handle(Confirmed("first"))
    deployer.handle(Offered("j", document({"A": "2.0.0"})))
    assert deployer.handle(Connected()) == [told[1], Tell("j", Result("IN_PROGRESS"))]


def test_what_cannot_be_saved_is_not_merged_and_the_next_one_is() -> None:
    deployer = deployed({"A": "1.0.0", "B": "1.0.0"})
    before = deployer.record
    at(deployer, "j", Phase.MERGE)
    assert deployer.handle(Offered("next", document({"A": "3.0.0"}))) == []
    effects = deployer.handle(Failed("j", "deployment.json: No space left on device"))
    assert effects[0] == Abandon("j")
    (result, following) = [effect for effect in effects if isinstance(effect, Tell)]
    assert result.result == Result("FAILED", "FAILED_NO_STATE_CHANGE", "deployment.json: No space left on device")
    assert (deployer.current, deployer.record.deployment_id) == (before.components, before.deployment_id)
    assert following.job == "next", "it does not wait for ever"


def test_components_that_go_are_notified_first() -> None:
    deployer = deployed({"A": "1.0.0", "B": "1.0.0"})
    deployer.handle(Offered("j", document({"A": "1.0.0"}, notify=True)))
    deployer.handle(RecipesFetched("j", {"A": recipe("A")}))
    wanted = document({"A": "1.0.0"}, notify=True)
    assert deployer.handle(ArtifactsFetched("j")) == [Notify("j", wanted.deployment_id, ("B",), 60)]
    only(deployer.handle(Notified("j")), Commit)
    assert only(deployer.handle(Committed("j")), Apply).plan == Plan(remove=("B",))


def test_an_update_is_told_of_unless_it_is_not_wanted_or_changes_nothing() -> None:
    deployer = deployed({"A": "1.0.0"})
    wanted = document({"A": "2.0.0"}, notify=True)
    deployer.handle(Offered("j", wanted))
    deployer.handle(RecipesFetched("j", {"A": recipe("A", "2.0.0")}))
    assert deployer.handle(ArtifactsFetched("j")) == [Notify("j", wanted.deployment_id, (), 60)]
    assert deployer.phase is Phase.NOTIFY
    deployer = deployed({"A": "1.0.0"})
    deployer.handle(Offered("j", document({"A": "1.0.0"}, notify=True)))
    deployer.handle(RecipesFetched("j", {"A": recipe("A")}))
    only(deployer.handle(ArtifactsFetched("j")), Commit)


def asked(deployer: Deployer, merge: dict[str, Any]) -> list[Effect]:
    """Take a job that changes the configuration of A to where A is asked."""
    deployer.handle(Offered("j", document({"A": ("1.0.0", merge)}), at_ms=50))
    deployer.handle(RecipesFetched("j", {"A": recipe("A")}))
    return deployer.handle(ArtifactsFetched("j"))


def test_a_component_is_asked_whether_it_takes_a_configuration_and_may_refuse() -> None:
    deployer = deployed({"A": "1.0.0"})
    wanted = document({"A": ("1.0.0", {"x": 1})})
    assert asked(deployer, {"x": 1}) == [Validate("j", wanted.deployment_id, {"A": {"x": 1}}, 30)]
    assert deployer.phase is Phase.CONFIGURE
    effects = deployer.handle(Failed("j", "the new configuration is refused by A: no"))
    assert only(effects, Tell).result.detail == "FAILED_NO_STATE_CHANGE"
    assert deployer.current["A"].configuration == {}


def test_one_that_takes_another_version_is_not_asked() -> None:
    deployer = deployed({"A": "1.0.0"})
    deployer.handle(Offered("j", document({"A": ("2.0.0", {"x": 1})})))
    deployer.handle(RecipesFetched("j", {"A": recipe("A", "2.0.0")}))
    only(deployer.handle(ArtifactsFetched("j")), Commit)


def test_what_a_component_changes_itself_while_a_deployment_is_under_way_is_kept() -> None:
    deployer = deployed({"A": "1.0.0"})
    asked(deployer, {"x": 1})
    deployer.handle(Configured("A", {"x": 0, "own": 7}, {"/x": 20, "/own": 20}))
    assert deployer.current["A"].configuration == {"x": 0, "own": 7}
    (commit,) = deployer.handle(Validated("j"))
    assert isinstance(commit, Commit)
    assert commit.record.components["A"].configuration == {"x": 1, "own": 7}
    assert commit.record.components["A"].times == {"/x": 50, "/own": 20}, "the deployment's values are of its time"
    deployer.handle(Configured("A", {"x": 1, "own": 8}, {"/x": 50, "/own": 60}))
    deployer.handle(Committed("j"))
    assert deployer.current["A"].configuration == {"x": 1, "own": 8}


def test_a_rollback_brings_back_the_configuration_with_its_times() -> None:
    deployer = deployed({"A": "1.0.0"})
    deployer.handle(Configured("A", {"own": 7}, {"/own": 20}))
    merged = merge(deployer, "j", document({"A": ("1.0.0", {"own": 9})}), {"A": recipe("A")})
    deployer.handle(Applied(only(merged, Apply).serial, {"A": ComponentState.BROKEN}))
    assert (deployer.current["A"].configuration, deployer.current["A"].times) == ({"own": 7}, {"/own": 20})


def test_a_job_that_cannot_be_read_is_rejected_once() -> None:
    deployer = Deployer()
    effects = deployer.handle(Unreadable("j", "components: expected"))
    assert only(effects, Tell).result == Result("REJECTED", "REJECTED", "components: expected")
    assert deployer.handle(Unreadable("j", "again")) == [
        Tell("j", Result("REJECTED", "REJECTED", "components: expected"))
    ]


def needs(name: str, requirement: str, kind: str = "HARD") -> dict[str, Any]:
    return {"ComponentDependencies": {name: {"VersionRequirement": requirement, "DependencyType": kind}}}


@pytest.mark.parametrize(
    ("recipes", "problem"),
    [
        ({"A": recipe("A", **needs("B", "^1.0.0"))}, "lacks"),
        ({"A": recipe("A", **needs("B", "^2.0.0")), "B": recipe("B")}, "has 1.0.0"),
        ({"A": recipe("A", **needs("B", "*")), "B": recipe("B", **needs("A", "*"))}, "circle"),
    ],
)
def test_dependencies_that_are_not_met_are_named(recipes: dict[str, Recipe], problem: str) -> None:
    deployer = Deployer()
    deployer.handle(Offered("j", document(dict.fromkeys(recipes, "1.0.0"))))
    result = only(deployer.handle(RecipesFetched("j", recipes)), Tell).result
    assert problem in (result.reason or "")


def test_dependencies_start_first_and_end_last() -> None:
    def installed(one: Recipe) -> Installed:
        return Installed(one, "d", {})

    both = {"A": installed(recipe("A", **needs("B", "*"))), "B": installed(recipe("B"))}
    assert plan({}, both).start == ("B", "A")
    assert plan(both, {}).remove == ("A", "B")


@pytest.mark.parametrize(("kind", "restarted"), [("HARD", ("B", "A")), ("SOFT", ("B",))])
def test_what_needs_a_component_that_is_replaced_starts_again_with_it(kind: str, restarted: tuple[str, ...]) -> None:
    def components(version: str) -> dict[str, Installed]:
        dependent = Installed(recipe("A", **needs("B", "*", kind)), "a", {})
        return {"A": dependent, "B": Installed(recipe("B", version), version, {})}

    assert plan(components("1.0.0"), components("2.0.0")).replace == restarted


def test_the_first_manifest_that_fits_is_taken() -> None:
    manifests = [
        {"Name": "w", "Platform": {"os": "windows"}},
        {"Name": "arm", "Platform": {"os": "linux", "architecture": "aarch64"}},
        {"Name": "either", "Platform": {"os": "/darwin|linux/", "runtime": "*"}},
        {"Name": "any", "Platform": {"os": "*"}},
    ]
    one = recipe("A", Manifests=manifests)
    assert manifest_for(one, architecture="amd64").name == "either"
    assert manifest_for(one, architecture="aarch64").name == "arm"
    with pytest.raises(ResolveError, match="no manifest"):
        manifest_for(recipe("A", Manifests=manifests[:2]), architecture="amd64")


versions = st.dictionaries(st.sampled_from("ABCD"), st.tuples(st.sampled_from("123"), st.integers(0, 1)))


@given(versions, versions)
def test_a_plan_leads_from_what_runs_to_what_is_wanted(
    before: dict[str, tuple[str, int]], after: dict[str, tuple[str, int]]
) -> None:
    def components(of: dict[str, tuple[str, int]]) -> dict[str, Installed]:
        return {name: Installed(recipe(name, f"{v}.0.0"), v, {"x": x}) for name, (v, x) in of.items()}

    steps = plan(components(before), components(after))
    running = {name: before[name] for name in before if name not in steps.remove}
    running |= {name: after[name] for name in steps.start + steps.replace + steps.reconfigure}
    assert running == after
    changed = {name for name in before.keys() & after.keys() if before[name] != after[name]}
    assert set(steps.replace) | set(steps.reconfigure) == changed
    assert all(before[name][0] == after[name][0] for name in steps.reconfigure)
