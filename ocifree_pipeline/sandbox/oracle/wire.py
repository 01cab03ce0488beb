"""The service frame: from an HTTP request to a plain function and back.

An operation is a function in a module of this package; modules are found by themselves, nothing else is edited:

    from ocifree_pipeline.sandbox.oracle import errors, pages
    from ocifree_pipeline.sandbox.oracle.wire import Call, Reply, Service

    service = Service("iaas")                      # a name of HOSTS; several modules may share one service

    @service.post("/vcns", operation="CreateVcn", body="oci.core.models.CreateVcnDetails", reply="oci.core.models.Vcn")
    def create_vcn(call: Call) -> Reply:
        call.compartment(call.body["compartmentId"])                    # 404 unless it is there
        if not call.body.get("cidrBlocks"):
            raise errors.missing_parameter("cidrBlocks")                # refuse first, change the world last
        vcn = call.world.add("vcn", call.body | {"lifecycleState": "PROVISIONING"}, region=call.region)
        call.world.later_state(2, vcn, "AVAILABLE")                     # seconds of the virtual clock
        return Reply.of(vcn)                                            # body and etag

    @service.get("/vcns/{vcnId}", operation="GetVcn", reply="oci.core.models.Vcn")
    def get_vcn(call: Call) -> Reply:
        return Reply.of(call.find("vcn", call.path["vcnId"]))           # call.edit() instead also checks if-match

    @service.get("/vcns", operation="ListVcns", reply="list[oci.core.models.Vcn]")
    def list_vcns(call: Call) -> Reply:
        return pages.listing(call, "vcn", filters=("displayName", "lifecycleState"))

The frame does the rest, in this order: service by Host (by path on a bare loopback port), fault, signature, region,
gates (throttle, ban), route, body against the model of the SDK, retry token, the function, token kept, fault after
the commit, etag and opc-request-id, record. A function is called with nothing else running, so that a world is never
seen half changed; it raises ``errors.*`` before it changes anything. ``reply`` is checked in tests only.

Long jobs come from ``work_requests.start``; other waiting changes are ``world.transition`` functions. A function under
``@gate`` may refuse any verified call. An OCID in the path or the query is looked up with ``call.find`` (404), one in
the body with ``call.related`` (400). Nothing that is not registered is played: it answers 501 and says so.

``body="oci.core.models.X?"``: the client may leave the body out, then it is ``{}``.
``body="stream"``: the function is ``async`` and reads ``call.stream``; its bytes need no signed hash. ``signed=False``
opens an operation to everybody (pre-authenticated requests). ``{name*}`` at the end of a path takes slashes too.
"""

import inspect
import pkgutil
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any
from urllib.parse import unquote

from ocifree_pipeline.sandbox.door.http import Body
from ocifree_pipeline.sandbox.oracle import errors
from ocifree_pipeline.sandbox.oracle.signatures import Principal
from ocifree_pipeline.sandbox.world import Resource, World

HOSTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "iaas": ("/20160918", ("iaas.{region}.oraclecloud.com", "iaas.{region}.ds.oci.oraclecloud.com")),
    "identity": ("/20160918", ("identity.{region}.oci.oraclecloud.com", "identity.{region}.oraclecloud.com")),
    "loadbalancer": ("/20170115", ("iaas.{region}.oraclecloud.com",)),
    "networkloadbalancer": ("/20200501", ("network-load-balancer-api.{region}.oci.oraclecloud.com",)),
    "budget": ("/20190111", ("usage.{region}.oci.oraclecloud.com",)),
    "usageapi": ("/20200107", ("usageapi.{region}.oci.oraclecloud.com",)),
    "monitoring": ("/20180401", ("telemetry.{region}.oraclecloud.com",)),
    "dns": ("/20180115", ("dns.{region}.oci.oraclecloud.com",)),
    "limits": ("", ("limits.{region}.oci.oraclecloud.com",)),
    "objectstorage": (
        "",
        (
            "objectstorage.{region}.oraclecloud.com",
            "objectstorage.{region}.ds.oci.oraclecloud.com",
            "{namespace}.objectstorage.{region}.oci.customer-oci.com",
        ),
    ),
}
"""Service name -> base path and the hosts that Oracle's SDKs build. On a bare port the order decides who is asked."""


