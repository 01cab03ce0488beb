"""The parts of a load balancer: backend sets with their backends and health checker, and listeners."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.sandbox.oracle import balancer_health, balancer_jobs, errors, network_security_groups, pages
from ocifree_pipeline.sandbox.oracle.balancer_family import Family, Fields, already_exists
from ocifree_pipeline.sandbox.oracle.balancer_jobs import Edit
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply
from ocifree_pipeline.sandbox.world import Resource, World

SETS, LISTENERS = "backendSets", "listeners"
Handler = Callable[[Call], Reply]


@dataclass(frozen=True, slots=True)
class Part:
    """The operations on one kind of part."""

    noun: str
    path: str
    parameter: str
    create: Handler
    get: Handler
    list_all: Handler
    update: Handler
    delete: Handler
    readable: bool = True


def offer(family: Family) -> None:
    """Register the operations on the parts of this family's balancers."""
    _offer_backend_sets(family)
    _offer_backends(family)
    _offer_health_checker(family)
    _offer_listeners(family)
    _offer_groups(family)
    _offer_health(family)


def checked_sets(family: Family, world: World, balancer: Resource, sets: dict[str, Fields]) -> dict[str, Fields]:
    """The backend sets that a new balancer brings along."""
    return {name: _checked_set(family, world, balancer, {"name": name} | one) for name, one in sets.items()}


def checked_listeners(family: Family, balancer: Resource, listeners: dict[str, Fields]) -> dict[str, Fields]:
    kept: dict[str, Fields] = {}
    for name, listener in listeners.items():
        wanted = {"name": name} | listener
        if wanted["name"] != name:
            raise errors.invalid_parameter(f"The listener {name} is called {wanted['name']} inside")
        _check_listener(balancer, wanted, kept)
        kept[name] = family.checked_listener(balancer, wanted)
    return kept


def accepted(
    call: Call,
    family: Family,
    balancer: Resource,
    edits: Sequence[Edit],
    *,
    on_done: str | None = None,
) -> Reply:
    job = balancer_jobs.start(call.world, family, balancer, call.operation, edits, on_done=on_done)
    return Reply(headers={"opc-work-request-id": job.ocid})


# backend sets ---------------------------------------------------------------------------------------------------


def _offer_backend_sets(family: Family) -> None:
    def create(call: Call) -> Reply:
        balancer = family.editable(call)
        kept = _checked_set(family, call.world, balancer, call.body)
        if kept["name"] in balancer.body[SETS]:
            raise already_exists(f"The backend set {kept['name']} already exists")
        return accepted(call, family, balancer, [((SETS, kept["name"]), kept)])

    def get(call: Call) -> Reply:
        return Reply(_set(family.find(call), call))

    def list_all(call: Call) -> Reply:
        return _listed(family, call, list(family.find(call).body[SETS].values()))

    def update(call: Call) -> Reply:
        balancer = family.editable(call)
        old = _set(balancer, call)
        base = {"name": old["name"]} if family.replaces else old
        kept = _checked_set(family, call.world, balancer, base | call.body)
        return accepted(call, family, balancer, [((SETS, old["name"]), kept)])

    def delete(call: Call) -> Reply:
        balancer = family.editable(call)
        name = _set(balancer, call)["name"]
        for listener in balancer.body[LISTENERS].values():
            if listener["defaultBackendSetName"] == name:
                raise errors.conflict(f"The backend set {name} is in use by the listener {listener['name']}")
        return accepted(call, family, balancer, [((SETS, name), None)])

    path = f"{family.one}/{SETS}"
    _register(family, Part("BackendSet", path, "backendSetName", create, get, list_all, update, delete))


def _checked_set(family: Family, world: World, balancer: Resource, wanted: Fields) -> Fields:
    _check_part_name(wanted["name"])
    kept = dict(wanted)
    kept["healthChecker"] = family.checked_health_checker(wanted["healthChecker"])
    kept["backends"] = [family.checked_backend(world, one) for one in wanted.get("backends", [])]
    _check_distinct(kept["backends"])
    return family.checked_backend_set(balancer, kept)


def _set(balancer: Resource, call: Call) -> Fields:
    return _part(balancer.body[SETS], call.path["backendSetName"], "backend set")


# backends -------------------------------------------------------------------------------------------------------


