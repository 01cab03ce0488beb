"""What happens to a node: configured, restarted, wiped, given another version; and what runs on it."""

import re
from collections.abc import Iterator

from ocifree_pipeline.sandbox.machines import power, reach
from ocifree_pipeline.sandbox.talos import cluster, etcd
from ocifree_pipeline.sandbox.talos.node import Node, of_key
from ocifree_pipeline.sandbox.world import World, transition

HANG_UP_SECONDS = 1
"""Between an answer and what it announced, so that whoever asked still gets it."""
LIFECYCLE_MINOR = 13
"""Since then an upgrade is installed by one call and started by another."""
_INSTALLER = re.compile(r"[\w.-]+/(?P<kind>[\w-]+)/(?P<schematic>[0-9a-f]{64}):v1\.(?P<minor>\d+)\.\d+")


# configuration --------------------------------------------------------------------------------------------------------


def configure(node: Node, text: str) -> None:
    """Keep a valid configuration and follow it. What depends on it outside of the node follows at once."""
    before = node.configuration
    node.disk["configuration"] = text
    if before is None:
        node.say("a configuration was sent; it is valid and kept on the disk")
        node.world.clock.later(HANG_UP_SECONDS, "talos.leave_maintenance", key=node.key, boots=node.computer.boots)
        return
    node.say("a configuration was sent; it is applied without a reboot")
    after = node.configuration
    if after is not None and (before.hostname, before.alternative_names) != (after.hostname, after.alternative_names):
        node.world.clock.later(HANG_UP_SECONDS, "talos.new_certificate", key=node.key, boots=node.computer.boots)
    cluster.refresh(node.world)


def run(node: Node) -> None:
    """The node leaves maintenance mode, or boots with what it knows already."""
    settings = node.settings
    if settings is None:
        raise LookupError("a node without a configuration stays in maintenance mode")
    node.disk.setdefault("version", settings.installer or node.version)
    node.disk["stage"] = "running"
    node.disk["joins"] = False
    node.disk["etcd_runs"] = etcd.is_member(node)
    node.say(f"this is {node.hostname}, machine type {'controlplane' if settings.is_control_plane else 'worker'}")
    if settings.is_control_plane and not node.disk.get("etcd"):
        node.say("etcd: waits to join a cluster, or for somebody to bootstrap one")
    cluster.refresh(node.world)


@transition("talos.leave_maintenance")
def _leave_maintenance(world: World, key: str, boots: int) -> None:
    node = of_key(world, key)
    if node is not None and node.is_up and node.computer.boots == boots and node.configuration is not None:
        reach.cut(world, key)
        run(node)


@transition("talos.new_certificate")
def _new_certificate(world: World, key: str, boots: int) -> None:
    node = of_key(world, key)
    if node is not None and node.computer.boots == boots:
        reach.cut(world, key)


# power ----------------------------------------------------------------------------------------------------------------


def restart(node: Node) -> None:
    node.say("rebooting because the API was asked to")
    power.shut_down(node.computer, HANG_UP_SECONDS, again=True)


def shut_down(node: Node) -> None:
    node.say("shutting down because the API was asked to")
    power.shut_down(node.computer, HANG_UP_SECONDS, again=False)


def wipe(node: Node, labels: set[str]) -> None:
    """STATE holds the configuration, EPHEMERAL what etcd and the kubelet have written."""
    if "STATE" in labels:
        node.disk.pop("configuration", None)
        node.disk["stage"] = "maintenance"
    if "EPHEMERAL" in labels:
        forget_etcd(node)
        node.disk.pop("images", None)


def forget_etcd(node: Node) -> None:
    for name in ("etcd", "recovery"):
        node.disk.pop(name, None)
    node.disk["etcd_runs"] = False


# version --------------------------------------------------------------------------------------------------------------


def minor(version: str) -> int:
    return int(version.split(".")[1])


def is_installer(node: Node, image: str) -> bool:
    """Whether there is such an installer; each platform has its own."""
    found = _INSTALLER.fullmatch(image)
    return found is not None and found["kind"] in {"installer", f"{node.computer.platform}-installer"}


def install(node: Node, image: str) -> str:
    """Put a version on the disk for the next boot. What comes back is why not."""
    found = _INSTALLER.fullmatch(image)
    if found is None:
        return "it is no installer of Talos"
    wanted, now = int(found["minor"]), minor(node.version)
    if not wanted - 2 <= now <= wanted + 1:
        return f"host version {node.version} is too {'old' if now < wanted else 'new'} to upgrade to Talos 1.{wanted}"
    node.disk["next"] = image.rpartition(":")[2]
    return ""


def take_staged(node: Node) -> None:
    """At boot: what was put aside for it."""
    if following := node.disk.pop("next", None):
        node.disk["version"] = following
        node.say(f"booting the version that was installed: {following}")
    if staged := node.disk.pop("staged", None):
        node.disk["configuration"] = staged


# services -------------------------------------------------------------------------------------------------------------


def services(node: Node) -> Iterator[tuple[str, str, bool | None, str]]:
    """Name, state, health (None: nobody asked yet) and what the last look at it said."""
    settings = node.settings
    if settings is None:
        return
    ours = ["apid", "auditd", "containerd", "cri", "dashboard", "machined", "syslogd", "udevd"]
    if settings.is_control_plane:
        ours.append("trustd")
    for name in sorted(ours):
        yield name, "Running", True, ""
    yield "kubelet", "Running", True, ""
    if settings.is_control_plane:
        yield _etcd_service(node)


def _etcd_service(node: Node) -> tuple[str, str, bool | None, str]:
    found = etcd.of_node(node)
    if found is None:
        return "etcd", "Preparing", None, "waiting to join the cluster, or to be bootstrapped"
    if not etcd.runs(node) or not etcd.is_member(node):
        return "etcd", "Starting", None, ""
    return "etcd", "Running", found.has_quorum, "" if found.has_quorum else "context deadline exceeded"