class Query:
    """The query of a request; a name may come several times."""

    def __init__(self, values: Mapping[str, list[str]]) -> None:
        self._values = values

    def get(self, name: str) -> str | None:
        values = self._values.get(name)
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        return list(self._values.get(name, ()))

    def need(self, name: str) -> str:
        value = self.get(name)
        if not value:
            raise errors.missing_parameter(name)
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.get(name)
        if value is None:
            return default
        if value.lower() not in {"true", "false"}:
            raise errors.invalid_parameter(f"{name} must be true or false, not {value!r}")
        return value.lower() == "true"

    def number(self, name: str, default: int, low: int, high: int) -> int:
        value = self.get(name)
        if value is None:
            return default
        if not re.fullmatch(r"-?[0-9]{1,9}", value) or not low <= int(value) <= high:
            raise errors.invalid_parameter(f"{name} must be an integer from {low} to {high}, not {value!r}")
        return int(value)

    def items(self) -> Iterable[tuple[str, list[str]]]:
        return self._values.items()


@dataclass(slots=True)
class Call:
    """One request on its way to an operation."""

    world: World
    service: str
    operation: str
    method: str
    path: dict[str, str]
    query: Query
    headers: Mapping[str, str]
    body: Any
    stream: Body
    principal: Principal
    region: str
    request_id: str

    def find(self, kind: str, ocid: str) -> Resource:
        """The resource in this region, or 404 NotAuthorizedOrNotFound."""
        resource = self.world.get(kind, ocid)
        if resource is None or resource.region not in {"", self.region}:
            raise errors.not_found()
        return resource

    def edit(self, kind: str, ocid: str) -> Resource:
        """``find`` for an operation that changes or deletes: 412 when the client's if-match is stale."""
        resource = self.find(kind, ocid)
        wanted = self.headers.get("if-match")
        if wanted not in {None, "*", resource.etag}:
            raise errors.no_etag_match(resource.etag)
        return resource

    def related(self, kind: str, ocid: str) -> Resource:
        """A resource that the body refers to, or 400 RelatedResourceNotAuthorizedOrNotFound; gone counts as absent."""
        resource = self.world.get(kind, ocid)
        if resource is None or resource.gone or resource.region not in {"", self.region}:
            raise errors.related_not_found()
        return resource

    def compartment(self, ocid: str) -> Resource:
        """An active compartment (the tenancy is one), or 404 NotAuthorizedOrNotFound."""
        resource = self.world.get("compartment", ocid)
        if resource is None or resource.state != "ACTIVE":
            raise errors.not_found()
        return resource

    def home_region_only(self) -> None:
        """Identity, budgets and quotas are changed in the home region only."""
        if self.region != self.world.home_region:
            home = self.world.home_region
            raise errors.not_allowed(
                f"Please go to your home region {home} to execute CREATE, UPDATE and DELETE operations."
            )


@dataclass(slots=True)
class Reply:
    """What an operation answers. Status 0 means the one that was registered."""

    body: Any = None
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    stream: AsyncIterator[bytes] | None = None
    length: int | None = None

    @classmethod
    def of(cls, resource: Resource, **headers: str) -> "Reply":
        """A resource as clients see it, with its etag. ``opc_work_request_id=...`` becomes that header."""
        return cls(
            resource.body, headers={"etag": resource.etag} | {k.replace("_", "-"): v for k, v in headers.items()}
        )


Function = Callable[[Call], Reply] | Callable[[Call], Awaitable[Reply]]
Gate = Callable[[Call], None]


@dataclass(frozen=True, slots=True)
class Operation:
    service: str
    name: str
    method: str
    template: str
    pattern: re.Pattern[str]
    function: Function
    body: str | None
    body_optional: bool
    reply: str | None
    status: int
    signed: bool
    mutating: bool
    is_async: bool

    @property
    def streams(self) -> bool:
        return self.body == "stream"


OPERATIONS: dict[str, list[Operation]] = {}
GATES: list[Gate] = []


def gate(function: Gate) -> Gate:
    """Register a function that may refuse any verified call (throttling, bans) by raising an OracleError."""
    GATES.append(function)
    return function