def _offer_backends(family: Family) -> None:
    def changed(call: Call, balancer: Resource, backends: list[Fields]) -> Reply:
        name = call.path["backendSetName"]
        return accepted(call, family, balancer, [((SETS, name, "backends"), backends)])

    def create(call: Call) -> Reply:
        balancer = family.editable(call)
        backends = [*_set(balancer, call)["backends"], family.checked_backend(call.world, call.body)]
        _check_distinct(backends)
        return changed(call, balancer, backends)

    def get(call: Call) -> Reply:
        return Reply(_backend(_set(family.find(call), call), call))

    def list_all(call: Call) -> Reply:
        return _listed(family, call, _set(family.find(call), call)["backends"])

    def update(call: Call) -> Reply:
        balancer = family.editable(call)
        backends = _set(balancer, call)["backends"]
        old = _backend(_set(balancer, call), call)
        fixed = {name: old[name] for name in ("name", "ipAddress", "targetId", "port") if name in old}
        kept = family.checked_backend(call.world, (fixed if family.replaces else old) | call.body)
        return changed(call, balancer, [kept if one is old else one for one in backends])

    def delete(call: Call) -> Reply:
        balancer = family.editable(call)
        old = _backend(_set(balancer, call), call)
        return changed(call, balancer, [one for one in _set(balancer, call)["backends"] if one is not old])

    def health(call: Call) -> Reply:
        balancer = family.find(call)
        backend_set = _set(balancer, call)
        status = balancer_health.of_backend(call.world, backend_set, _backend(backend_set, call))
        result: Fields = {"timestamp": call.world.clock.stamp(), "healthCheckStatus": status}
        if not family.collections:
            result["subnetId"] = balancer.body["subnetIds"][0]
            result["sourceIpAddress"] = balancer.hidden["addresses"][0]["ipAddress"]
        return Reply({"status": "OK" if status == "OK" else "CRITICAL", "healthCheckResults": [result]})

    path = f"{family.one}/{SETS}/{{backendSetName}}/backends"
    _register(family, Part("Backend", path, "backendName", create, get, list_all, update, delete))
    family.service.get(
        f"{path}/{{backendName}}/health", operation="GetBackendHealth", reply=f"{family.models}.BackendHealth"
    )(health)


def _backend(backend_set: Fields, call: Call) -> Fields:
    found = {one["name"]: one for one in backend_set["backends"]}
    return _part(found, call.path["backendName"], "backend")


def _check_distinct(backends: Sequence[Fields]) -> None:
    seen: set[tuple[str, int]] = set()
    for one in backends:
        key = (one.get("ipAddress") or one.get("targetId", ""), one["port"])
        if key in seen:
            raise already_exists(f"Duplicate backend IP/id + port combinations not allowed: {key[0]}:{key[1]}")
        seen.add(key)


# health checkers ------------------------------------------------------------------------------------------------


def _offer_health_checker(family: Family) -> None:
    def get(call: Call) -> Reply:
        return Reply(_set(family.find(call), call)["healthChecker"])

    def update(call: Call) -> Reply:
        balancer = family.editable(call)
        backend_set = _set(balancer, call)
        base = {} if family.replaces else backend_set["healthChecker"]
        kept = family.checked_health_checker(base | call.body)
        return accepted(call, family, balancer, [((SETS, backend_set["name"], "healthChecker"), kept)])

    path = f"{family.one}/{SETS}/{{backendSetName}}/healthChecker"
    family.service.get(path, operation="GetHealthChecker", reply=f"{family.models}.HealthChecker")(get)
    family.service.put(
        path,
        operation="UpdateHealthChecker",
        body=f"{family.models}.UpdateHealthCheckerDetails",
        status=family.status,
    )(update)


# listeners ------------------------------------------------------------------------------------------------------


def _offer_listeners(family: Family) -> None:
    def create(call: Call) -> Reply:
        balancer = family.editable(call)
        name = call.body["name"]
        if name in balancer.body[LISTENERS]:
            raise already_exists(f"The listener {name} already exists")
        _check_listener(balancer, call.body, balancer.body[LISTENERS])
        return accepted(call, family, balancer, [((LISTENERS, name), family.checked_listener(balancer, call.body))])

    def get(call: Call) -> Reply:
        return Reply(find(family.find(call), call))

    def list_all(call: Call) -> Reply:
        return _listed(family, call, list(family.find(call).body[LISTENERS].values()))

    def update(call: Call) -> Reply:
        balancer = family.editable(call)
        old = find(balancer, call)
        wanted = ({"name": old["name"]} if family.replaces else old) | call.body
        others = {name: one for name, one in balancer.body[LISTENERS].items() if name != old["name"]}
        _check_listener(balancer, wanted, others)
        kept = family.checked_listener(balancer, wanted)
        return accepted(call, family, balancer, [((LISTENERS, old["name"]), kept)])

    def delete(call: Call) -> Reply:
        balancer = family.editable(call)
        return accepted(call, family, balancer, [((LISTENERS, find(balancer, call)["name"]), None)])

    def find(balancer: Resource, call: Call) -> Fields:
        return _part(balancer.body[LISTENERS], call.path["listenerName"], "listener")

    path = f"{family.one}/{LISTENERS}"
    readable = family.collections  # those of the other family are read with their balancer
    _register(family, Part("Listener", path, "listenerName", create, get, list_all, update, delete, readable))


