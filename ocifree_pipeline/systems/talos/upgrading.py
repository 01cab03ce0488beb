"""From one version of Talos or Kubernetes to the next: which steps are allowed, and one node at a time.

What runs is read from the nodes before anything is done, so whoever stopped half-way goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import yaml
from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import NotVerified, Refused, Transient
from ocifree_pipeline.systems.oci.waiting import Clock, Pause, TimedOut, wait_for
from ocifree_pipeline.systems.talos.cluster import Nodes, Place
from ocifree_pipeline.systems.talos.configuration import as_yaml
from ocifree_pipeline.systems.talos.defaults import kubernetes_image

STREAMS_SINCE = 13
"""Since this minor version of Talos the installer is a call of its own, and a reboot starts what it installed."""


def numbers(version: str) -> tuple[int, int, int]:
    """Of `v1.13.9` or `1.13.9`; Refused for anything else."""
    try:
        major, minor, patch = map(int, version.removeprefix("v").split("."))
    except ValueError:
        raise Refused(
            f"{version!r} is not a released version",
            why="upgrades go from one release to another",
            fix="look at what the nodes run: `talosctl version`",
        ) from None
    return major, minor, patch


def require_adjacent(what: str, running: Iterable[str], wanted: str) -> None:
    """Every step is to the same minor version or to the next, and never back."""
    goal = numbers(wanted)
    for version in sorted(set(running), key=numbers):
        now = numbers(version)
        if now > goal:
            raise Refused(
                f"{what} {version.removeprefix('v')} is newer than {wanted}, which is declared",
                why=f"{what} is not taken back to an older version",
                fix=f"declare {version.removeprefix('v')}, or restore a backup into a new cluster",
            )
        if goal[0] != now[0] or goal[1] - now[1] > 1:
            raise Refused(
                f"{what} {version.removeprefix('v')} does not go to {wanted} at once",
                why="upgrades go from one minor version to the next",
                fix=f"declare the latest release of {now[0]}.{now[1] + 1} first",
            )


def in_order(nodes: Nodes) -> tuple[Place, ...]:
    """Control planes first."""
    return tuple(sorted(nodes.places, key=lambda place: (not place.is_control_plane, place.number)))


# talos ----------------------------------------------------------------------------------------------------------------


def versions_of(nodes: Nodes) -> dict[str, str]:
    """What runs on each node, without the leading v."""
    found = {}
    for place in nodes.places:
        with nodes.open(place) as node:
            found[place.hostname] = node.version().tag.removeprefix("v")
    return found


def install(
    nodes: Nodes,
    place: Place,
    installer: str,
    wanted: str,
    say: Callable[[str], None],
    *,
    timeout: float,
    clock: Clock = time,
) -> None:
    """Install a version on this node, start it, and read back that it runs."""
    with nodes.open(place) as node:
        now = node.version().tag
        if numbers(now)[1] >= STREAMS_SINCE:
            node.upgrade(installer, lambda line: say(f"{place.hostname}: {line}"))
            _unheard(node.reboot)
        else:
            _unheard(lambda: node.upgrade_older(installer))

    def read() -> str:
        with nodes.open(place) as again:
            return again.version().tag.removeprefix("v")

    try:
        wait_for(
            read,
            lambda seen: seen == wanted,
            what=f"{place.hostname} runs Talos {wanted}",
            timeout=timeout,
            pause=Pause(2, 15),
            clock=clock,
        )
    except TimedOut as error:
        raise NotVerified(
            f"{place.hostname} does not run Talos {wanted}",
            why=f"{error.why}; a version that does not start makes room for the one before it",
            fix=f"`talosctl --nodes {place.address} dmesg`; the other nodes were left as they are",
        ) from error


def _unheard(ask: Callable[[], None]) -> None:
    """A node that restarts may not get its answer out. What runs afterwards tells whether it heard."""
    try:
        ask()
    except Transient:
        return


# kubernetes -----------------------------------------------------------------------------------------------------------


def with_kubelet(configuration: SecretStr, version: str) -> SecretStr:
    """The same configuration with a kubelet of this version: it may never be newer than an API server."""
    documents: list[Any] = [one for one in yaml.safe_load_all(configuration.get_secret_value()) if one is not None]
    places = list(_kubelets(documents))
    if len(places) != 1:
        raise Refused(
            "the configuration does not say which kubelet a node runs",
            why=f"it does so in {len(places)} places",
            fix="ocifree up --select 'talos/machine_config_1'",
        )
    places[0]["image"] = kubernetes_image("kubelet", version)
    return SecretStr(as_yaml(documents))


def _kubelets(documents: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for one in documents:
        if one.get("kind") == "KubeletConfig":
            yield one
        elif "kind" not in one and "image" in one.get("machine", {}).get("kubelet", {}):
            yield one["machine"]["kubelet"]
