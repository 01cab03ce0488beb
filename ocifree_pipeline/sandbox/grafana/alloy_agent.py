"""The agents of a cluster: what its Alloy pods do with the configuration that lies in the cluster, minute by minute.

Nothing of the configuration is known here beforehand. What it discovers, keeps and sends follows from its text; one
that Alloy would not load sends nothing, and its pod crashes again and again.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from ocifree_pipeline.deployment.telemetry import exporters, pipeline, planned
from ocifree_pipeline.deployment.telemetry.exposition import Sample
from ocifree_pipeline.deployment.telemetry.landscape import Landscape
from ocifree_pipeline.deployment.telemetry.pipeline import MADE_BY_SCRAPING, Job, Sink
from ocifree_pipeline.deployment.telemetry.relabel import relabelled
from ocifree_pipeline.deployment.telemetry.syntax import Block, Invalid
from ocifree_pipeline.sandbox.grafana import alloy_logs, alloy_rights, alloy_traces, cluster_view, metrics, stack
from ocifree_pipeline.sandbox.grafana.alloy_files import ALLOY, file_of
from ocifree_pipeline.sandbox.grafana.wire import Series
from ocifree_pipeline.sandbox.kubernetes import cluster as clusters
from ocifree_pipeline.sandbox.kubernetes.cluster import Cluster
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at
from ocifree_pipeline.sandbox.world import World

MEMORY = 20_000


@dataclass(frozen=True, slots=True)
class Agent:
    """An Alloy pod that runs, with its configuration and the variables that it finds."""

    cluster: Cluster
    pod: Tree
    text: str
    environ: Mapping[str, str]

    @property
    def name(self) -> str:
        return str(self.pod["metadata"]["name"])

    @property
    def node(self) -> str:
        return str(self.pod["spec"]["nodeName"])

    @property
    def components(self) -> Mapping[str, Block]:
        return _loaded(self.text, tuple(sorted(self.environ.items())))


@lru_cache(maxsize=64)
def _loaded(text: str, environ: tuple[tuple[str, str], ...]) -> Mapping[str, Block]:
    return pipeline.load(text, dict(environ))


@lru_cache(maxsize=64)
def _jobs(text: str, environ: tuple[tuple[str, str], ...]) -> tuple[Job, ...]:
    return pipeline.jobs(_loaded(text, environ))


# finding them ---------------------------------------------------------------------------------------------------------


def is_present(world: World) -> bool:
    """Whether any cluster of this world has a pod of Alloy."""
    return any(_pods(cluster) for cluster in _clusters(world))


def agents(cluster: Cluster) -> Iterator[Agent]:
    """Those that really run: on a machine with power, with everything that they need."""
    for pod in _pods(cluster):
        if at(pod, "status", "phase") != "Running" or not cluster_view.runs(cluster, at(pod, "spec", "nodeName") or ""):
            continue
        text = configuration_of(cluster, pod)
        if text is not None:
            yield Agent(cluster, pod, text, _environment(cluster, pod))


def configuration_of(cluster: Cluster, pod: Tree) -> str | None:
    namespace = pod["metadata"]["namespace"]
    return file_of(pod, lambda name: cluster.store.get("configmaps", namespace, name))


def _clusters(world: World) -> list[Cluster]:
    return [clusters.find_existing(world, ident) for ident in world.facts.get(clusters.FACTS, {})]


def _pods(cluster: Cluster) -> list[Tree]:
    name, value = ALLOY
    return [one for one in cluster.store.all("pods") if (one["metadata"].get("labels") or {}).get(name) == value]


def _environment(cluster: Cluster, pod: Tree) -> dict[str, str]:
    found = {"HOSTNAME": str(at(pod, "spec", "nodeName"))}
    for source in pod["spec"]["containers"][0].get("envFrom") or ():
        name = at(source, "secretRef", "name")
        secret = cluster.store.get("secrets", pod["metadata"]["namespace"], name) if name else None
        for key, value in at(secret, "data", default={}).items() if secret else ():
            found[key] = base64.b64decode(value).decode()
    return found


# a minute of theirs ---------------------------------------------------------------------------------------------------


def push(world: World) -> None:
    """Every agent of every cluster scrapes, reads and sends once."""
    for cluster in _clusters(world):
        running = list(agents(cluster))
        if not running:
            continue
        seen = cluster_view.landscape(cluster)
        for agent in running:
            try:
                components = agent.components
            except Invalid:
                continue
            for sink, series in _scraped(agent, seen):
                _deliver(world, agent, sink, series)
            alloy_logs.push(world, agent.cluster, agent.node, components, seen)
            alloy_traces.push(world, components)


def _scraped(agent: Agent, seen: Landscape) -> Iterator[tuple[Sink, list[Series]]]:
    time = int(seen.now * 1000)
    for job in _jobs(agent.text, tuple(sorted(agent.environ.items()))):
        kept: list[tuple[dict[str, str], float]] = []
        if not alloy_rights.may_discover(agent.cluster, agent.pod, job.discovery.role):
            continue
        for meta in planned.discovered(job.discovery, seen):
            target = job.target(meta)
            if target is not None:
                kept += _page(agent, job, target, seen)
        for sink in job.sinks:
            sent = [(labels, value) for labels, value in kept if relabelled(labels, sink.rules) is not None]
            yield sink, [Series({**sink.external, **labels}, ((time, value),)) for labels, value in sent]


def _page(agent: Agent, job: Job, target: dict[str, str], seen: Landscape) -> list[tuple[dict[str, str], float]]:
    """The samples of one target that the rules keep, with `up` and what else every scrape adds."""
    try:
        samples = _exposed(agent, job, target, seen) if _answers(agent, job, target, seen) else None
    except LookupError:
        samples = None
    if samples is not None and job.sample_limit and len(samples) > job.sample_limit:
        samples = None
    rows = [(one.labels, one.value) for one in samples or ()]
    made = {"up": float(samples is not None), "scrape_samples_scraped": float(len(rows))}
    rows += [({"__name__": name}, made.get(name, 0.0)) for name in MADE_BY_SCRAPING]
    found = []
    for labels, value in rows:
        kept = _kept(agent, job, target, labels)
        if kept is not None:
            found.append((kept, value))
    return found


def _exposed(agent: Agent, job: Job, target: Mapping[str, str], seen: Landscape) -> tuple[Sample, ...]:
    if job.name != "alloy":
        return planned.exposed(job.name, target, seen)
    address = target["__address__"].rpartition(":")[0]
    failed = stack.facts(agent.cluster.world).get("failedSamples", {})
    of_pod = [failed.get(pod.name, 0) for pod in seen.pods if pod.address == address]
    return tuple(exporters.alloy(seen, failed=max(of_pod, default=0)))


_MEMORY: dict[Any, dict[str, str] | None] = {}


def _kept(agent: Agent, job: Job, target: dict[str, str], labels: dict[str, str]) -> dict[str, str] | None:
    """The same labels give the same answer, and they come again every minute."""
    key = (agent.text, job.name, tuple(target.items()), tuple(labels.items()))
    if key not in _MEMORY:
        if len(_MEMORY) > MEMORY:
            _MEMORY.clear()
        _MEMORY[key] = job.series(target, labels)
    return _MEMORY[key]


def _answers(agent: Agent, job: Job, target: Mapping[str, str], seen: Landscape) -> bool:
    """Whether something listens at the target's address, and may be reached from the agent."""
    node = target.get("node", "")
    if job.name in {"proxmox", "ceph"}:
        return _answers_below(agent, job, target, seen)
    if "node" in target and not cluster_view.runs(agent.cluster, node):
        return False
    if job.name == "etcd":
        return alloy_logs.etcd_shows_metrics(agent.cluster, node, int(target["__address__"].rpartition(":")[2]))
    if job.name in {"apiserver", "kubelet", "cadvisor"}:
        return alloy_rights.may_scrape(agent.cluster, agent.pod, job.name, target)
    address = target["__address__"].rpartition(":")[0]
    return any(
        pod.address == address and pod.phase == "Running" and cluster_view.runs(agent.cluster, pod.node)
        for pod in seen.pods
    )


