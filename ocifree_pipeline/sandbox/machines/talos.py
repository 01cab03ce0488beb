"""A guest that is Talos Linux: no shell, no SSH, one API that knows its friends (see ``sandbox.talos``).

On its first boot it takes its configuration from what its surroundings hand out and keeps it on its disk; later boots
read it from there. Without a valid one it stays in maintenance mode: the API answers anybody, with a certificate that
nobody has signed. The trust service at 50001 is not played: a worker, which cannot sign for itself, gets its
certificate as soon as a control plane of its cluster is up.
"""

import hashlib
import socket
from collections.abc import Mapping
from functools import partial

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ocifree_pipeline.sandbox.kubernetes import ingress
from ocifree_pipeline.sandbox.machines.backend import Listener, Serve
from ocifree_pipeline.sandbox.machines.computer import Computer, Platform
from ocifree_pipeline.sandbox.machines.talos_configuration import Authority, Configuration, Invalid, read
from ocifree_pipeline.sandbox.talos import cluster, life
from ocifree_pipeline.sandbox.talos.node import BACKEND, Node, nodes

APID = 50000
LABEL = "META"
"""Every Talos disk has this partition from the image on; STATE and EPHEMERAL come with the first boot."""
SOURCES: Mapping[Platform, str] = {
    "oracle": "http://169.254.169.254/opc/v2/instance/metadata/user_data",
    "nocloud": "the file user-data of the cidata drive",
}
LOOPBACK = "127.0.0.1"


class Talos:
    name = BACKEND

    def recognises(self, machine: Computer) -> bool:
        return LABEL in machine.disk.get("labels", ())

    def start(self, machine: Computer) -> None:
        node = Node(machine)
        life.take_staged(node)
        machine.print(
            f"[    0.000000] Linux version (Talos) {machine.architecture}, platform {machine.platform}",
            f"[talos] {node.version} starting up; there is no shell and no login on this machine",
        )

    def come_up(self, machine: Computer) -> None:
        node = Node(machine)
        node.disk["key"] = hashlib.sha256(machine.world.fresh("taloskey", 52).encode()).hexdigest()
        configuration = node.configuration or _acquired(node)
        addresses = " ".join(machine.addresses)
        if configuration is None:
            from ocifree_pipeline.sandbox.machines.talos_certificates import fingerprint

            node.disk["stage"] = "maintenance"
            node.say("maintenance mode: waiting for a configuration from whoever sends one")
            node.say(f"the maintenance API listens at port {APID} of {addresses}")
            node.say(f"fingerprint of its certificate: {fingerprint(_key(node))}")
            return
        life.run(node)
        if _issuer(node, configuration) is None:
            node.say("apid waits for a certificate: no control plane of the cluster answers yet")
        else:
            node.say(f"apid listens at port {APID} of {addresses} and asks for client certificates")

    def went_down(self, machine: Computer) -> None:
        cluster.refresh(machine.world)

    def ports(self, machine: Computer) -> Mapping[int, Serve]:
        node = Node(machine)
        configuration = node.configuration
        if configuration is not None and _issuer(node, configuration) is None:
            return {}
        open_ports: dict[int, Serve] = {APID: _serve}
        if cluster.api_of(node) is not None:
            open_ports[cluster.KUBERNETES_API] = _serve_kubernetes
        kubernetes = cluster.kubernetes_of(node)
        if kubernetes is not None:
            for port in ingress.open_ports(kubernetes, node.hostname):
                open_ports[port] = partial(_serve_gateway, port)
        return open_ports


async def _serve(machine: Computer, listening: socket.socket) -> Listener:
    from ocifree_pipeline.sandbox.machines import talos_certificates
    from ocifree_pipeline.sandbox.talos import server

    node = Node(machine)
    configuration, key = node.configuration, _key(node)
    names = [node.hostname, *machine.addresses, LOOPBACK]
    issuer = None
    if configuration is not None:
        names += configuration.alternative_names
        issuer = _issuer(node, configuration)
    shown = talos_certificates.certificate(key, node.hostname, names, issuer)
    authority = configuration.authority if configuration is not None else None
    return server.listen(machine, listening, talos_certificates.context(key, shown, authority))


async def _serve_kubernetes(machine: Computer, listening: socket.socket) -> Listener:
    from ocifree_pipeline.sandbox.kubernetes import certificates, server

    node = Node(machine)
    made, settings, configuration = cluster.api_of(node), node.settings, node.configuration
    if made is None or settings is None or configuration is None:
        raise LookupError(f"{node.hostname} has no Kubernetes to answer for")
    names = (node.hostname, *machine.addresses, *configuration.alternative_names, *settings.api_names)
    context = certificates.context(*settings.kubernetes_ca, names)
    return await server.serve(made, listening, context, partial(cluster.api_version, machine))


async def _serve_gateway(port: int, machine: Computer, listening: socket.socket) -> Listener:
    node = Node(machine)
    kubernetes = cluster.kubernetes_of(node)
    if kubernetes is None:
        raise LookupError(f"{node.hostname} belongs to no cluster")
    return await ingress.serve(kubernetes, listening, port)


# configuration --------------------------------------------------------------------------------------------------------


def _acquired(node: Node) -> Configuration | None:
    """From the user data, and kept. None: there is none, or none that would do, and the console says so."""
    node.say(f"no configuration on the disk; fetching one from {SOURCES[node.computer.platform]}")
    try:
        text = node.computer.user_data()
    except ValueError as error:
        node.say(f"the platform has no configuration: {error}")
        return None
    if not text:
        node.say("the platform has no configuration: the instance has no user data")
        return None
    try:
        configuration = read(text)
    except Invalid as error:
        node.say(f"the configuration from the platform is not valid: {error}")
        return None
    node.disk["configuration"] = text
    node.say("the configuration from the platform is valid; it is kept on the disk")
    return configuration


def _issuer(node: Node, configuration: Configuration) -> Authority | None:
    """Who signs the node's certificate: the node itself, or a control plane that is up and shares its token."""
    if configuration.authority.key is not None:
        return configuration.authority
    for other in nodes(node.world):
        found = other.configuration
        if other.is_up and found and found.is_control_plane and _are_of_one_cluster(found, configuration):
            return found.authority
    return None


def _are_of_one_cluster(one: Configuration, other: Configuration) -> bool:
    return one.token == other.token and one.authority.certificate == other.authority.certificate


def _key(node: Node) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(node.disk["key"]))
