"""source-controller: repositories of charts, charts in them, and Git repositories."""

import hashlib
import json
from dataclasses import dataclass, field

from ocifree_pipeline.sandbox.kubernetes.catalogue import charts
from ocifree_pipeline.sandbox.kubernetes.conditions import is_true, key, own_key, split
from ocifree_pipeline.sandbox.kubernetes.controllers.flux import (
    CHARTS,
    GIT,
    REPOSITORIES,
    ready,
    runs,
    seconds,
    waits,
    when_it_comes_up,
)
from ocifree_pipeline.sandbox.kubernetes.running import Here, Keys
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at

CONTROLLER = "source-controller"
RETRY_SECONDS = 10.0


def artifact(path: str, content: str, revision: str, now: str) -> Tree:
    digest = hashlib.sha256(content.encode()).hexdigest()
    return {
        "digest": f"sha256:{digest}",
        "lastUpdateTime": now,
        "path": path,
        "revision": revision or f"sha256:{digest}",
        "size": len(content),
        "url": f"http://source-controller.flux-system.svc.cluster.local./{path}",
    }


@dataclass(frozen=True, slots=True)
class HelmRepositories:
    name: str = "helmrepositories"
    watches: dict[str, Keys] = field(
        default_factory=lambda: {
            "helmrepositories.source.toolkit.fluxcd.io": own_key,
            "pods": when_it_comes_up(CONTROLLER, REPOSITORIES),
        }
    )

    def reconcile(self, here: Here, key: str) -> float | None:
        namespace, name = split(key)
        tree = here.client.get(REPOSITORIES, namespace, name)
        if tree is None or tree["spec"].get("suspend") or not runs(here, CONTROLLER):
            return None
        if waits(tree, "Failed") and not here.timed:
            return None
        url = tree["spec"]["url"]
        rule = here.strikes(f"fetch/{url}")
        known = charts.published(url)
        if rule is not None or not known:
            why = rule.message if rule is not None else "404 Not Found: the sandbox does not know this repository"
            message = f"failed to fetch Helm repository index: failed to fetch {url.rstrip('/')}/index.yaml : {why}"
            here.client.set_status(REPOSITORIES, tree, ready(tree, False, "Failed", message, here.stamp))
            return RETRY_SECONDS if rule is not None else None
        if at(tree, "status", "observedGeneration") == tree["metadata"]["generation"] and is_true(tree, "Ready"):
            return None
        found = artifact(f"helmrepository/{key}/index.yaml", json.dumps([one.name for one in known]), "", here.stamp)
        message = f"stored artifact: revision '{found['revision']}'"
        status = ready(tree, True, "Succeeded", message, here.stamp) | {"artifact": found, "url": found["url"]}
        here.client.set_status(REPOSITORIES, tree, status)
        return None


@dataclass(frozen=True, slots=True)
class HelmCharts:
    name: str = "helmcharts"
    watches: dict[str, Keys] = field(
        default_factory=lambda: {
            "helmcharts.source.toolkit.fluxcd.io": own_key,
            "helmrepositories.source.toolkit.fluxcd.io": lambda here, repository: [
                key(one)
                for one in here.client.list(CHARTS, repository["metadata"]["namespace"])
                if one["spec"]["sourceRef"]["name"] == repository["metadata"]["name"]
            ],
            "pods": when_it_comes_up(CONTROLLER, CHARTS),
        }
    )

    def reconcile(self, here: Here, key: str) -> float | None:
        namespace, name = split(key)
        tree = here.client.get(CHARTS, namespace, name)
        if tree is None or tree["spec"].get("suspend") or not runs(here, CONTROLLER):
            return None
        spec = tree["spec"]
        reference, wanted = spec["sourceRef"], spec.get("version", "*")
        repository = here.client.get(REPOSITORIES, namespace, reference["name"])
        if repository is None or not is_true(repository, "Ready"):
            message = (
                f'failed to get source: helmrepositories.source.toolkit.fluxcd.io "{reference["name"]}" not found'
                if repository is None
                else f"no artifact available for HelmRepository source '{reference['name']}'"
            )
            here.client.set_status(CHARTS, tree, ready(tree, False, "NoSourceArtifact", message, here.stamp))
            return None
        found = next((one for one in charts.published(repository["spec"]["url"]) if one.name == spec["chart"]), None)
        if found is None or not found.has(wanted):
            message = (
                "invalid chart reference: failed to get chart version for remote reference: no "
                f"'{spec['chart']}' chart with version matching '{wanted}' found"
            )
            here.client.set_status(CHARTS, tree, ready(tree, False, "InvalidChartReference", message, here.stamp))
            return None
        path = f"helmchart/{key}/{found.name}-{wanted}.tgz"
        before = at(tree, "status", "artifact", default={})
        stored = before if before.get("revision") == wanted else artifact(path, path, wanted, here.stamp)
        message = f"pulled '{found.name}' chart with version '{wanted}'"
        status = ready(tree, True, "ChartPullSucceeded", message, here.stamp)
        here.client.set_status(CHARTS, tree, status | {"artifact": stored, "url": stored["url"]})
        return None


@dataclass(frozen=True, slots=True)
class GitRepositories:
    """Of what the sandbox was given to serve (``Cluster.publish``)."""

    name: str = "gitrepositories"
    watches: dict[str, Keys] = field(
        default_factory=lambda: {
            "gitrepositories.source.toolkit.fluxcd.io": own_key,
            "pods": when_it_comes_up(CONTROLLER, GIT),
        }
    )

    def reconcile(self, here: Here, key: str) -> float | None:
        namespace, name = split(key)
        tree = here.client.get(GIT, namespace, name)
        if tree is None or tree["spec"].get("suspend") or not runs(here, CONTROLLER):
            return None
        if waits(tree, "GitOperationFailed") and not here.timed:
            return None
        url = tree["spec"]["url"]
        rule = here.strikes(f"fetch/{url}")
        known = here.state.get("repositories", {}).get(url)
        if rule is not None or known is None:
            why = rule.message if rule is not None else "repository not found"
            message = f"failed to checkout and determine revision: unable to clone '{url}': {why}"
            here.client.set_status(GIT, tree, ready(tree, False, "GitOperationFailed", message, here.stamp))
            return RETRY_SECONDS if rule is not None else None
        branch = at(tree, "spec", "ref", "branch", default="master")
        revision = f"{branch}@sha1:{known['commit']}"
        before = at(tree, "status", "artifact", default={})
        if before.get("revision") != revision or not is_true(tree, "Ready"):
            found = artifact(f"gitrepository/{key}/{known['commit']}.tar.gz", revision, revision, here.stamp)
            message = f"stored artifact for revision '{revision}'"
            status = ready(tree, True, "Succeeded", message, here.stamp) | {"artifact": found}
            here.client.set_status(GIT, tree, status)
        return seconds(tree["spec"]["interval"])
