"""Programs about the network, and the certificates that are seen on it."""

import json
import re
from ipaddress import ip_interface
from typing import Any

from ocifree_pipeline.sandbox.machines import files, firewall, host_keys, interfaces, names, reach, tampering
from ocifree_pipeline.sandbox.machines.computer import Computer
from ocifree_pipeline.sandbox.machines.session import Command, Result, Who, Words

NOT_PLAYED = "is not played by this guest of the sandbox"
GATEWAY_LAST = 1


def _ip(who: Who, words: Words) -> Result:
    as_json = "-j" in words or "-json" in words
    rest = [word for word in words if not word.startswith("-")]
    match rest:
        case [a, *more] if "address".startswith(a) and len(a) >= 1 and a[0] == "a":
            return _addresses(who.machine, [one for one in more if one not in {"show", "dev", "list"}], as_json)
        case [link, *more] if link in {"l", "link"} and more[:1] not in (["set"], ["add"], ["del"]):
            return _links(who.machine, [one for one in more if one not in {"show", "dev"}], as_json)
        case ["route" | "r"] | ["route" | "r", "show", *_]:
            return _routes(who.machine, as_json)
        case ["route" | "r", "get", address, *_]:
            dev = interfaces.owner_of_network(who.machine, address) or interfaces.CARD
            return Result(0, f"{address} dev {dev} src {who.machine.addresses[0]} uid 0\n    cache\n")
        case ["route", "add" | "replace" | "del" as verb, target, *more]:
            return _change_route(who, verb, target, more)
        case ["link", "set", name, "mtu", number] if name in interfaces.running(who.machine) and number.isdigit():
            if who.user != "root":
                return Result(2, err="RTNETLINK answers: Operation not permitted\n")
            who.machine.guest.get("links", {}).get(name, {})["mtu"] = int(number)
            return Result(0)
    return Result(255, err=f"ip: {' '.join(words)!r} {NOT_PLAYED}\n")


def _shown(machine: Computer, wanted: list[str]) -> dict[str, dict[str, Any]]:
    lo = {"lo": {"kind": "loopback", "mtu": 65536, "addresses": ["127.0.0.1/8"]}}
    return {name: one for name, one in (lo | interfaces.running(machine)).items() if not wanted or name in wanted}


def _addresses(machine: Computer, wanted: list[str], as_json: bool) -> Result:
    found = _shown(machine, wanted)
    if wanted and not found:
        return Result(1, err=f'Device "{wanted[0]}" does not exist.\n')
    if as_json:
        rows = [
            {
                "ifindex": number,
                "ifname": name,
                "mtu": one["mtu"],
                "operstate": "UP",
                "addr_info": [
                    {"family": "inet", "local": str(ip_interface(a).ip), "prefixlen": ip_interface(a).network.prefixlen}
                    for a in one["addresses"]
                ],
            }
            for number, (name, one) in enumerate(found.items(), start=1)
        ]
        return Result(0, json.dumps(rows) + "\n")
    out = ""
    for number, (name, one) in enumerate(found.items(), start=1):
        out += f"{number}: {name}: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu {one['mtu']} qdisc noqueue state UP\n"
        out += "".join(f"    inet {address} scope global {name}\n" for address in one["addresses"])
    return Result(0, out)


def _links(machine: Computer, wanted: list[str], as_json: bool) -> Result:
    found = _shown(machine, wanted)
    if wanted and not found:
        return Result(1, err=f'Device "{wanted[0]}" does not exist.\n')
    if as_json:
        return Result(0, json.dumps([{"ifname": name, "mtu": one["mtu"]} for name, one in found.items()]) + "\n")
    rows = enumerate(found.items(), start=1)
    return Result(
        0, "".join(f"{n}: {name}: <BROADCAST,UP,LOWER_UP> mtu {one['mtu']} state UP\n" for n, (name, one) in rows)
    )


