"""Names that a guest can resolve: its /etc/hosts first, then the resolver of the virtual network."""

from ipaddress import ip_address

from ocifree_pipeline.sandbox.machines.computer import Computer

LOCAL = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"


def default_hosts(machine: Computer) -> str:
    """Debian's images name the machine at 127.0.1.1; one that was made for Proxmox leaves that out."""
    name = machine.guest["hostname"]
    if is_for_proxmox(machine):
        return LOCAL
    return f"127.0.0.1 localhost\n127.0.1.1 {name}\n"


def is_hardened(machine: Computer) -> bool:
    return bool({"debian-root", "proxmox-root"} & set(machine.disk.get("labels", ())))


def is_for_proxmox(machine: Computer) -> bool:
    return "proxmox-root" in machine.disk.get("labels", ())


def resolve(machine: Computer, name: str) -> list[str]:
    """The addresses behind a name or an address, as getaddrinfo finds them; empty when nobody knows it."""
    from ocifree_pipeline.sandbox.machines import files

    try:
        return [str(ip_address(name))]
    except ValueError:
        pass
    found = []
    for line in files.texts(machine).get("/etc/hosts", "").splitlines():
        address, *aliases = line.partition("#")[0].split() or [""]
        if name.lower() in {one.lower() for one in aliases}:
            found.append(address)
    return found or _from_network(machine, name)


def _from_network(machine: Computer, name: str) -> list[str]:
    """The virtual network knows its machines by their host labels, and its search domain makes short names do."""
    from ocifree_pipeline.sandbox.machines import reach

    short = name.partition(".")[0].lower()
    if machine.platform != "oracle" or ("." in name and not name.endswith(".oraclevcn.com")):
        return []
    for other in reach.everyone(machine.world):
        if other.platform == "oracle" and other.hostname.lower() == short and other.addresses:
            return [other.addresses[0]]
    return []


def own_address(machine: Computer, name: str = "") -> str | None:
    """What this machine's own name stands for; None when nothing does."""
    found = resolve(machine, name or str(machine.guest["hostname"]))
    return found[0] if found else None
