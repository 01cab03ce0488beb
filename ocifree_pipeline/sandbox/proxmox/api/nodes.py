"""/nodes: what nodes are, and their power."""

from typing import Any

from ocifree_pipeline.sandbox.machines import distributions, packages, power, tampering
from ocifree_pipeline.sandbox.machines.programs.system import REBOOT_SECONDS
from ocifree_pipeline.sandbox.proxmox import certificates, nodes, quorum
from ocifree_pipeline.sandbox.proxmox.api.cluster import figures, uptime
from ocifree_pipeline.sandbox.proxmox.methods import Call, everybody, method, needs
from ocifree_pipeline.sandbox.proxmox.schema import one_of


@method("GET", "/nodes", may=everybody)
def _list(call: Call) -> Any:
    standing = quorum.standing(call.node)
    seen = standing.members if standing is not None else (call.node.name,)
    rows = []
    for one in nodes.members(call.node):
        online = one.name in seen
        row: dict[str, Any] = {"node": one.name, "id": f"node/{one.name}", "type": "node"}
        row["status"] = "online" if online else "offline"
        if one.own["pem"]:
            row["ssl_fingerprint"] = certificates.fingerprint(one.own["pem"])
        rows.append(row | (figures(one) if online else {}))
    return rows


@method("GET", "/nodes/{node}", may=everybody)
def _index(_call: Call) -> Any:
    return [
        {"name": name} for name in ("qemu", "lxc", "ceph", "storage", "network", "tasks", "status", "disks", "time")
    ]


@method("GET", "/nodes/{node}/status", may=needs("/nodes/{node}", "Sys.Audit"))
def _status(call: Call) -> Any:
    node, machine = call.node, call.node.machine
    kernel = distributions.of(machine).kernel
    seen = figures(node)
    return {
        "uptime": uptime(node),
        "pveversion": f"pve-manager/{node.version}/{nodes.REPOID}",
        "kversion": f"Linux {kernel}",
        "current-kernel": {"sysname": "Linux", "release": kernel, "version": "#1 SMP", "machine": machine.architecture},
        "cpu": seen["cpu"],
        "cpuinfo": {"cpus": machine.vcpus, "cores": machine.vcpus, "sockets": 1, "model": "unknown", "hvm": "0"},
        "memory": {
            "total": seen["maxmem"],
            "used": seen["mem"],
            "free": seen["maxmem"] - seen["mem"],
            "available": seen["maxmem"] - seen["mem"],
        },
        "rootfs": {"total": seen["maxdisk"], "used": seen["disk"], "avail": seen["maxdisk"] - seen["disk"]},
        "swap": {"total": 0, "used": 0, "free": 0},
        "loadavg": [f"{seen['cpu'] * machine.vcpus:.2f}"] * 3,
        "boot-info": {"mode": "efi" if machine.is_uefi else "legacy-bios", "secureboot": 0},
    }


@method(
    "POST",
    "/nodes/{node}/status",
    {"command": one_of("reboot", "shutdown", required=True)},
    may=needs("/nodes/{node}", "Sys.PowerMgmt"),
)
def _power(call: Call) -> Any:
    power.shut_down(call.node.machine, REBOOT_SECONDS, again=call["command"] == "reboot")


@method("GET", "/nodes/{node}/version", may=everybody)
def _version(call: Call) -> Any:
    return {"version": call.node.version, "release": nodes.RELEASE, "repoid": nodes.REPOID}


@method("GET", "/nodes/{node}/time", may=needs("/nodes/{node}", "Sys.Audit"))
def _time(call: Call) -> Any:
    now = int(call.world.clock.now().timestamp() + tampering.skew(call.node.machine))
    return {"timezone": "Etc/UTC", "time": now, "localtime": now}


@method("GET", "/nodes/{node}/apt/versions", may=needs("/nodes/{node}", "Sys.Audit"))
def _versions(call: Call) -> Any:
    have = packages.installed(call.node.machine)
    rows = [{"Package": name, "Version": have[name], "CurrentState": "Installed"} for name in sorted(have)]
    return [row for row in rows if row["Package"] in packages.PROXMOX | packages.CEPH]


@method("GET", "/nodes/{node}/certificates/info", may=everybody)
def _certificates(call: Call) -> Any:
    node = call.node
    ca = {"filename": "pve-root-ca.pem", "pem": node.store["ca"]["pem"]}
    ca["fingerprint"] = certificates.fingerprint(node.store["ca"]["pem"])
    own = {"filename": "pve-ssl.pem", "pem": node.own["pem"], "fingerprint": certificates.fingerprint(node.own["pem"])}
    return [ca, own]


@method("GET", "/nodes/{node}/dns", may=needs("/nodes/{node}", "Sys.Audit"))
def _dns(_call: Call) -> Any:
    return {"search": "oraclevcn.com", "dns1": "169.254.169.254"}
