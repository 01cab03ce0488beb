"""helm-controller: releases of charts, installed, upgraded, waited for, and taken out again."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from ocifree_pipeline.sandbox.kubernetes import events
from ocifree_pipeline.sandbox.kubernetes.catalogue import charts, releases
from ocifree_pipeline.sandbox.kubernetes.catalogue.charts import Chart, Release
from ocifree_pipeline.sandbox.kubernetes.conditions import condition, is_true, key, own_key, split, with_conditions
from ocifree_pipeline.sandbox.kubernetes.controllers.flux import (
    CHARTS,
    FINALIZER,
    RELEASES,
    ready,
    runs,
    seconds,
    shown,
    waits,
    when_it_comes_up,
)
from ocifree_pipeline.sandbox.kubernetes.running import Here, Keys
from ocifree_pipeline.sandbox.kubernetes.statuses import Refusal
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at
from ocifree_pipeline.sandbox.kubernetes.yamls import load_yaml

CONTROLLER = "helm-controller"
RETRY_SECONDS = 300.0
DEPENDENCY_SECONDS = 30.0
FAILURES = ("InstallFailed", "UpgradeFailed")
LABEL = "helm.toolkit.fluxcd.io"


def _of_chart(_here: Here, chart: Tree) -> Iterable[str]:
    labels = at(chart, "metadata", "labels", default={})
    place = labels.get(f"{LABEL}/namespace")
    return (f"{place}/{labels[f'{LABEL}/name']}",) if place else ()


def _of_workload(_here: Here, tree: Tree) -> Iterable[str]:
    return _of_chart(_here, tree)


def _of_values(here: Here, tree: Tree) -> Iterable[str]:
    metadata = tree["metadata"]
    return [
        key(one)
        for one in here.client.list(RELEASES, metadata.get("namespace", ""))
        if any(source["name"] == metadata["name"] for source in one["spec"].get("valuesFrom") or ())
    ]


@dataclass(frozen=True, slots=True)
class HelmReleases:
    name: str = "helmreleases"
    watches: dict[str, Keys] = field(
        default_factory=lambda: {
            "helmreleases.helm.toolkit.fluxcd.io": own_key,
            "helmcharts.source.toolkit.fluxcd.io": _of_chart,
            "deployments.apps": _of_workload,
            "daemonsets.apps": _of_workload,
            "statefulsets.apps": _of_workload,
            "secrets": _of_values,
            "configmaps": _of_values,
            "pods": when_it_comes_up(CONTROLLER, RELEASES),
        }
    )

    def reconcile(self, here: Here, key: str) -> float | None:
        namespace, name = split(key)
        tree = here.client.get(RELEASES, namespace, name)
        if tree is None or not runs(here, CONTROLLER):
            return None
        metadata, spec = tree["metadata"], tree["spec"]
        if metadata.get("deletionTimestamp"):
            _take_out(here, tree)
            return None
        if FINALIZER not in (metadata.get("finalizers") or []):
            wanted = {"metadata": {"finalizers": [*(metadata.get("finalizers") or ()), FINALIZER]}}
            tree = here.client.patch(RELEASES, namespace, name, wanted)
        if spec.get("suspend") or (waits(tree, *FAILURES) and not here.timed):
            return None
        waiting = next(
            (one for one in spec.get("dependsOn") or () if not _is_done(here, one, metadata["namespace"])), None
        )
        if waiting is not None:
            place = waiting.get("namespace", namespace)
            message = f"dependency '{place}/{waiting['name']}' is not ready"
            _say(here, tree, ready(tree, False, "DependencyNotReady", message, here.stamp))
            return DEPENDENCY_SECONDS
        source = _chart_of(here, tree)
        if source is None or not is_true(source, "Ready"):
            said = next(
                (one["message"] for one in at(source, "status", "conditions", default=[]) if one["type"] == "Ready"),
                f"HelmChart '{namespace}/{namespace}-{name}' is not ready: latest generation of object has not been "
                "reconciled",
            )
            reason = "SourceNotReady" if source is None or not at(source, "status", "conditions") else "ArtifactFailed"
            _say(here, tree, ready(tree, False, reason, said, here.stamp))
            return None
        return _converge(here, tree, source)


def _is_done(here: Here, reference: Tree, namespace: str) -> bool:
    found = here.client.get(RELEASES, reference.get("namespace", namespace), reference["name"])
    return is_true(found, "Ready") and at(found, "status", "observedGeneration") == at(found, "metadata", "generation")


def _chart_of(here: Here, tree: Tree) -> Tree | None:
    """The HelmChart that a release makes for itself."""
    metadata, wanted = tree["metadata"], at(tree, "spec", "chart", "spec")
    if wanted is None:
        return None
    reference = wanted["sourceRef"]
    place = reference.get("namespace", metadata["namespace"])
    body: Tree = {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "HelmChart",
        "metadata": {
            "name": f"{metadata['namespace']}-{metadata['name']}",
            "namespace": place,
            "labels": {f"{LABEL}/name": metadata["name"], f"{LABEL}/namespace": metadata["namespace"]},
        },
        "spec": {
            "chart": wanted["chart"],
            "version": wanted.get("version", "*"),
            "interval": wanted.get("interval", tree["spec"]["interval"]),
            "sourceRef": {"kind": reference["kind"], "name": reference["name"]},
        },
    }
    here.client.apply(CHARTS, body, CONTROLLER)
    return here.client.get(CHARTS, place, body["metadata"]["name"])


def _converge(here: Here, tree: Tree, source: Tree) -> float | None:
    metadata, spec = tree["metadata"], tree["spec"]
    chart = charts.named(source["spec"]["chart"])
    if chart is None:
        return None
    try:
        values = _values(here, tree)
    except Refusal as refusal:
        _say(here, tree, ready(tree, False, "ValuesError", refusal.message, here.stamp))
        return DEPENDENCY_SECONDS
    place = spec.get("targetNamespace", metadata["namespace"])
    release = Release(
        spec.get("releaseName", metadata["name"]), place, source["status"]["artifact"]["revision"].lstrip("v"), values
    )
    digest = hashlib.sha256(json.dumps([release.version, values], sort_keys=True).encode()).hexdigest()
    before = releases.deployed(here.client, place, release.name)
    action = "upgrade" if before else "install"
    status: Tree = tree.get("status") or {}
    if before is None or status.get("lastAttemptedConfigDigest") != f"sha256:{digest}" or waits(tree, *FAILURES):
        rule = here.strikes(f"release/{metadata['namespace']}/{metadata['name']}")
        labels = {f"{LABEL}/name": metadata["name"], f"{LABEL}/namespace": metadata["namespace"]}
        try:
            if rule is not None:
                raise Refusal(rule.status, rule.code, rule.message)
            releases.install(here, here.client, chart, release, CONTROLLER, **labels)
        except Refusal as refusal:
            return _fail(here, tree, chart, release, action=action, message=refusal.message)
        tree = here.client.get(RELEASES, metadata["namespace"], metadata["name"]) or tree
        status = (tree.get("status") or {}) | {
            "lastAttemptedConfigDigest": f"sha256:{digest}",
            "lastAttemptedRevision": release.version,
            "lastAttemptedReleaseAction": action,
            "lastAttemptedGeneration": metadata["generation"],
            "failures": 0,
        }
        tree = tree | {"status": status}
    action = status.get("lastAttemptedReleaseAction", action)
    unready = releases.unready(here.client, place, release.name)
    if unready:
        timeout = spec.get("timeout", "5m")
        since = _progressing_since(tree, here.stamp)
        message = f"Running '{action}' action with timeout of {shown(seconds(timeout))}"
        _say(here, tree, ready(tree, "Unknown", "Progressing", message, here.stamp))
        left = here.left(since, seconds(timeout))
        if left > 0 or here.immediate:
            return left or None
        waited = f"context deadline exceeded: {', '.join(unready)} not ready"
        return _fail(here, tree, chart, release, action=action, message=waited)
    _succeed(here, tree, chart, release, action)
    return None


def _progressing_since(tree: Tree, now: str) -> str:
    for one in at(tree, "status", "conditions", default=[]):
        if one["type"] == "Ready" and one["reason"] == "Progressing":
            return str(one["lastTransitionTime"])
    return now


def _values(here: Here, tree: Tree) -> Tree:
    import base64

    merged: Tree = {}
    namespace = tree["metadata"]["namespace"]
    for one in tree["spec"].get("valuesFrom") or ():
        resource = "v1/secrets" if one["kind"] == "Secret" else "v1/configmaps"
        found = here.client.get(resource, namespace, one["name"])
        text = at(found, "data", one.get("valuesKey", "values.yaml"))
        if text is None:
            if one.get("optional"):
                continue
            message = f"could not resolve {one['kind']} chart values reference '{namespace}/{one['name']}': not found"
            raise Refusal(500, "", message)
        if one["kind"] == "Secret":
            text = base64.b64decode(text).decode()
        if "targetPath" in one:
            _set(merged, one["targetPath"].split("."), text)
        else:
            merged = _laid_over(merged, (load_yaml(text) or [{}])[0])
    return _laid_over(merged, tree["spec"].get("values") or {})


def _set(tree: Tree, path: list[str], value: str) -> None:
    for step in path[:-1]:
        tree = tree.setdefault(step, {})
    tree[path[-1]] = value


def _laid_over(below: Tree, above: Tree) -> Tree:
    found = dict(below)
    for name, value in above.items():
        known = found.get(name)
        found[name] = _laid_over(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return found


def _fail(here: Here, tree: Tree, chart: Chart, release: Release, *, action: str, message: str) -> float:
    reason = f"{action.capitalize()}Failed"
    said = (
        f"Helm {action} failed for release {release.namespace}/{release.name} with chart "
        f"{chart.name}@{release.version}: {message}"
    )
    events.tell(here, tree, reason, said, by=CONTROLLER, warns=True)
    failures = at(tree, "status", "failures", default=0) + 1
    status = ready(tree, False, reason, said, here.stamp)
    released = condition("Released", False, reason, said)
    status["conditions"] = with_conditions(tree | {"status": status}, [released], here.stamp, generation=True)
    _say(here, tree, status | {"failures": failures, "lastAttemptedReleaseAction": action})
    strategy = at(tree, "spec", action, "strategy", default={})
    return seconds(strategy["retryInterval"]) if "retryInterval" in strategy else RETRY_SECONDS


def _succeed(here: Here, tree: Tree, chart: Chart, release: Release, action: str) -> None:
    found = releases.deployed(here.client, release.namespace, release.name)
    number = found["revision"] if found else 1
    reason = f"{action.capitalize()}Succeeded"
    said = (
        f"Helm {action} succeeded for release {release.namespace}/{release.name}.v{number} with chart "
        f"{chart.name}@{release.version}"
    )
    if not is_true(tree, "Ready"):
        events.tell(here, tree, reason, said, by=CONTROLLER)
    status = ready(tree, True, reason, said, here.stamp)
    released = condition("Released", True, reason, said)
    status["conditions"] = with_conditions(tree | {"status": status}, [released], here.stamp, generation=True)
    entry = {
        "chartName": chart.name,
        "chartVersion": release.version,
        "name": release.name,
        "namespace": release.namespace,
        "status": "deployed",
        "version": number,
    }
    history = at(tree, "status", "history", default=[])
    kept = [one | {"status": "superseded"} for one in history if one["version"] != number]
    _say(here, tree, status | {"history": [entry, *kept][:5], "helmChart": key(_reference(tree))})


def _reference(tree: Tree) -> Tree:
    metadata = tree["metadata"]
    return {"metadata": {"namespace": metadata["namespace"], "name": f"{metadata['namespace']}-{metadata['name']}"}}


def _say(here: Here, tree: Tree, status: Tree) -> None:
    here.client.set_status(RELEASES, tree, status)


def _take_out(here: Here, tree: Tree) -> None:
    metadata, spec = tree["metadata"], tree["spec"]
    place, name = spec.get("targetNamespace", metadata["namespace"]), spec.get("releaseName", metadata["name"])
    if not spec.get("suspend"):
        releases.uninstall(here.client, place, name)
    reference = at(spec, "chart", "spec", "sourceRef", "namespace", default=metadata["namespace"])
    here.client.delete(CHARTS, reference, f"{metadata['namespace']}-{metadata['name']}")
    left = [one for one in metadata.get("finalizers") or () if one != FINALIZER]
    patch = {"metadata": {"finalizers": left or None}}
    here.client.patch(RELEASES, metadata["namespace"], metadata["name"], patch)
