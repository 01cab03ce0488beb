"""The controllers of a cluster. Each is an ordinary client of the API; others may add theirs to ``MORE``."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ocifree_pipeline.sandbox.kubernetes.running import Controller

MORE: list[Callable[[], "Controller"]] = []


def all_of_them() -> Iterable["Controller"]:
    """One of each."""
    from ocifree_pipeline.sandbox.kubernetes.controllers.bootstrap import Manifests
    from ocifree_pipeline.sandbox.kubernetes.controllers.cilium import Cilium
    from ocifree_pipeline.sandbox.kubernetes.controllers.cloud import CloudNodes
    from ocifree_pipeline.sandbox.kubernetes.controllers.disruptions import Disruptions
    from ocifree_pipeline.sandbox.kubernetes.controllers.endpoints import Endpoints
    from ocifree_pipeline.sandbox.kubernetes.controllers.evictions import Evictions
    from ocifree_pipeline.sandbox.kubernetes.controllers.flux_kustomizations import Kustomizations
    from ocifree_pipeline.sandbox.kubernetes.controllers.flux_releases import HelmReleases
    from ocifree_pipeline.sandbox.kubernetes.controllers.flux_sources import (
        GitRepositories,
        HelmCharts,
        HelmRepositories,
    )
    from ocifree_pipeline.sandbox.kubernetes.controllers.garbage import Garbage, Namespaces
    from ocifree_pipeline.sandbox.kubernetes.controllers.gateway import Gateways
    from ocifree_pipeline.sandbox.kubernetes.controllers.jobs import Jobs
    from ocifree_pipeline.sandbox.kubernetes.controllers.kubelet import Kubelet
    from ocifree_pipeline.sandbox.kubernetes.controllers.nodes import Nodes
    from ocifree_pipeline.sandbox.kubernetes.controllers.quotas import Quotas
    from ocifree_pipeline.sandbox.kubernetes.controllers.scheduler import Scheduler
    from ocifree_pipeline.sandbox.kubernetes.controllers.workloads import (
        DaemonSets,
        Deployments,
        ReplicaSets,
        StatefulSets,
    )

    mine: list[Callable[[], Controller]] = [
        Nodes,
        Manifests,
        Namespaces,
        Garbage,
        DaemonSets,
        Deployments,
        ReplicaSets,
        StatefulSets,
        Jobs,
        Scheduler,
        Kubelet,
        Evictions,
        Disruptions,
        Quotas,
        Endpoints,
        CloudNodes,
        Cilium,
        HelmRepositories,
        HelmCharts,
        GitRepositories,
        HelmReleases,
        Kustomizations,
        Gateways,
    ]
    return [make() for make in (*mine, *MORE)]