class Service:
    """The register of one module's operations. The name must be one of HOSTS."""

    def __init__(self, name: str, register: dict[str, list[Operation]] = OPERATIONS) -> None:
        if name not in HOSTS:
            raise ValueError(f"no hosts are known for service {name!r}; add it to HOSTS")
        self.name = name
        self._operations = register.setdefault(name, [])

    def get(self, path: str, **options: Any) -> Callable[[Function], Function]:
        return self._register("GET", path, **options)

    def head(self, path: str, **options: Any) -> Callable[[Function], Function]:
        return self._register("HEAD", path, **options)

    def post(self, path: str, **options: Any) -> Callable[[Function], Function]:
        return self._register("POST", path, **options)

    def put(self, path: str, **options: Any) -> Callable[[Function], Function]:
        return self._register("PUT", path, **options)

    def patch(self, path: str, **options: Any) -> Callable[[Function], Function]:
        return self._register("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> Callable[[Function], Function]:
        return self._register("DELETE", path, **options)

    def _register(
        self,
        method: str,
        path: str,
        *,
        operation: str,
        body: str | None = None,
        reply: str | None = None,
        status: int | None = None,
        signed: bool = True,
        mutating: bool | None = None,
    ) -> Callable[[Function], Function]:
        def register(function: Function) -> Function:
            if any((one.method, one.template) == (method, path) for one in self._operations):
                raise ValueError(f"{self.name} has two operations for {method} {path}; remove one")
            self._operations.append(
                Operation(
                    service=self.name,
                    name=operation,
                    method=method,
                    template=path,
                    pattern=_pattern(HOSTS[self.name][0] + path),
                    function=function,
                    body=body.removesuffix("?") if body else None,
                    body_optional=body is not None and body.endswith("?"),
                    reply=reply,
                    status=status or (204 if method == "DELETE" else 200),
                    signed=signed,
                    mutating=method not in {"GET", "HEAD"} if mutating is None else mutating,
                    is_async=inspect.iscoroutinefunction(function),
                )
            )
            return function

        return register


def _pattern(template: str) -> re.Pattern[str]:
    def group(match: re.Match[str]) -> str:
        return f"(?P<{match[1]}>{'.+' if match[2] else '[^/]+'})"

    return re.compile(re.sub(r"\\\{(\w+)(\\\*)?\\\}", group, re.escape(template)) + "/?")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a request goes: which services answer at its host, and in which region."""

    services: tuple[str, ...]
    region: str


@dataclass(frozen=True, slots=True)
class Route:
    operation: Operation
    parameters: dict[str, str]


class Router:
    """Finds the operation of a request. Made after all service modules are imported."""

    def __init__(self, register: dict[str, list[Operation]] = OPERATIONS) -> None:
        self._hosts = [(_host_pattern(host), name) for name, (_, hosts) in HOSTS.items() for host in hosts]
        self._by_shape: dict[tuple[str, str, int], list[Operation]] = {}
        self._tails: dict[tuple[str, str], list[Operation]] = {}
        for name, operations in register.items():
            for one in sorted(operations, key=lambda operation: operation.template.count("{")):
                if one.template.endswith("*}"):
                    self._tails.setdefault((name, one.method), []).append(one)
                else:
                    self._by_shape.setdefault((name, one.method, _depth(HOSTS[name][0] + one.template)), []).append(one)

    def destination(self, host: str, home_region: str) -> Destination | None:
        """Who answers at ``host``; None when the sandbox does not play that host. Loopback answers for all."""
        name = host.rsplit(":", 1)[0].lower().rstrip(".") if not host.startswith("[") else host
        if name in {"127.0.0.1", "localhost"}:
            return Destination(tuple(HOSTS), home_region)
        found = [(match["region"], service) for pattern, service in self._hosts if (match := pattern.fullmatch(name))]
        return Destination(tuple(service for _, service in found), found[0][0]) if found else None

    def route(self, destination: Destination, method: str, path: str) -> Route | None:
        for service in destination.services:
            shaped = self._by_shape.get((service, method, _depth(path)), ())
            for operation in (*shaped, *self._tails.get((service, method), ())):
                if match := operation.pattern.fullmatch(path):
                    return Route(operation, {name: unquote(value) for name, value in match.groupdict().items()})
        return None

    def other_methods(self, destination: Destination, path: str) -> bool:
        methods = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
        return any(self.route(destination, method, path) for method in methods)


def _depth(path: str) -> int:
    return path.rstrip("/").count("/")


def _host_pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[a-z0-9-]+)", re.escape(template)))


@cache
def load_services() -> Router:
    """Import every module of this package, so that its operations and transitions are known."""
    package = import_module("ocifree_pipeline.sandbox.oracle")
    for module in pkgutil.iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")
    return Router()
