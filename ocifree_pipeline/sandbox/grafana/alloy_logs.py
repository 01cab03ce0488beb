"""What an agent does with logs: those of its node's pods, of Talos there, and the events of the cluster."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import yaml

from ocifree_pipeline.deployment.telemetry import planned
from ocifree_pipeline.deployment.telemetry.landscape import Landscape, Pod
from ocifree_pipeline.deployment.telemetry.pipeline import forwards, owner
from ocifree_pipeline.deployment.telemetry.relabel import relabelled, rules_of
from ocifree_pipeline.deployment.telemetry.syntax import Block, Reference
from ocifree_pipeline.sandbox.grafana import logs, stack
from ocifree_pipeline.sandbox.grafana.metrics import Discarded
from ocifree_pipeline.sandbox.grafana.wire import NANOS, Labels, Line, Stream
from ocifree_pipeline.sandbox.kubernetes.cluster import Cluster
from ocifree_pipeline.sandbox.kubernetes.trees import Tree
from ocifree_pipeline.sandbox.world import World

MINUTE = 60
TALOS_SERVICES = ("apid", "etcd", "kubelet", "machined")


@dataclass(frozen=True, slots=True)
class Entry:
    """A line on its way through the stages; `extracted` is what stages have read out of it."""

    labels: Labels
    text: str
    extracted: Labels


def push(world: World, cluster: Cluster, node: str, components: Mapping[str, Block], seen: Landscape) -> None:
    for block in components.values():
        match block.name:
            case "loki.source.file":
                lines = list(_pod_lines(block, components, seen))
            case "loki.source.kubernetes_events":
                lines = list(_event_lines(world, cluster, block))
            case "otelcol.receiver.tcplog":
                lines = list(_talos_lines(world, node, block))
            case _:
                continue
        _forward(world, block, lines, components, seen)


# where lines come from ------------------------------------------------------------------------------------------------


def _pod_lines(block: Block, components: Mapping[str, Block], seen: Landscape) -> Iterator[Entry]:
    """One line a minute from every container, with the mark of the container runtime in front."""
    matched = owner(block.get("targets"), components)
    source = owner(matched.get("path_targets"), components)
    rules = rules_of(source)
    discovery = owner(source.get("targets"), components)
    selectors = discovery.one("selectors")
    wanted = str(selectors.get("field", "")) if selectors else ""
    for pod in seen.pods:
        if wanted and wanted != f"spec.nodeName={pod.node}":
            continue
        for meta in planned.pod_targets(pod):
            labels = relabelled(meta, rules)
            if labels is None or labels.get("__path__", "").find(pod.uid) < 0:
                continue
            name = meta["__meta_kubernetes_pod_container_name"]
            shown = {key: value for key, value in labels.items() if not key.startswith("__")}
            yield Entry({**shown, "filename": f"/var/log/pods/{pod.uid}/{name}/0.log"}, _said(pod, name, seen.now), {})


def _said(pod: Pod, container: str, now: float) -> str:
    state = next(one for one in pod.containers if one.name == container)
    level = "error" if state.waiting else "info"
    text = f'level={level} msg="{state.waiting or "alive"}" container={container} restarts={state.restarts}'
    return f"{now:.0f} stdout F {text}"


def _event_lines(world: World, cluster: Cluster, block: Block) -> Iterator[Entry]:
    """Events that were not sent before."""
    known = stack.facts(world).setdefault("sentEvents", {})
    last = known.get(cluster.ident, 0)
    fresh = [one for one in _events(cluster) if int(one["metadata"]["resourceVersion"]) > last]
    for one in fresh:
        about = one.get("involvedObject") or one.get("regarding") or {}
        line = {
            "type": one.get("type", "Normal"),
            "kind": about.get("kind", ""),
            "name": about.get("name", ""),
            "reason": one.get("reason", ""),
            "msg": one.get("message") or one.get("note", ""),
        }
        labels = {"job": str(block.get("job_name", "")), "namespace": one["metadata"].get("namespace", "")}
        yield Entry({**labels, "instance": block.ident}, json.dumps(line), {})
    if fresh:
        known[cluster.ident] = max(int(one["metadata"]["resourceVersion"]) for one in fresh)


def _events(cluster: Cluster) -> list[Tree]:
    return [*cluster.store.all("events"), *cluster.store.all("events.events.k8s.io")]


def _talos_lines(world: World, node: str, block: Block) -> Iterator[Entry]:
    """What the services of this node's Talos send, if its configuration names the receiver's port."""
    port = str(block.get("listen_address")).rpartition(":")[2]
    settings = _talos_settings(world, node)
    destinations = [
        one["endpoint"] for one in (settings.get("machine") or {}).get("logging", {}).get("destinations", ())
    ]
    if not any(one.startswith("tcp://") and one.rstrip("/").endswith(f":{port}") for one in destinations):
        return
    for service in TALOS_SERVICES:
        line = {"msg": "healthy", "talos-level": "info", "talos-service": service, "talos-time": world.clock.stamp()}
        yield Entry({"exporter": "OTLP"}, json.dumps({"body": json.dumps(line)}), {})


def etcd_shows_metrics(cluster: Cluster, node: str, port: int) -> bool:
    """Whether etcd on this node was told to listen for scrapers at that port."""
    settings = _talos_settings(cluster.world, node)
    if not settings:
        return True  # a cluster that was made without machines: nothing says otherwise
    arguments = ((settings.get("cluster") or {}).get("etcd") or {}).get("extraArgs") or {}
    urls = arguments.get("listen-metrics-urls", "")
    return any(one.rstrip("/").endswith(f":{port}") for one in (urls if isinstance(urls, list) else urls.split(",")))


def _talos_settings(world: World, hostname: str) -> dict[str, Any]:
    """The configuration that the machine of that name keeps; empty when it is no Talos."""
    from ocifree_pipeline.sandbox.talos.node import nodes

    texts = [one.text for one in nodes(world) if one.text]
    return next((settings for name, settings in map(_read, texts) if name == hostname), {})


@lru_cache(maxsize=64)
def _read(text: str) -> tuple[str, dict[str, Any]]:
    """Hostname and the main document of a machine's configuration."""
    documents = [one for one in yaml.safe_load_all(text) if isinstance(one, dict)]
    main = next((one for one in documents if "machine" in one), {})
    named = next((one for one in documents if one.get("kind") == "HostnameConfig"), None)
    network = (main.get("machine") or {}).get("network") or {}
    return str(named.get("hostname") if named else network.get("hostname", "")), main


