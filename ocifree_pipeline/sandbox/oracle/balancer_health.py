"""Whether backends answer, seen from the machines: a backend is healthy when something listens on its port.

The content of an HTTP answer is not judged; a port that listens passes every kind of check.
"""

from typing import Any

from ocifree_pipeline.sandbox.oracle import private_ips, vnics
from ocifree_pipeline.sandbox.world import Resource, World


def of_backend(world: World, backend_set: dict[str, Any], backend: dict[str, Any]) -> str:
    """The status of one health check: OK, CONNECT_FAILED (it refuses) or TIMED_OUT (nobody is there)."""
    from ocifree_pipeline.sandbox.machines import backend as guests
    from ocifree_pipeline.sandbox.machines import reach

    address = address_of(world, backend)
    machine = reach.at(world, address) if address else None
    if machine is None or machine.phase != "up":
        return "TIMED_OUT"
    port = backend_set["healthChecker"].get("port") or backend["port"]
    return "OK" if port in guests.named(machine.state["backend"]).ports(machine) else "CONNECT_FAILED"


def address_of(world: World, backend: dict[str, Any]) -> str | None:
    """A backend names an address, a private IP or an instance."""
    if "ipAddress" in backend:
        return str(backend["ipAddress"])
    private = world.get(private_ips.KIND, backend["targetId"])
    if private is not None:
        return str(private.body["ipAddress"])
    primary = next((one for one in vnics.of_instance(world, backend["targetId"]) if one.body["isPrimary"]), None)
    return str(primary.body["privateIp"]) if primary is not None else None


def of_set(world: World, backend_set: dict[str, Any], *, listens: bool = True) -> dict[str, Any]:
    """The health of a backend set. One that no listener uses is not probed."""
    statuses = {
        one["name"]: of_backend(world, backend_set, one) if listens else "UNKNOWN" for one in backend_set["backends"]
    }
    critical = [name for name, status in statuses.items() if status not in {"OK", "UNKNOWN"}]
    unknown = [name for name, status in statuses.items() if status == "UNKNOWN"]
    healthy = len(statuses) - len(critical) - len(unknown)
    if not statuses or unknown:
        status = "UNKNOWN"
    elif not critical:
        status = "OK"
    else:
        status = "WARNING" if 2 * healthy >= len(statuses) else "CRITICAL"
    return {
        "status": status,
        "warningStateBackendNames": [],
        "criticalStateBackendNames": critical,
        "unknownStateBackendNames": unknown,
        "totalBackendCount": len(statuses),
    }


def of_balancer(world: World, balancer: Resource) -> dict[str, Any]:
    sets = balancer.body["backendSets"]
    used = {one["defaultBackendSetName"] for one in balancer.body["listeners"].values()}
    statuses = {name: of_set(world, one, listens=name in used)["status"] for name, one in sets.items()}
    named = {status: [name for name, one in statuses.items() if one == status] for status in statuses.values()}
    if balancer.state not in {"ACTIVE", "UPDATING"} or not statuses:
        status = "UNKNOWN"
    elif "CRITICAL" in named:
        status = "CRITICAL"
    elif "WARNING" in named:
        status = "WARNING"
    else:
        status = "UNKNOWN" if 2 * len(named.get("UNKNOWN", [])) > len(statuses) else "OK"
    return {
        "status": status,
        "warningStateBackendSetNames": named.get("WARNING", []),
        "criticalStateBackendSetNames": named.get("CRITICAL", []),
        "unknownStateBackendSetNames": named.get("UNKNOWN", []),
        "totalBackendSetCount": len(statuses),
    }


def behind(world: World, address: str, port: int) -> list[tuple[str, int]]:
    """The healthy backends that a balancer at ``address`` passes connections to ``port`` on to; empty when none."""
    for kind in ("networkloadbalancer", "loadbalancer"):
        for balancer in world.all(kind):
            if not balancer.gone and any(one["ipAddress"] == address for one in balancer.body["ipAddresses"]):
                return _targets(world, balancer, port)
    return []


def _targets(world: World, balancer: Resource, port: int) -> list[tuple[str, int]]:
    for listener in balancer.body["listeners"].values():
        if listener["port"] not in {port, 0}:
            continue
        backend_set = balancer.body["backendSets"][listener["defaultBackendSetName"]]
        alive = [one for one in backend_set["backends"] if of_backend(world, backend_set, one) == "OK"]
        serving = [one for one in alive if not _out_of_service(one)]
        regular = [one for one in serving if not (one.get("isBackup") or one.get("backup"))]
        chosen = regular or serving
        return [(found, one["port"] or port) for one in chosen if (found := address_of(world, one)) is not None]
    return []


def _out_of_service(backend: dict[str, Any]) -> bool:
    return any(backend.get(name) for name in ("isDrain", "drain", "isOffline", "offline"))
