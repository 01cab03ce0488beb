"""Checks of the group platform, each asked of the cluster, or of its public entrance, as it is now."""

from __future__ import annotations

from collections.abc import Mapping

from ocifree_pipeline.deployment.errors import Transient
from ocifree_pipeline.record.definition import Step, Verdict
from ocifree_pipeline.record.outcome import Scalar
from ocifree_pipeline.record.platform import GatewayFacts, cluster_api, nodes_in, unready
from ocifree_pipeline.record.releases import RELEASES
from ocifree_pipeline.systems.kube.objects import Object, Ref, at


def cilium_ok(step: Step) -> Verdict:
    """An agent on every node, and every node Ready."""
    from ocifree_pipeline.systems.kube.readiness import state_of

    with cluster_api(step) as api:
        nodes = nodes_in(api)
        agents = api.get(api.require("apps/v1", "DaemonSet"), Ref("apps", "DaemonSet", "kube-system", "cilium"))
    available = int(at(agents, "status.numberAvailable", 0)) if agents is not None else 0
    problems = unready(step, nodes)
    if agents is None:
        problems.append("there is no daemonset cilium")
    elif state_of(agents).verdict != "ready" or available < len(nodes):
        problems.append(f"agents are available on {available} of {len(nodes)} nodes")
    numbers = {"agents": available, "nodes": len(nodes)}
    return Verdict(not problems, "; ".join(problems) or f"an agent on each of {len(nodes)} nodes, all Ready", numbers)


def ingress_reachable(step: Step) -> Verdict:
    """A request from outside, and the words of the sample in its answer: a pod behind the gateway has written them."""
    from ocifree_pipeline.systems.kube.ingress import ask

    facts = step.facts(step.key, GatewayFacts)
    try:
        answer = ask(facts.address, facts.host, http_proxy=step.blueprint.declaration.access.http_proxy)
    except Transient as error:
        return Verdict(False, f"{error.what}: {error.why}")
    if answer.status != 200:
        return Verdict(False, f"{facts.address} answers {answer.status} for {facts.host}", {"status": answer.status})
    if answer.text.strip() != facts.text:
        return Verdict(False, f"{facts.address} answers for {facts.host}, and it is not the sample that does")
    return Verdict(True, f"the sample answers at {facts.address}", {"status": answer.status})


def releases_ready(step: Step) -> Verdict:
    """Every release in the cluster, whoever declared it."""
    with cluster_api(step) as api:
        releases = api.list(api.require(*RELEASES))
    rows: tuple[Mapping[str, Scalar], ...] = tuple(_row(release) for release in releases)
    failed = [f"{row['release']}: {row['message']}" for row in rows if row["state"] != "ready"]
    numbers = {"releases": len(rows), "not ready": len(failed)}
    return Verdict(not failed, "; ".join(failed) or f"{len(rows)} releases are installed", numbers, rows)


def _row(release: Object) -> Mapping[str, Scalar]:
    from ocifree_pipeline.systems.kube.readiness import state_of

    state = state_of(release)
    name = f"{at(release, 'metadata.namespace')}/{at(release, 'metadata.name')}"
    return {"release": name, "state": state.verdict, "message": state.message}
