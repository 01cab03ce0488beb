"""What upgrade_talos and upgrade_kubernetes do: a snapshot first, one node at a time, a stop on the first doubt."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ocifree_pipeline.assets.etcd_backup import ensure_fresh
from ocifree_pipeline.deployment.errors import NotVerified, OcifreeError, PreconditionMissing
from ocifree_pipeline.deployment.plan import Topology
from ocifree_pipeline.deployment.sections.kubernetes import KUBERNETES_OF_TALOS
from ocifree_pipeline.record.cluster import (
    CLUSTER,
    ETCD_SECONDS,
    NODE_SECONDS,
    ClusterFacts,
    kept_configuration,
    nodes_of,
)
from ocifree_pipeline.record.definition import Step, record_anew
from ocifree_pipeline.record.platform import cluster_api, node_api, nodes_in, unready
from ocifree_pipeline.record.talos import MachineConfigFacts, config_key

if TYPE_CHECKING:
    from ocifree_pipeline.systems.talos.cluster import Nodes, Place

FRESH = timedelta(hours=1)
"""How young the snapshot has to be that an upgrade starts from, or goes on from."""
DRAIN_SECONDS: Mapping[Topology, float] = {"talos-native": 600.0, "proxmox-ceph": 1800.0}
"""For the pods of one node to end and for those that a budget waits for to be ready elsewhere."""
TALOS, KUBERNETES = "ocifree upgrade talos", "ocifree upgrade kubernetes"
RISK = "one node at a time restarts, and what runs on it pauses or moves"


# talos ----------------------------------------------------------------------------------------------------------------


def upgrade_talos(step: Step) -> str:
    from ocifree_pipeline.systems.talos import upgrading

    declared = step.blueprint.declaration.kubernetes
    wanted = declared.talos_version
    with nodes_of(step) as nodes:
        running = upgrading.versions_of(nodes)
        upgrading.require_adjacent("Talos", running.values(), wanted)
        facts = step.facts(CLUSTER, ClusterFacts)
        _require_supported(facts.kubernetes_version, wanted)
        _require_configurations(step, "talos_version", wanted)
        behind = [place for place in upgrading.in_order(nodes) if running[place.hostname] != wanted]
        for number, place in enumerate(behind):
            _require_well(step, nodes, place, TALOS)
            if not number:
                step.say(f"before the first node: {ensure_fresh(step, FRESH)} is the way back")
            step.say(f"{place.hostname}: from Talos {running[place.hostname]} to {wanted}")
            installer = step.facts(config_key(place.number), MachineConfigFacts).installer
            timeout = NODE_SECONDS[step.blueprint.plan.topology]
            with stopping(place.hostname, TALOS), _empty(step, place, f"Talos {wanted}"):
                upgrading.install(nodes, place, installer, wanted, step.say, timeout=timeout)
                _wait_until_well(step, nodes, place, lambda seen: _image(seen) == f"Talos (v{wanted})")
        after = upgrading.versions_of(nodes)
        _require_all(after, wanted, "Talos", TALOS)
        _open_again(step)
    said = _said("Talos", wanted, [place.hostname for place in behind])
    record_anew(step, CLUSTER, facts.model_copy(update={"talos_version": wanted}), said)
    return said


def _require_supported(kubernetes: str, talos: str) -> None:
    from ocifree_pipeline.systems.talos.upgrading import numbers

    minors = KUBERNETES_OF_TALOS[numbers(talos)[1]]
    if numbers(kubernetes)[1] not in minors:
        raise PreconditionMissing(
            f"Talos {talos} does not carry Kubernetes {kubernetes}, which runs",
            why=f"it carries 1.{minors[0]} to 1.{minors[-1]}",
            fix=f"{KUBERNETES} first, with a kubernetes_version that both can carry",
        )


# kubernetes -----------------------------------------------------------------------------------------------------------


def upgrade_kubernetes(step: Step) -> str:
    """API servers first, on all control planes; then kubelets, which may never be newer than one of those."""
    from ocifree_pipeline.systems.talos import upgrading

    declared = step.blueprint.declaration.kubernetes
    wanted = declared.kubernetes_version
    with nodes_of(step) as nodes:
        _require_all(upgrading.versions_of(nodes), declared.talos_version, "Talos", TALOS)
        _require_configurations(step, "kubernetes_version", wanted)
        facts = step.facts(CLUSTER, ClusterFacts)
        servers = {place.hostname: _api_version(step, place) for place in nodes.control_planes}
        kubelets = _kubelets(step, nodes)
        upgrading.require_adjacent("Kubernetes", [*servers.values(), *kubelets.values()], wanted)
        first = [place for place in nodes.control_planes if servers[place.hostname] != wanted]
        then = [place for place in upgrading.in_order(nodes) if kubelets[place.hostname] != wanted]
        for number, place in enumerate((*first, *then)):
            _require_well(step, nodes, place, KUBERNETES)
            if not number:
                step.say(f"before the first node: {ensure_fresh(step, FRESH)} is the way back")
            with stopping(place.hostname, KUBERNETES):
                if number < len(first):
                    _control_plane(step, nodes, place, kubelets[place.hostname], wanted)
                else:
                    _kubelet(step, nodes, place, wanted)
        _require_all(
            {place.hostname: _api_version(step, place) for place in nodes.control_planes},
            wanted,
            "Kubernetes",
            KUBERNETES,
        )
        _require_all(_kubelets(step, nodes), wanted, "Kubernetes", KUBERNETES)
        _open_again(step)
    said = _said("Kubernetes", wanted, list(dict.fromkeys(place.hostname for place in (*first, *then))))
    record_anew(step, CLUSTER, facts.model_copy(update={"kubernetes_version": wanted}), said)
    return said


def _control_plane(step: Step, nodes: Nodes, place: Place, kubelet: str, wanted: str) -> None:
    from ocifree_pipeline.systems.oci.waiting import Pause, wait_for
    from ocifree_pipeline.systems.talos import cluster, upgrading

    step.say(f"{place.hostname}: the control plane of Kubernetes {wanted}, with the kubelet {kubelet} that it has")
    cluster.follow(nodes, place, upgrading.with_kubelet(kept_configuration(step, place.number), kubelet))
    wait_for(
        lambda: _api_version(step, place),
        lambda seen: seen == wanted,
        what=f"the API server of {place.hostname} is {wanted}",
        timeout=ETCD_SECONDS[step.blueprint.plan.topology],
        pause=Pause(2, 15),
    )
    _wait_until_well(step, nodes, place, lambda seen: True)


def _kubelet(step: Step, nodes: Nodes, place: Place, wanted: str) -> None:
    from ocifree_pipeline.systems.talos import cluster

    step.say(f"{place.hostname}: the kubelet {wanted}")
    with _empty(step, place, f"Kubernetes {wanted}"):
        cluster.follow(nodes, place, kept_configuration(step, place.number))
        _wait_until_well(step, nodes, place, lambda seen: _kubelet_of(seen) == wanted)


def _api_version(step: Step, place: Place) -> str:
    with node_api(step, place.number) as api:
        return api.version()


def _kubelets(step: Step, nodes: Nodes) -> dict[str, str]:
    with cluster_api(step) as api:
        found = {str(one["metadata"]["name"]): _kubelet_of(one) for one in nodes_in(api)}
    missing = [place.hostname for place in nodes.places if not found.get(place.hostname)]
    if missing:
        raise NotVerified(
            f"Kubernetes knows no kubelet of {', '.join(missing)}",
            why="an upgrade starts from a cluster that is whole",
            fix="ocifree verify --select 'talos/kubeconfig'",
        )
    return {place.hostname: found[place.hostname] for place in nodes.places}


def _kubelet_of(node: Any) -> str:
    return str(node.get("status", {}).get("nodeInfo", {}).get("kubeletVersion", "")).removeprefix("v")


def _image(node: Any) -> str:
    return str(node.get("status", {}).get("nodeInfo", {}).get("osImage", ""))


@contextmanager
def _empty(step: Step, place: Place, reason: str) -> Iterator[None]:
    """Without the pods that can be elsewhere. What goes wrong meanwhile leaves the node closed, as it is in doubt."""
    from ocifree_pipeline.systems.kube.draining import drain

    _open_again(step)
    with cluster_api(step) as api:
        drain(api, place.hostname, reason, step.say, timeout=DRAIN_SECONDS[step.blueprint.plan.topology])
    yield
    _open_again(step)


def _open_again(step: Step) -> None:
    """Also what an upgrade that broke off has left closed."""
    from ocifree_pipeline.systems.kube.draining import open_again

    with cluster_api(step) as api:
        open_again(api, step.say)


# the gate -------------------------------------------------------------------------------------------------------------


def doubts(step: Step, nodes: Nodes) -> list[str]:
    """Why the cluster is not well: etcd first, as without it nothing else is told."""
    from ocifree_pipeline.systems.talos.cluster import look_at_etcd

    view = look_at_etcd(nodes)
    found = view.missing(nodes.control_planes)
    if not view.has_quorum:
        return [*found, f"etcd has no quorum: {view}"]
    with cluster_api(step) as api:
        return found + unready(step, nodes_in(api))


def _require_well(step: Step, nodes: Nodes, place: Place, again: str) -> None:
    with stopping(place.hostname, again, "was not begun with"):
        found = doubts(step, nodes)
    if found:
        raise NotVerified(
            f"{place.hostname} was not begun with: the cluster is not well",
            why="; ".join(found)[:400],
            fix=f"mend that; then `{again}` goes on where it stopped",
        )


def _wait_until_well(step: Step, nodes: Nodes, place: Place, arrived: Callable[[Any], bool]) -> None:
    """etcd whole and every node Ready, with this node back as it shall be: its last words may be older than it."""
    from ocifree_pipeline.systems.oci.waiting import Pause, wait_for

    def look() -> list[str]:
        found = doubts(step, nodes)
        if found:
            return found
        with cluster_api(step) as api:
            mine = next((one for one in nodes_in(api) if one["metadata"]["name"] == place.hostname), {})
        return [] if arrived(mine) else [f"{place.hostname} still tells of {_image(mine)}, kubelet {_kubelet_of(mine)}"]

    wait_for(
        look,
        lambda found: not found,
        what=f"the cluster is well with {place.hostname}",
        timeout=ETCD_SECONDS[step.blueprint.plan.topology],
        pause=Pause(2, 15),
        clock=time,
    )


@contextmanager
def stopping(name: str, again: str, how: str = "is in doubt") -> Iterator[None]:
    """Whatever goes wrong here ends the upgrade, with the command that goes on."""
    try:
        yield
    except OcifreeError as error:
        raise NotVerified(
            f"stopped: {name} {how}",
            why=f"{error.what}: {error.why}",
            fix=f"{error.fix}; then `{again}` goes on where it stopped",
        ) from error


def _require_all(found: dict[str, str], wanted: str, what: str, again: str) -> None:
    others = [f"{name} runs {version}" for name, version in found.items() if version != wanted]
    if others:
        raise PreconditionMissing(
            f"not every node runs {what} {wanted}", why="; ".join(others), fix=f"`{again}` goes on where it stopped"
        )


def _require_configurations(step: Step, field: str, wanted: str) -> None:
    from ocifree_pipeline.record.cluster import places_of

    for place in places_of(step):
        key = config_key(place.number)
        if getattr(step.facts(key, MachineConfigFacts), field) != wanted:
            raise PreconditionMissing(
                f"{key} is for another {field} than {wanted}",
                why="an upgrade goes to what the recorded configurations say",
                fix="ocifree up --select 'key:talos/machine_config_*'",
            )


def _said(what: str, wanted: str, moved: list[str]) -> str:
    return f"{what} {wanted} on every node; upgraded now: {', '.join(moved) or 'none, nothing to do'}"
