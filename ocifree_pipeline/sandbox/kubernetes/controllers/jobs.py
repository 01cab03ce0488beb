"""Jobs: pods until enough of them have succeeded, or too many have failed."""

from dataclasses import dataclass, field

from ocifree_pipeline.sandbox.kubernetes.conditions import (
    condition,
    keys_of_owner,
    own_key,
    pod_from,
    split,
    with_conditions,
)
from ocifree_pipeline.sandbox.kubernetes.controllers.workloads import pods_of
from ocifree_pipeline.sandbox.kubernetes.running import Here, Keys
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at

JOBS, PODS = "batch/v1/jobs", "v1/pods"
ENDS = frozenset({"Complete", "Failed"})


@dataclass(frozen=True, slots=True)
class Jobs:
    name: str = "jobs"
    watches: dict[str, Keys] = field(default_factory=lambda: {"jobs.batch": own_key, "pods": keys_of_owner("Job")})

    def reconcile(self, here: Here, key: str) -> float | None:
        namespace, name = split(key)
        tree = here.client.get(JOBS, namespace, name)
        if tree is None or tree["metadata"].get("deletionTimestamp"):
            return None
        conditions = at(tree, "status", "conditions", default=[])
        if any(one["type"] in ENDS and one["status"] == "True" for one in conditions):
            return _tidy(here, tree)
        spec = tree["spec"]
        pods = pods_of(here, tree)
        phases = [at(one, "status", "phase") for one in pods]
        succeeded, failed = phases.count("Succeeded"), phases.count("Failed")
        active = len(pods) - succeeded - failed
        missing = min(spec["parallelism"], spec["completions"] - succeeded) - active
        if failed <= spec["backoffLimit"] and not spec["suspend"]:
            for _ in range(missing):
                here.client.create(PODS, pod_from(spec["template"], namespace, f"{name}-", tree))
                active += 1
        _say(here, tree, active=active, succeeded=succeeded, failed=failed)
        return None


def _say(here: Here, tree: Tree, *, active: int, succeeded: int, failed: int) -> None:
    spec = tree["spec"]
    status: Tree = {"startTime": at(tree, "status", "startTime", default=here.stamp), "ready": 0}
    counts = {"active": active, "succeeded": succeeded, "failed": failed}
    status |= {name: value for name, value in counts.items() if value}
    said: list[Tree] = []
    if succeeded >= spec["completions"]:
        message = "Reached expected number of succeeded pods"
        said = [
            condition("SuccessCriteriaMet", True, "CompletionsReached", message),
            condition("Complete", True, "CompletionsReached", message),
        ]
        status["completionTime"] = here.stamp
    elif failed > spec["backoffLimit"]:
        message = "Job has reached the specified backoff limit"
        said = [
            condition("FailureTarget", True, "BackoffLimitExceeded", message),
            condition("Failed", True, "BackoffLimitExceeded", message),
        ]
    if said or at(tree, "status", "conditions"):
        status["conditions"] = with_conditions(tree, said, here.stamp)
    here.client.set_status(JOBS, tree, status)


def _tidy(here: Here, tree: Tree) -> float | None:
    """A job that says how long it wants to be kept goes after that time."""
    keep = tree["spec"].get("ttlSecondsAfterFinished")
    since = at(tree, "status", "completionTime")
    if keep is None or since is None:
        return None
    from ocifree_pipeline.sandbox.clock import parse

    left = float(keep) - (here.now - parse(since)).total_seconds()
    if left > 0:
        return left
    metadata = tree["metadata"]
    here.client.delete(JOBS, metadata["namespace"], metadata["name"], propagationPolicy="Background")
    return None
