"""The machines of a tailnet, as its control server lists them; and the program on a machine that joins it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import NotVerified, PreconditionMissing
from ocifree_pipeline.systems.ssh.dialer import Run
from ocifree_pipeline.systems.tailscale.keys import API, access_token, answered

JOIN_SECONDS = 90.0
KEY_FILE = "/run/ocifree/tailnet-key"
PACKAGES = "https://pkgs.tailscale.com/stable"
KEYRING = "/usr/share/keyrings/tailscale-archive-keyring.gpg"
SOURCE = "/etc/apt/sources.list.d/tailscale.list"
INSTALL_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Device:
    """One entry of the tailnet."""

    id: str
    hostname: str
    addresses: tuple[str, ...]
    tags: tuple[str, ...]
    connected: bool
    routes: tuple[str, ...] = ()
    """Those that were let through; a machine may offer more."""


@dataclass(frozen=True, slots=True)
class Membership:
    """What a machine says about itself."""

    state: str
    address: str | None

    @property
    def is_in(self) -> bool:
        return self.state == "Running" and self.address is not None


@dataclass(frozen=True, slots=True)
class Tailnet:
    """The tailnet of one OAuth client, for as long as its access token lives."""

    token: SecretStr

    def devices(self) -> tuple[Device, ...]:
        told = self._call("GET", "/api/v2/tailnet/-/devices?fields=all", "list the machines of the tailnet")
        return tuple(_device(one) for one in told["devices"])

    def remove(self, device: Device) -> None:
        self._call("DELETE", f"/api/v2/device/{device.id}", f"take {device.hostname} out of the tailnet")

    def let_through(self, device: Device, routes: Iterable[str]) -> None:
        """Let the tailnet use routes that a machine offers. Needs the scope devices:routes."""
        wanted = {"routes": sorted(routes)}
        self._call(
            "POST", f"/api/v2/device/{device.id}/routes", f"let the routes of {device.hostname} through", json=wanted
        )

    def _call(self, method: str, path: str, doing: str, **request: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token.get_secret_value()}"}
        return answered(method, f"{API}{path}", doing, headers=headers, **request)


def tailnet_of(client_id: SecretStr, client_secret: SecretStr) -> Tailnet:
    return Tailnet(access_token(client_id, client_secret))


# on a machine ---------------------------------------------------------------------------------------------------------


def is_installed(run: Run) -> bool:
    return run(["tailscale", "version"]).exit == 0


def install(run: Run, machine: str) -> None:
    """The hardened image has it. Oracle's own images get it from its repository, whose packages apt verifies."""
    told = dict(line.split("=", 1) for line in run(["cat", "/etc/os-release"]).stdout.splitlines() if "=" in line)
    system, release = (told.get(name, "").strip('"') for name in ("ID", "VERSION_CODENAME"))
    if system not in ("debian", "ubuntu") or not release:
        raise PreconditionMissing(
            f"{machine} has no Tailscale",
            why=f"its system is {told.get('PRETTY_NAME', 'unknown')}, for which only a person can install it",
            fix=f"on {machine}, as root: install the package tailscale; then materialize this asset again",
        )
    repository, doing = f"{PACKAGES}/{system}", f"install Tailscale on {machine}"
    run(["curl", "-fsSL", f"{repository}/{release}.noarmor.gpg", "-o", KEYRING], INSTALL_SECONDS).checked(doing)
    source = f"deb [signed-by={KEYRING}] {repository} {release} main\n"
    run(["install", "-D", "-m", "0644", "/dev/stdin", SOURCE], given=SecretStr(source)).checked(doing)
    run(["apt-get", "-q", "update"], INSTALL_SECONDS).checked(doing)
    run(["apt-get", "-q", "-y", "install", "tailscale"], INSTALL_SECONDS).checked(doing)


def membership(run: Run, machine: str) -> Membership:
    """Ask the machine's own program."""
    said = run(["tailscale", "status", "--json"])
    try:
        told = json.loads(said.stdout)
    except ValueError as error:
        words = (said.stderr.strip() or said.stdout.strip() or "it said nothing").splitlines()[0]
        raise NotVerified(
            f"Tailscale on {machine} does not answer",
            why=words[:300],
            fix=f"on {machine}: systemctl status tailscaled",
        ) from error
    addresses = [str(one) for one in told.get("TailscaleIPs") or () if ":" not in str(one)]
    return Membership(str(told.get("BackendState", "")), addresses[0] if addresses else None)


@dataclass(frozen=True, slots=True)
class Joining:
    """As what a machine joins, and the routes that it offers."""

    hostname: str
    tags: tuple[str, ...]
    routes: tuple[str, ...] = ()

    @property
    def command(self) -> list[str]:
        return [
            "tailscale",
            "up",
            f"--auth-key=file:{KEY_FILE}",
            f"--hostname={self.hostname}",
            f"--advertise-tags={','.join(self.tags)}",
            "--accept-dns=false",
            *([f"--advertise-routes={','.join(self.routes)}"] if self.routes else []),
        ]


def join(run: Run, joining: Joining, key: SecretStr) -> None:
    """With a key that is used once. It is in a file while it is needed, and never among the words of a command."""
    name = joining.hostname
    run(["install", "-D", "-m", "0600", "/dev/stdin", KEY_FILE], given=key).checked(f"hand {name} a key")
    try:
        run(joining.command, JOIN_SECONDS).checked(f"join {name} to the tailnet")
    finally:
        run(["rm", "-f", KEY_FILE]).checked(f"remove the key from {name}")


def _device(told: dict[str, Any]) -> Device:
    return Device(
        id=str(told.get("nodeId") or told["id"]),
        hostname=str(told.get("hostname", "")),
        addresses=tuple(map(str, told.get("addresses", ()))),
        tags=tuple(map(str, told.get("tags", ()))),
        connected=bool(told.get("connectedToControl", False)),
        routes=tuple(map(str, told.get("enabledRoutes") or ())),
    )