def _routes(machine: Computer, as_json: bool) -> Result:
    rows = []
    if machine.addresses:
        network = ip_interface(f"{machine.addresses[0]}/24").network
        rows.append({"dst": "default", "gateway": str(network[GATEWAY_LAST]), "dev": interfaces.CARD})
    for name, one in interfaces.running(machine).items():
        rows += [{"dst": str(ip_interface(address).network), "dev": name} for address in one["addresses"]]
    rows += [dict(one) for one in machine.guest.get("routes", [])]
    if as_json:
        return Result(0, json.dumps(rows) + "\n")
    lines = (f"{r['dst']}" + (f" via {r['gateway']}" if "gateway" in r else "") + f" dev {r['dev']}" for r in rows)
    return Result(0, "".join(f"{line}\n" for line in lines))


def _change_route(who: Who, verb: str, target: str, more: list[str]) -> Result:
    if who.user != "root":
        return Result(2, err="RTNETLINK answers: Operation not permitted\n")
    routes = who.machine.guest.setdefault("routes", [])
    have = [one for one in routes if one["dst"] == target]
    if verb == "add" and have:
        return Result(2, err="RTNETLINK answers: File exists\n")
    if verb == "del" and not have:
        return Result(2, err="RTNETLINK answers: No such process\n")
    routes[:] = [one for one in routes if one["dst"] != target]
    if verb != "del":
        given = dict(zip(more[::2], more[1::2], strict=False))
        row = {"dst": target, "dev": given.get("dev", interfaces.CARD)}
        routes.append(row | ({"gateway": given["via"]} if "via" in given else {}))
    return Result(0)


def _ping(who: Who, words: Words) -> Result:
    target = words[-1] if words else ""
    found = names.resolve(who.machine, target)
    if not found:
        return Result(2, err=f"ping: {target}: Name or service not known\n")
    alive = found[0].startswith("127.") or hears(who.machine, found[0])
    lost = "0% packet loss" if alive else "100% packet loss"
    count = 1 if alive else 0
    return Result(
        0 if alive else 1, f"--- {target} ping statistics ---\n1 packets transmitted, {count} received, {lost}\n"
    )


def hears(machine: Computer, ip: str) -> bool:
    """Whether packets find their way there and back: over the virtual network, or over a bridge and its tunnel."""
    if ip in machine.addresses or interfaces.has_address(machine, ip):
        return True
    other = reach.at(machine.world, ip)
    if other is not None and other.key.startswith("guest/"):
        from ocifree_pipeline.sandbox.proxmox import guests

        return isinstance(other, guests.Guest) and other.phase == "up" and guests.is_reachable(machine, other)
    if other is not None:
        return other.phase == "up" and tampering.is_linked(machine.world, machine.key, other.key)
    return interfaces.behind_bridge(machine, ip) is not None


def listening(machine: Computer) -> list[int]:
    from ocifree_pipeline.sandbox.machines import backend

    return sorted(backend.named(machine.state["backend"] or "linux").ports(machine))


def _ss(who: Who, _words: Words) -> Result:
    rows = (f"LISTEN 0      128          0.0.0.0:{port:<5}      0.0.0.0:*\n" for port in listening(who.machine))
    return Result(0, "State  Recv-Q Send-Q Local Address:Port  Peer Address:Port\n" + "".join(rows))


def _nc(who: Who, words: Words) -> Result:
    """``nc -z HOST PORT``: whether something listens there."""
    rest, given = list[str](), list(words)
    while given:
        word = given.pop(0)
        if word == "-w" and given:
            given.pop(0)
        elif not word.startswith("-"):
            rest.append(word)
    if len(rest) != 2 or not rest[1].isdigit() or not any("z" in word for word in words if word.startswith("-")):
        return Result(1, err=f"nc: {' '.join(words)!r} {NOT_PLAYED}\n")
    found = names.resolve(who.machine, rest[0])
    if not found:
        return Result(1, err=f'nc: getaddrinfo for host "{rest[0]}" port {rest[1]}: Name or service not known\n')
    return Result(0 if answers(who.machine, found[0], int(rest[1])) else 1)