def _check_listener(balancer: Resource, wanted: Fields, others: dict[str, Fields]) -> None:
    _check_part_name(wanted["name"])
    target = wanted["defaultBackendSetName"]
    if target not in balancer.body[SETS]:
        raise errors.invalid_parameter(
            f"The listener {wanted['name']} refers to a backend set that is not there: {target}"
        )
    for other in others.values():
        if other["port"] == wanted["port"] and _share_traffic(other["protocol"], wanted["protocol"]):
            raise already_exists(f"The listener {other['name']} already listens on port {wanted['port']}")


def _share_traffic(one: str, other: str) -> bool:
    """UDP leaves a port free for everything else."""
    return (one == "UDP") == (other == "UDP") or {one, other} & {"ANY", "TCP_AND_UDP", "L3IP"} != set()


# security groups, health of sets and balancers ------------------------------------------------------------------


def _offer_groups(family: Family) -> None:
    def update(call: Call) -> Reply:
        balancer = family.editable(call)
        groups = call.body.get("networkSecurityGroupIds", [])
        subnet = balancer.body["subnetId"] if "subnetId" in balancer.body else balancer.body["subnetIds"][0]
        vcn = call.world.table("subnet")[subnet].body["vcnId"]
        network_security_groups.check_groups(call.world, call.region, groups, vcn)
        return accepted(call, family, balancer, [(("networkSecurityGroupIds",), groups)])

    family.service.put(
        f"{family.one}/networkSecurityGroups",
        operation="UpdateNetworkSecurityGroups",
        body=f"{family.models}.UpdateNetworkSecurityGroupsDetails",
        status=family.status,
    )(update)


def _offer_health(family: Family) -> None:
    def of_set(call: Call) -> Reply:
        balancer = family.find(call)
        backend_set = _set(balancer, call)
        used = {one["defaultBackendSetName"] for one in balancer.body[LISTENERS].values()}
        return Reply(balancer_health.of_set(call.world, backend_set, listens=backend_set["name"] in used))

    family.service.get(
        f"{family.one}/{SETS}/{{backendSetName}}/health",
        operation="GetBackendSetHealth",
        reply=f"{family.models}.BackendSetHealth",
    )(of_set)


# what they share ------------------------------------------------------------------------------------------------


def _register(family: Family, part: Part) -> None:
    service, noun = family.service, part.noun
    one, model = f"{part.path}/{{{part.parameter}}}", f"{family.models}.{part.noun}"
    details = {kind: f"{family.models}.{kind}{noun}Details" for kind in ("Create", "Update")}
    service.post(part.path, operation=f"Create{noun}", body=details["Create"], status=family.status)(part.create)
    service.put(one, operation=f"Update{noun}", body=details["Update"], status=family.status)(part.update)
    service.delete(one, operation=f"Delete{noun}", status=family.status)(part.delete)
    if part.readable:
        listed = f"{model}Collection" if family.collections else f"list[{model}]"
        service.get(one, operation=f"Get{noun}", reply=model)(part.get)
        service.get(part.path, operation=f"List{noun}s", reply=listed)(part.list_all)


def _listed(family: Family, call: Call, items: list[Fields]) -> Reply:
    if not family.collections:
        return Reply(items)
    reply = pages.page(call, sorted(items, key=lambda one: str(one["name"])), id_key="name")
    reply.body = {"items": reply.body}
    return reply


def _part(parts: dict[str, Fields], name: str, words: str) -> Fields:
    if name not in parts:
        raise errors.not_found(f"The {words} {name} does not exist")
    return parts[name]


def _check_part_name(name: Any) -> None:
    if not 1 <= len(name) <= 255 or any(not (one.isalnum() or one in "-_.") for one in name):
        raise errors.invalid_parameter(f"name {name!r} may hold letters, digits, hyphens, underscores and periods only")