def _answers_below(agent: Agent, job: Job, target: Mapping[str, str], seen: Landscape) -> bool:
    address = target["__address__"].rpartition(":")[0]
    asked = target.get("__param_target", address)
    hosts = {one.address: one.online for one in seen.proxmox}
    if job.name == "ceph":
        return hosts.get(address, False)
    exporter = [pod for pod in seen.pods if pod.labels.get("app.kubernetes.io/name") == "proxmox-exporter"]
    alive = any(pod.phase == "Running" and cluster_view.runs(agent.cluster, pod.node) for pod in exporter)
    return alive and hosts.get(asked, False)


def _deliver(world: World, agent: Agent, sink: Sink, series: list[Series]) -> None:
    """As remote_write does: what is refused for good is given up and counted."""
    known = stack.facts(world)
    try:
        if not stack.is_host(urlsplit(sink.url).netloc, "metrics"):
            raise stack.Denied(404, "there is nothing there")
        credentials = base64.b64encode(f"{sink.user}:{sink.password}".encode()).decode()
        stack.admit_data(world, f"Basic {credentials}", "metrics", "write")
        metrics.push(world, series)
    except (stack.Denied, metrics.Discarded):
        failed = known.setdefault("failedSamples", {})
        failed[agent.name] = failed.get(agent.name, 0) + len(series)
