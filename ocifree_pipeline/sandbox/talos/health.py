"""`talosctl health`: what a control plane finds when it looks at all nodes of its cluster, in the order of Talos."""

from collections.abc import Callable, Iterator
from typing import Any

from ocifree_pipeline.protocols.talos import message
from ocifree_pipeline.sandbox.talos import cluster, life
from ocifree_pipeline.sandbox.talos.node import Node, nodes
from ocifree_pipeline.sandbox.talos.replies import Refusal, control_plane


def health_check(node: Node, _: list[Any]) -> list[Any]:
    """Everything is looked at once: virtual time does not pass while a call waits, so waiting would change nothing."""
    settings = control_plane(node, "cluster health check")
    all_nodes = [
        one for one in nodes(node.world) if one.settings is not None and one.settings.identity == settings.identity
    ]
    progress = message("cluster.HealthCheckProgress")
    said = [progress(message=f"discovered nodes: [{' '.join(repr(one.address) for one in all_nodes)}]")]
    for what, look in _LOOKS:
        problem = next(look(node, all_nodes), "")
        said.append(progress(message=f"waiting for {what}: {problem or 'OK'}"))
        if problem:
            raise Refusal("DEADLINE_EXCEEDED", f"{what}: {problem}")
    return said


def _service(name: str) -> Callable[[Node, list[Node]], Iterator[str]]:
    def look(_: Node, all_nodes: list[Node]) -> Iterator[str]:
        for one in all_nodes:
            state = {found: (state, healthy) for found, state, healthy, _ in life.services(one)}.get(name)
            if not one.is_running:
                yield f"{one.address}: connection refused"
            elif state is not None and state != ("Running", True):
                yield f'{one.address}: service "{name}" not in expected state "Running": current state [{state[0]}]'

    return look


def _all_report(node: Node, all_nodes: list[Node]) -> Iterator[str]:
    made = cluster.api_of(node)
    if made is None:
        yield 'Get "https://127.0.0.1:6443/api/v1/nodes": connection refused'
        return
    missing = [one.hostname for one in all_nodes if one.hostname not in made.nodes()]
    if missing:
        yield f"can't find expected nodes with names {missing}"


def _all_ready(node: Node, _: list[Node]) -> Iterator[str]:
    made = cluster.api_of(node)
    unready = [name for name, ready in made.nodes().items() if not ready] if made is not None else []
    if unready:
        yield f"some nodes are not ready: {unready}"


_LOOKS: tuple[tuple[str, Callable[[Node, list[Node]], Iterator[str]]], ...] = (
    ("etcd to be healthy", _service("etcd")),
    ("apid to be ready", _service("apid")),
    ("kubelet to be healthy", _service("kubelet")),
    ("all k8s nodes to report", _all_report),
    ("all k8s nodes to report ready", _all_ready),
)