# what becomes of them -------------------------------------------------------------------------------------------------


def _forward(
    world: World, block: Block, lines: Iterable[Entry], components: Mapping[str, Block], seen: Landscape
) -> None:
    for following in _following(block, components):
        kept = list(lines)
        if following.name == "loki.process":
            kept = list(_processed(following, kept))
        if following.name == "loki.relabel":
            rules = rules_of(following)
            kept = [
                replace(one, labels=labels) for one in kept if (labels := relabelled(one.labels, rules)) is not None
            ]
        if following.name == "loki.write":
            _write(world, following, kept, seen)
        else:
            _forward(world, following, kept, components, seen)


def _following(block: Block, components: Mapping[str, Block]) -> list[Block]:
    output = block.one("output")
    if output is not None:
        return [owner(one, components) for one in output.get("logs", ()) if isinstance(one, Reference)]
    return forwards(block, components)


def _processed(block: Block, lines: Iterable[Entry]) -> Iterator[Entry]:
    room = {id(stage): int(stage.get("burst")) for stage in block.all("stage.limit")}
    for line in lines:
        found: Entry | None = line
        for stage in block.blocks:
            if found is None:
                break
            if stage.name == "stage.limit":
                room[id(stage)] -= 1
                found = found if room[id(stage)] >= 0 else None
            else:
                found = _staged(stage, found)
        if found is not None:
            yield found


def _staged(stage: Block, line: Entry) -> Entry | None:
    match stage.name:
        case "stage.cri":
            return replace(line, text=line.text.split(" ", 3)[3], labels={**line.labels, "stream": "stdout"})
        case "stage.json":
            try:
                data = json.loads(line.text)
            except ValueError:
                return line
            read = {name: data.get(str(at or name).strip('"')) for name, at in stage.get("expressions").items()}
            return replace(line, extracted={**line.extracted, **{k: str(v) for k, v in read.items() if v is not None}})
        case "stage.labels":
            given = {name: line.extracted.get(at or name, "") for name, at in stage.get("values").items()}
            return replace(line, labels={**line.labels, **{name: text for name, text in given.items() if text}})
        case "stage.static_labels":
            return replace(line, labels={**line.labels, **stage.get("values")})
        case "stage.label_drop":
            return replace(line, labels={k: v for k, v in line.labels.items() if k not in stage.get("values")})
        case "stage.output":
            return replace(line, text=line.extracted.get(str(stage.get("source")), line.text))
        case "stage.drop" if stage.get("expression"):
            source = stage.get("source")
            text = line.extracted.get(str(source), "") if source else line.text
            return None if re.search(str(stage.get("expression")), text) else line
    return line


def _write(world: World, block: Block, lines: list[Entry], seen: Landscape) -> None:
    endpoint = block.one("endpoint")
    login = endpoint.one("basic_auth") if endpoint else None
    if endpoint is None or login is None or not lines:
        return
    outside = block.get("external_labels", {})
    time = int(seen.now * NANOS)
    streams = [Stream({**outside, **one.labels}, (Line(time, one.text),)) for one in lines]
    credentials = base64.b64encode(f"{login.get('username')}:{login.get('password')}".encode()).decode()
    try:
        if stack.is_host(urlsplit(str(endpoint.get("url"))).netloc, "logs"):
            stack.admit_data(world, f"Basic {credentials}", "logs", "write")
            logs.push(world, streams)
    except (stack.Denied, Discarded):
        return
