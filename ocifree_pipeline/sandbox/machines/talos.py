"""A guest that is Talos Linux, on the platform `oracle`: no shell, no SSH, one API that knows its friends.

On its first boot it takes its configuration from the user data of the instance and keeps it on its disk; later boots
read it from there. Without a valid one it stays in maintenance mode: the API answers anybody, with a certificate that
nobody has signed. The methods of the API are not played yet (see ``talos_api``), nor is the trust service at 50001: a
worker, which cannot sign for itself, gets its certificate as soon as a control plane of its cluster is up.
"""

import hashlib
import socket
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ocifree_pipeline.sandbox.clock import stamp
from ocifree_pipeline.sandbox.machines import reach
from ocifree_pipeline.sandbox.machines.backend import Listener, Serve
from ocifree_pipeline.sandbox.machines.computer import Computer
from ocifree_pipeline.sandbox.machines.talos_configuration import Authority, Configuration, Invalid, read

APID = 50000
LABEL = "META"
"""Every Talos disk has this partition from the image on; STATE and EPHEMERAL come with the first boot."""
USER_DATA = "http://169.254.169.254/opc/v2/instance/metadata/user_data"
LOOPBACK = "127.0.0.1"


class Talos:
    name = "talos"

    def recognises(self, machine: Computer) -> bool:
        return LABEL in machine.disk.get("labels", ())

    def start(self, machine: Computer) -> None:
        machine.print(
            f"[    0.000000] Linux version (Talos) {machine.architecture}, platform {machine.platform}",
            "[talos] starting up; there is no shell and no login on this machine",
        )

    def come_up(self, machine: Computer) -> None:
        found = _state(machine)
        found["key"] = hashlib.sha256(machine.world.fresh("taloskey", 52).encode()).hexdigest()
        configuration = _kept(machine) or _acquired(machine)
        addresses = " ".join(machine.addresses)
        if configuration is None:
            from ocifree_pipeline.sandbox.machines.talos_certificates import fingerprint

            _say(machine, "maintenance mode: waiting for a configuration from whoever sends one")
            _say(machine, f"the maintenance API listens at port {APID} of {addresses}")
            _say(machine, f"fingerprint of its certificate: {fingerprint(_key(machine))}")
            return
        _say(machine, f"this is {_hostname(machine, configuration)}, machine type {configuration.role}")
        if _issuer(machine, configuration) is None:
            _say(machine, "apid waits for a certificate: no control plane of the cluster answers yet")
        else:
            _say(machine, f"apid listens at port {APID} of {addresses} and asks for client certificates")

    def ports(self, machine: Computer) -> Mapping[int, Serve]:
        configuration = _kept(machine)
        waits = configuration is not None and _issuer(machine, configuration) is None
        return {} if waits else {APID: _serve}


async def _serve(machine: Computer, listening: socket.socket) -> Listener:
    from ocifree_pipeline.sandbox.machines import talos_certificates
    from ocifree_pipeline.sandbox.machines.talos_api import Api

    configuration, key = _kept(machine), _key(machine)
    hostname = _hostname(machine, configuration)
    names = [hostname, *machine.addresses, LOOPBACK]
    if configuration is None:
        shown = talos_certificates.certificate(key, hostname, names, None)
        return Api(talos_certificates.context(key, shown, None), listening)
    names += configuration.alternative_names
    shown = talos_certificates.certificate(key, hostname, names, _issuer(machine, configuration))
    return Api(talos_certificates.context(key, shown, configuration.authority), listening)


# configuration --------------------------------------------------------------------------------------------------------


def _kept(machine: Computer) -> Configuration | None:
    """What lies on the disk; only what was found valid was put there."""
    text = _state(machine).get("configuration")
    return read(text) if text else None


def _acquired(machine: Computer) -> Configuration | None:
    """From the user data, and kept. None: there is none, or none that would do, and the console says so."""
    _say(machine, f"no configuration on the disk; fetching one from {USER_DATA}")
    try:
        text = machine.user_data()
    except ValueError as error:
        _say(machine, f"the platform has no configuration: {error}")
        return None
    if not text:
        _say(machine, "the platform has no configuration: the instance has no user data")
        return None
    try:
        configuration = read(text)
    except Invalid as error:
        _say(machine, f"the configuration from the platform is not valid: {error}")
        return None
    _state(machine)["configuration"] = text
    _say(machine, "the configuration from the platform is valid; it is kept on the disk")
    return configuration


def _issuer(machine: Computer, configuration: Configuration) -> Authority | None:
    """Who signs the node's certificate: the node itself, or a control plane that is up and shares its token."""
    if configuration.authority.key is not None:
        return configuration.authority
    for other in reach.everyone(machine.world):
        if other.phase != "up" or other.state["backend"] != Talos.name:
            continue
        found = _kept(other)
        if found and found.is_control_plane and _are_of_one_cluster(found, configuration):
            return found.authority
    return None


def _are_of_one_cluster(one: Configuration, other: Configuration) -> bool:
    return one.token == other.token and one.authority.certificate == other.authority.certificate


# the node itself ------------------------------------------------------------------------------------------------------


def _state(machine: Computer) -> dict[str, Any]:
    found: dict[str, Any] = machine.guest.setdefault("talos", {})
    return found


def _key(machine: Computer) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(_state(machine)["key"]))


def _hostname(machine: Computer, configuration: Configuration | None) -> str:
    return (configuration.hostname if configuration is not None else None) or machine.hostname


def _say(machine: Computer, line: str) -> None:
    machine.print(f"[talos] {stamp(machine.world.clock.now())} {line}")
