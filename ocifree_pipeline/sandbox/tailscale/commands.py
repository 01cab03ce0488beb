"""The program ``tailscale`` on a guest that has its package."""

import json
from typing import Any

from ocifree_pipeline.sandbox.machines import files
from ocifree_pipeline.sandbox.machines.computer import Computer
from ocifree_pipeline.sandbox.machines.session import WAIT, Command, Result, Steps, Who, Words
from ocifree_pipeline.sandbox.tailscale import tailnet

VERSION = "1.90.6"
TUN = "/dev/net/tun"
NOT_RUNNING = (
    "failed to connect to local tailscaled; it doesn't appear to be running (sudo systemctl start tailscaled ?)\n"
)
OPTIONS = frozenset(
    {
        "auth-key",
        "authkey",
        "hostname",
        "advertise-tags",
        "advertise-routes",
        "accept-dns",
        "accept-routes",
        "force-reauth",
        "reset",
        "timeout",
        "ssh",
    }
)


def _tailscale(who: Who, words: Words) -> Result | Steps:
    if words[:1] == ("version",):
        return Result(0, f"{VERSION}\n")
    if not _runs(who.machine):
        return Result(1, err=NOT_RUNNING)
    match words:
        case ("up", *options):
            return _up(who, options)
        case ("down" | "logout" as verb,):
            return _leave(who, forget=verb == "logout")
        case ("status", *options):
            return _status(who.machine, as_json="--json" in options or "-json" in options)
        case ("ip", *options):
            return _addresses(who.machine, options)
        case ("ping", *options):
            return _ping(who.machine, options)
    return Result(1, err=f"tailscale: {' '.join(words)!r} is not played by this guest of the sandbox\n")


def _runs(machine: Computer) -> bool:
    """Its daemon needs a tunnel device, which a container has only if it was given one."""
    if not files.exists(machine, TUN):
        return False
    unit = machine.guest.get("services", {}).get("tailscaled")
    return unit is None or bool(unit["active"])


def _up(who: Who, words: list[str]) -> Steps:
    machine = who.machine
    if who.user != "root":
        yield Result(1, err="Access denied: prefs write access denied\n\nUse 'sudo tailscale up'.\n")
        return 1
    options = dict(_option(word) for word in words)
    if unknown := [name for name in options if name not in OPTIONS]:
        yield Result(2, err=f"flag provided but not defined: -{unknown[0]}\n")
        return 2
    device = None if "force-reauth" in options else tailnet.device_of(machine)
    if device is None:
        secret = options.get("auth-key", options.get("authkey", ""))
        if secret.startswith("file:"):
            text = files.read(who, secret.removeprefix("file:"))
            if text is None:
                yield Result(1, err=f"open {secret.removeprefix('file:')}: no such file or directory\n")
                return 1
            secret = text.strip()
        if not secret:
            yield Result(0, err="\nTo authenticate, visit:\n\n\thttps://login.tailscale.com/a/0123456789ab\n\n")
            while True:
                yield WAIT
        hostname = options.get("hostname") or str(machine.guest["hostname"])
        tags = [tag for tag in options.get("advertise-tags", "").split(",") if tag]
        try:
            device = tailnet.join(machine, secret, hostname, tags)
        except tailnet.Refused as refused:
            yield Result(1, err=f"backend error: {refused}\n")
            return 1
    machine.guest["tailscale"]["up"] = True
    if "advertise-routes" in options:
        device["advertised"] = [one for one in options["advertise-routes"].split(",") if one]
    if "hostname" in options:
        device["hostname"] = options["hostname"]
    yield Result(0)
    return 0


def _option(word: str) -> tuple[str, str]:
    name, _, value = word.lstrip("-").partition("=")
    return name, value


def _leave(who: Who, *, forget: bool) -> Result:
    if who.user != "root":
        return Result(1, err="Access denied: prefs write access denied\n")
    known = who.machine.guest.get("tailscale")
    if known:
        known["up"] = False
        if forget:
            tailnet.state(who.machine.world)["devices"].pop(known["device"], None)
    return Result(0)


def _backend(machine: Computer) -> str:
    if tailnet.device_of(machine) is None:
        return "NeedsLogin"
    return "Running" if machine.guest["tailscale"]["up"] else "Stopped"


def _status(machine: Computer, *, as_json: bool) -> Result:
    state, own = _backend(machine), tailnet.device_of(machine)
    devices = tailnet.state(machine.world)["devices"].values()
    others = [one for one in devices if own is not None and one["id"] != own["id"]]
    if as_json:
        shown: dict[str, Any] = {
            "Version": VERSION,
            "BackendState": state,
            "TailscaleIPs": own["addresses"] if own else None,
            "Self": _peer(machine, own) if own else {"HostName": machine.guest["hostname"], "Online": False},
            "Peer": {f"nodekey:{one['id']}": _peer(machine, one) for one in others},
            "MagicDNSSuffix": tailnet.DOMAIN,
        }
        return Result(0, json.dumps(shown, indent=2) + "\n")
    if own is None:
        return Result(1, "Logged out.\n")
    if state == "Stopped":
        return Result(1, "Tailscale is stopped.\n")
    lines = (
        f"{one['addresses'][0]:15} {one['hostname']:20} {' '.join(one['tags'])} linux -\n" for one in (own, *others)
    )
    return Result(0, "".join(lines))


def _peer(machine: Computer, device: dict[str, Any]) -> dict[str, Any]:
    return {
        "ID": device["nodeId"],
        "HostName": device["hostname"],
        "DNSName": f"{device['name']}.",
        "TailscaleIPs": device["addresses"],
        "Tags": device["tags"],
        "Online": tailnet.is_connected(machine.world, device),
    }


def _addresses(machine: Computer, words: list[str]) -> Result:
    own = tailnet.device_of(machine)
    if own is None or _backend(machine) != "Running":
        return Result(1, err="no current Tailscale IPs; state: " + _backend(machine) + "\n")
    wanted = own["addresses"][:1] if "-4" in words else own["addresses"]
    return Result(0, "".join(f"{one}\n" for one in wanted))


def _ping(machine: Computer, words: list[str]) -> Result:
    target = next((word for word in reversed(words) if not word.startswith("-")), "")
    devices = tailnet.state(machine.world)["devices"].values()
    far = tailnet.at(machine.world, target) or next(
        (one for one in devices if target in {one["hostname"], one["name"], one["name"].partition(".")[0]}), None
    )
    if far is None or _backend(machine) != "Running":
        return Result(1, err=f"error looking up IP of {target!r}: no such host\n")
    if tailnet.underlay(machine, far["addresses"][0]) is None:
        return Result(1, f"ping {far['addresses'][0]!r} timed out\n", "no reply\n")
    return Result(0, f"pong from {far['hostname']} ({far['addresses'][0]}) via DERP(fra) in 9ms\n")


COMMANDS: dict[str, Command] = {"tailscale": _tailscale}