def answers(machine: Computer, ip: str, port: int) -> bool:
    """Whether a TCP port of another machine takes connections from this one."""
    other = machine if ip.startswith("127.") else reach.at(machine.world, ip)
    if other is None or other.phase != "up" or (other is not machine and not hears(machine, ip)):
        return False
    if not firewall.permits(machine, other, firewall.TCP, port):
        return False
    return port in listening(other)


def _ifreload(who: Who, words: Words) -> Result:
    if who.user != "root":
        return Result(1, err="error: must be root to run this command\n")
    wrong = interfaces.reload(who.machine)
    return Result(1 if wrong else 0, err=wrong)


def _openssl(who: Who, words: Words) -> Result:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    if words[:1] != ("x509",) or "-in" not in words:
        return Result(1, err=f"openssl: {' '.join(words)!r} {NOT_PLAYED}\n")
    path = words[words.index("-in") + 1]
    text = files.read(who, path)
    if text is None:
        return Result(1, err=f"Could not open file or uri for loading certificate from {path}\n")
    try:
        certificate = x509.load_pem_x509_certificate(text.encode())
    except ValueError:
        return Result(1, err=f"Could not find certificate from {path}\n")
    out = ""
    if "-fingerprint" in words:
        digest = certificate.fingerprint(hashes.SHA256()).hex(":").upper()
        out += f"sha256 Fingerprint={digest}\n"
    if "-subject" in words:
        out += f"subject={certificate.subject.rfc4514_string()}\n"
    if "-enddate" in words:
        out += f"notAfter={certificate.not_valid_after_utc:%b %e %H:%M:%S %Y GMT}\n"
    return Result(0, out or text)


def _ssh_keygen(who: Who, words: Words) -> Result:
    if any(word.startswith("-l") for word in words):
        return Result(0, f"256 {host_keys.fingerprint(who.machine)} root@{who.machine.guest['hostname']} (ED25519)\n")
    return Result(1, err=f"ssh-keygen: {' '.join(words)!r} {NOT_PLAYED}\n")


def _nft(who: Who, words: Words) -> Result:
    """Tables by name, as the files that were read describe them; gone with the next start, like the kernel's."""
    if who.user != "root":
        return Result(1, err="Operation not permitted (you must be root)\n")
    tables = who.machine.guest.setdefault("nft", {})
    match words:
        case ("-f", path):
            text = files.read(who, path)
            if text is None:
                return Result(1, err=f'Error: Could not open file "{path}": No such file or directory\n')
            for name, body in re.findall(r"^table\s+(\w+\s+\w+)\s*\{(.*?)^\}", text, re.S | re.M):
                tables[" ".join(name.split())] = body.strip("\n")
            return Result(0)
        case ("list", "table", family, name):
            body = tables.get(f"{family} {name}")
            if body is None:
                return Result(1, err=f"Error: No such file or directory\nlist table {family} {name}\n")
            return Result(0, f"table {family} {name} {{\n{body}\n}}\n")
        case ("list", "ruleset"):
            return Result(0, "".join(f"table {name} {{\n{body}\n}}\n" for name, body in tables.items()))
        case ("delete" | "destroy", "table", family, name):
            gone = tables.pop(f"{family} {name}", None)
            return Result(0 if gone is not None or words[0] == "destroy" else 1)
    return Result(1, err=f"nft: {' '.join(words)!r} {NOT_PLAYED}\n")


COMMANDS: dict[str, Command] = {
    "ip": _ip,
    "ping": _ping,
    "ss": _ss,
    "nc": _nc,
    "ifreload": _ifreload,
    "ifup": _ifreload,
    "openssl": _openssl,
    "ssh-keygen": _ssh_keygen,
    "nft": _nft,
}
