"""The table of methods: path, parameters, who may call it, where it runs; and the one way to call them.

    @method("GET", "/nodes/{node}/qemu", may=needs("/vms", "VM.Audit"))
    def _list(call: Call) -> Any: ...

The HTTP server and the commands (``pvesh``, ``qm``, ...) come through ``invoke``. A path with ``{node}`` runs on that
node: others forward the call to it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any

from ocifree_pipeline.sandbox import instruments
from ocifree_pipeline.sandbox.proxmox import access, nodes, quorum
from ocifree_pipeline.sandbox.proxmox.access import Caller
from ocifree_pipeline.sandbox.proxmox.errors import ApiError, died
from ocifree_pipeline.sandbox.proxmox.nodes import Node
from ocifree_pipeline.sandbox.proxmox.schema import Parameter, Values, form, text, validate
from ocifree_pipeline.sandbox.world import World

BUILT_IN = "ocifree_pipeline.sandbox.proxmox.api"
MODULES: list[str] = [
    f"{BUILT_IN}.cluster",
    f"{BUILT_IN}.config",
    f"{BUILT_IN}.nodes",
    f"{BUILT_IN}.tasks",
    f"{BUILT_IN}.access",
    f"{BUILT_IN}.storage",
    f"{BUILT_IN}.downloads",
    f"{BUILT_IN}.network",
    f"{BUILT_IN}.sdn",
    f"{BUILT_IN}.pools",
    f"{BUILT_IN}.qemu",
    f"{BUILT_IN}.qemu_power",
    f"{BUILT_IN}.qemu_copies",
    f"{BUILT_IN}.lxc",
    f"{BUILT_IN}.ha",
    "ocifree_pipeline.sandbox.ceph.api",
    "ocifree_pipeline.sandbox.ceph.api_storage",
]
"""Modules that put methods into the table when they are imported."""

KNOWN_PLACES: Mapping[str, Parameter] = {
    "node": form("pve-node", required=True),
    "vmid": form("pve-vmid", required=True),
    "storage": form("pve-storage-id", required=True),
}


@dataclass(frozen=True, slots=True)
class Call:
    """``node`` is where the method runs; ``values`` are the parameters, those of the path included."""

    node: Node
    caller: Caller
    values: Values

    @property
    def world(self) -> World:
        return self.node.world

    @property
    def store(self) -> dict[str, Any]:
        return self.node.store

    def get(self, name: str, default: Any = None) -> Any:
        return self.values.get(name, default)

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list, and how long the whole is."""

    rows: list[Any]
    total: int


May = Callable[[Call], None]
Function = Callable[[Call], Any]


@dataclass(frozen=True, slots=True)
class Method:
    verb: str
    path: str
    parameters: Mapping[str, Parameter]
    function: Function
    may: May
    tokens: bool = True
    public: bool = False
    writes: bool = False
    pattern: re.Pattern[str] = field(default=re.compile(""), repr=False)

    @property
    def name(self) -> str:
        return f"{self.verb} {self.path}"

    @property
    def on_node(self) -> bool:
        return "{node}" in self.path and not self.path.startswith(("/cluster/", "/access/"))


TABLE: list[Method] = []


def everybody(_call: Call) -> None:
    """Whoever is logged in."""


def root_only(call: Call) -> None:
    access.require_root(call.caller)


def needs(path: str, *privileges: str, some: bool = False) -> May:
    def may(call: Call) -> None:
        where = re.sub(r"\{(\w+)\}", lambda match: str(call.values[match[1]]), path)
        access.require(call.node, call.caller, where, privileges, some=some)

    return may


def method(
    verb: str,
    path: str,
    parameters: Mapping[str, Parameter] | None = None,
    *,
    may: May = root_only,
    tokens: bool = True,
    public: bool = False,
    writes: bool = False,
) -> Callable[[Function], Function]:
    """``writes``: it changes /etc/pve, so it needs quorum."""

    def register(function: Function) -> Function:
        places = re.findall(r"\{(\w+)\}", path)
        pattern = re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path)))
        known = {one: KNOWN_PLACES.get(one, text(required=True)) for one in places} | dict(parameters or {})
        TABLE.append(Method(verb, path, known, function, may, tokens, public, writes, pattern))
        return function

    return register


@cache
def load() -> tuple[Method, ...]:
    """The whole table."""
    for module in MODULES:
        import_module(module)
    return tuple(TABLE)


def find(verb: str, path: str) -> tuple[Method, dict[str, str]]:
    bare = "/" + path.strip("/")
    for one in load():
        if one.verb == verb and (match := one.pattern.fullmatch(bare)) is not None:
            return one, match.groupdict()
    raise ApiError(501, f"Method '{verb} {bare}' not implemented")


def invoke(node: Node, caller: Caller, verb: str, path: str, given: Mapping[str, str | list[str]] | None = None) -> Any:
    """Call a method as ``node`` got the call. ApiError says what is wrong."""
    one, places = find(verb, path)
    if caller.token and not one.tokens:
        raise ApiError(403, "Permission check failed (API tokens are not allowed for this call)")
    values = validate(one.parameters, {**(given or {}), **places})
    target = _target(node, values["node"]) if one.on_node else node
    call = Call(target, caller, values)
    one.may(call)
    if one.writes:
        quorum.require(target)
    if one.writes:
        _take_lock(node, path)
    rule = instruments.strikes(node.world, "pve", f"{verb} /{path.strip('/')}")
    if rule is not None and rule.moment in {"before", "drop"}:
        raise ApiError(rule.status, rule.message)
    answer = one.function(call)
    if rule is not None and rule.moment in {"after", "reset", "truncate"}:
        raise ApiError(rule.status, rule.message)
    return answer


def _take_lock(node: Node, path: str) -> None:
    """A fault of the service ``pvelock`` says that somebody else holds the lock; its operation is the lock's name."""
    place = path.strip("/").split("/")
    name = f"file-{place[-1]}" if place[0] != "nodes" else f"lock-{place[3] if len(place) > 3 else place[2]}"
    if instruments.strikes(node.world, "pvelock", name) is not None:
        cluster_wide = place[0] != "nodes"
        lock = f"cfs-lock '{name}' error: got lock request timeout"
        raise died(lock if cluster_wide else f"can't lock file '/var/lock/qemu-server/{name}.conf' - got timeout")


def _target(node: Node, name: str) -> Node:
    if name in {node.name, "localhost"}:
        return node
    other = nodes.named(node, name)
    if other is None or (node.cluster is not None and name not in node.cluster["nodes"]):
        raise nodes.gone(name)
    if not nodes.are_linked(node, other) or other.own["proxyDown"]:
        raise ApiError(595, "No route to host" if not other.is_up else "Connection refused")
    return other


def not_played(what: str) -> ApiError:
    return ApiError(501, f"{what} is not played by the Proxmox of this sandbox")


def need(thing: Any, message: str) -> Any:
    """The thing, or an ordinary failure when it is not there."""
    if thing is None:
        raise died(message)
    return thing
