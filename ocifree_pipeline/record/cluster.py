"""Facts of the cluster itself, the way to its nodes, and its kubeconfig. What the nodes are is in `record.talos`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import AuthFailed, Refused, Transient
from ocifree_pipeline.deployment.plan import Topology
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.machines import InstanceFacts, host_name, key_of
from ocifree_pipeline.record.outcome import Facts
from ocifree_pipeline.record.talos import MachineConfigFacts, config_key, guest_address, kept_bundle, now
from ocifree_pipeline.record.ways import way_over, way_to
from ocifree_pipeline.systems.durable import home_of, private_folder, replace_private
from ocifree_pipeline.systems.talos.nodes import Role

if TYPE_CHECKING:
    from ocifree_pipeline.systems.ssh.dialer import Dialer
    from ocifree_pipeline.systems.talos.client import Talos
    from ocifree_pipeline.systems.talos.cluster import Nodes, Place
    from ocifree_pipeline.systems.talos.trust import Trust

CLUSTER, KUBECONFIG = "talos/cluster", "talos/kubeconfig"
NODE_SECONDS: Mapping[Topology, float] = {"talos-native": 600.0, "proxmox-ceph": 2400.0}
"""From a machine that answers to an API that lets us in. Emulated guests take several times as long."""
ETCD_SECONDS: Mapping[Topology, float] = {"talos-native": 900.0, "proxmox-ceph": 3600.0}
"""From bootstrap to a Kubernetes API that is ready: etcd, the images of the control plane, its start."""
SESSION = timedelta(hours=12)
"""How long the certificate is good that we talk to Talos with. It is made anew each time, and kept nowhere."""
RENEW_DAYS = 30
NEW_WAY_AFTER = 5


class ClusterFacts(Facts):
    """talos/cluster: `members` are those of etcd, by the names of their nodes."""

    name: str
    endpoint: str
    talos_version: str
    kubernetes_version: str
    nodes: tuple[str, ...]
    members: dict[str, str]


class KubeconfigFacts(Facts):
    """talos/kubeconfig: the file is for people, the vault for assets; both hold the same."""

    file: str
    vault: str
    server: str
    expires: datetime


# nodes ----------------------------------------------------------------------------------------------------------------


@contextmanager
def nodes_of(step: Step) -> Iterator[Nodes]:
    """All nodes of the plan; what is asked of them is asked as an administrator of the cluster.

    The way to a node is kept as long as it holds: over a bastion it costs a login.
    """
    from ocifree_pipeline.systems.ssh.forward import forwarded
    from ocifree_pipeline.systems.talos.channel import conversation
    from ocifree_pipeline.systems.talos.client import PORT, Talos
    from ocifree_pipeline.systems.talos.cluster import Nodes

    trust = administrator(step)
    ways: dict[int, tuple[ExitStack, tuple[str, int]]] = {}
    failed: dict[int, int] = {}

    @contextmanager
    def open_node(place: Place) -> Iterator[Talos]:
        if place.number not in ways:
            dialer, host = way_to(step, place.number)
            way = ExitStack()
            ways[place.number] = way, way.enter_context(forwarded(dialer, host, PORT))
        try:
            with conversation(ways[place.number][1], trust, place.address, place.hostname) as opened:
                yield Talos(opened)
            failed[place.number] = 0
        except Transient:
            # It may be the way and not the node; but a node that starts is silent for long, and a login is dear.
            failed[place.number] = failed.get(place.number, 0) + 1
            if failed[place.number] % NEW_WAY_AFTER == 0:
                ways.pop(place.number)[0].close()
            raise

    try:
        yield Nodes(places_of(step), open_node)
    finally:
        for way, _ in ways.values():
            way.close()


def places_of(step: Step) -> tuple[Place, ...]:
    from ocifree_pipeline.systems.talos.cluster import Place

    plan = step.blueprint.plan
    on_guests = plan.topology != "talos-native"
    numbers = range(1, len(plan.guests if on_guests else plan.ampere) + 1)
    return tuple(Place(number, *_identity(step, number), _address(step, number)) for number in numbers)


def _identity(step: Step, number: int) -> tuple[str, Role]:
    facts = step.facts(config_key(number), MachineConfigFacts)
    return facts.hostname, facts.role


def _address(step: Step, number: int) -> str:
    """The one that the node knows itself by, whatever address it is dialled at."""
    plan = step.blueprint.plan
    if plan.topology == "talos-native":
        return step.facts(key_of(plan.ampere[number - 1]), InstanceFacts).private_ip
    return str(guest_address(step.blueprint.declaration.network.guests, number).address.ip)


def administrator(step: Step) -> Trust:
    from ocifree_pipeline.systems.talos.certificates import new_client
    from ocifree_pipeline.systems.talos.trust import as_administrator

    bundle = kept_bundle(step)
    return as_administrator(bundle.talos.certificate, new_client(bundle.talos, now(), valid=SESSION))


def kept_configuration(step: Step, number: int) -> SecretStr:
    """The text that talos/machine_config_<n> recorded, and no other."""
    from ocifree_pipeline.systems.secrets.vault import vault_of
    from ocifree_pipeline.systems.talos.configuration import digest_of

    facts = step.facts(config_key(number), MachineConfigFacts)
    text = vault_of(step.blueprint.declaration.name).get(facts.vault)
    if digest_of(text) != facts.digest:
        raise Refused(
            f"the vault holds another configuration of {facts.hostname} than the record",
            why="its digest differs",
            fix=f"ocifree up --select '{config_key(number)}'",
        )
    return text


def send_in_maintenance(step: Step, place: Place) -> bool:
    """Configure a node that came up without a configuration, if something vouches for it; whether it was so.

    Anybody may configure such a node, and anybody may pretend to be one. So only one key is spoken with: the one whose
    fingerprint the instance printed on its console, which Oracle shows to the owner alone, or the one that our guest
    shows within the node that it runs on.
    """
    from ocifree_pipeline.systems.talos.client import talos
    from ocifree_pipeline.systems.talos.trust import with_fingerprint

    vouched = _vouched(step, place)
    if vouched is None:
        return False
    dialer, host, shown = vouched
    with talos(dialer, host, with_fingerprint(shown), server_name=place.address, node=place.hostname) as opened:
        if opened.version().configured:
            return False
        step.say(f"{place.hostname} is in maintenance mode with the key {shown}: send it its configuration")
        opened.apply(kept_configuration(step, place.number))
    return True


def _vouched(step: Step, place: Place) -> tuple[Dialer, str, str] | None:
    """The way to the node, its address there, and the fingerprint of its key."""
    from ocifree_pipeline.systems.talos.trust import fingerprint_on

    if step.blueprint.plan.topology != "talos-native":
        return _vouched_by_its_host(step, place)
    shown = fingerprint_on(_console(step, place))
    return None if shown is None else (*way_to(step, place.number), shown)


def _vouched_by_its_host(step: Step, place: Place) -> tuple[Dialer, str, str] | None:
    """Nothing lies between a guest and the node that it runs on now, and that node's own key is known."""
    from ocifree_pipeline.record.proxmox import api_of
    from ocifree_pipeline.systems.proxmox.guests import find
    from ocifree_pipeline.systems.ssh.forward import forwarded
    from ocifree_pipeline.systems.talos.client import PORT
    from ocifree_pipeline.systems.talos.trust import fingerprint_at

    blueprint = step.blueprint
    with api_of(step) as api:
        guest = find(api, place.hostname, blueprint.declaration.name)
    hosts = {host_name(blueprint, one.name): one for one in blueprint.plan.ampere}
    if guest is None or not guest.running or guest.node not in hosts:
        return None
    dialer, host = way_over(step, hosts[guest.node], place.number)
    with forwarded(dialer, host, PORT) as near:
        return dialer, host, fingerprint_at(near)


def _console(step: Step, place: Place) -> str:
    """What Oracle shows of an instance."""
    from ocifree_pipeline.record.foundation import scope_of
    from ocifree_pipeline.systems.oci.console_history import console_text

    machine = step.blueprint.plan.ampere[place.number - 1]
    instance = step.facts(key_of(machine), InstanceFacts).ocid
    return console_text(scope_of(step), instance, machine.name)


def let_in_or_configured(step: Step, nodes: Nodes, place: Place) -> str:
    """The version that runs on a node that follows its configuration, which it is sent if it has none at all."""
    from ocifree_pipeline.systems.talos.cluster import wait_until_configured

    timeout = NODE_SECONDS[step.blueprint.plan.topology]
    try:
        return wait_until_configured(nodes, place, timeout=timeout).tag
    except AuthFailed:
        if not _sent(step, place):
            # It may have left maintenance mode while its console was read: who had configured it died meanwhile.
            return wait_until_configured(nodes, place, timeout=timeout).tag
    # It shows its old certificate until it has taken the configuration in.
    return wait_until_configured(nodes, place, timeout=timeout, strangers_pass=True).tag


def _sent(step: Step, place: Place) -> bool:
    try:
        return send_in_maintenance(step, place)
    except AuthFailed:
        return False


# kubeconfig -----------------------------------------------------------------------------------------------------------


def kubeconfig_file(name: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Beside the history of the deployment."""
    return home_of(environ) / "kubeconfig" / f"{name}.yaml"


def write_private(file: Path, text: SecretStr) -> bool:
    """Whether the file had to be written. Nobody but its owner reads it at any moment."""
    content = text.get_secret_value().encode()
    if file.is_file() and file.stat().st_mode & 0o077 == 0 and file.read_bytes() == content:
        return False
    private_folder(file.parent)
    replace_private(file, content)
    return True


def days_until(expires: datetime) -> int:
    return (expires - now()).days
