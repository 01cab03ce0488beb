"""The hand that moves the sandbox: a JSON API under ``/_sandbox/`` on the plain door, never through the proxy.

Every request carries the token of ``ready.json``, which only the owner of the directory can read: without it another
user of the machine, or a web page in a browser, could reset the world or have files written.

    GET    /_sandbox/status                    POST  /_sandbox/reset      {"profile": {...}, "seed": 7}
    GET    /_sandbox/clock                     POST  /_sandbox/clock      {"advance": 60} or {"mode": "manual"}
    GET    /_sandbox/faults                    POST  /_sandbox/faults     {"operation": "LaunchInstance", ...}
    DELETE /_sandbox/faults, /_sandbox/faults/3
    GET    /_sandbox/records?operation=&limit= GET   /_sandbox/records/count?...    DELETE /_sandbox/records
    POST   /_sandbox/snapshot  {"path": ...}   POST  /_sandbox/restore    {"path": ...}
    GET    /_sandbox/capacity                  PUT   /_sandbox/capacity   {"process": "trace", "windows": [...]}
    GET    /_sandbox/outbox                    PUT   /_sandbox/limits     {"name": ..., "amount": 4 or null, "ad": ...}
    PUT    /_sandbox/ban {"answer": 401}       PUT   /_sandbox/load       {"instance": ..., "cpu": 3, ...} in percent
    DELETE /_sandbox/ban                       POST  /_sandbox/stop
    GET    /_sandbox/notifications
    GET    /_sandbox/links                     PUT   /_sandbox/links      {"between": [ip, ip], "cut": true, ...}
    GET    /_sandbox/machines                  PUT   /_sandbox/machines   {"machine": ip, "power": "off", ...}
    GET    /_sandbox/packages                  PUT   /_sandbox/packages   {"pve-manager": "9.2.12"}
    GET    /_sandbox/grafana                   PUT   /_sandbox/grafana    {"stack": ..., "users": {...}, "limits": ...}
"""

import hmac
import inspect
import json
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from ocifree_pipeline.sandbox import capacity, idle, outbox, snapshot
from ocifree_pipeline.sandbox.clock import stamp
from ocifree_pipeline.sandbox.door.http import Request, Response, error_response
from ocifree_pipeline.sandbox.faults import Rule
from ocifree_pipeline.sandbox.grafana import stack as grafana_stack
from ocifree_pipeline.sandbox.machines import hand, packages, tampering
from ocifree_pipeline.sandbox.notify_hooks import services
from ocifree_pipeline.sandbox.oracle import limit_catalogue, limits, patience
from ocifree_pipeline.sandbox.recorder import Entry

if TYPE_CHECKING:
    from ocifree_pipeline.sandbox.door.server import Sandbox

PREFIX = "/_sandbox/"
MAX_BODY = 8 * 1024 * 1024
CONVERT: dict[Any, Callable[[str], Any]] = {
    str: str,
    int: int,
    bool: lambda text: {"true": True, "false": False}[text.lower()],
}
RULE_FIELDS = {one.name: one for one in fields(Rule) if one.name not in {"number", "fired"}}
RULE_TYPES = {
    "probability": (int, float),
    "delay": (int, float),
    "status": int,
    "times": (int, type(None)),
    "headers": dict,
}

logger = logging.getLogger(__name__)


class Wrong(Exception):
    """The request cannot be done as it stands."""

    def __init__(self, message: str, status: int = 400, code: str = "InvalidParameter") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class Asked:
    """A control request, taken apart."""

    query: dict[str, str]
    body: dict[str, Any]
    tail: str = ""

    def text(self, name: str) -> str:
        value = self.body.get(name)
        if not isinstance(value, str) or not value:
            raise Wrong(f"{name} is required and must be a text")
        return value

    def path(self) -> Path:
        path = Path(self.text("path"))
        if not path.is_absolute():
            raise Wrong(f"path {str(path)!r} must be absolute: the sandbox works in a directory of its own")
        return path

    def only(self, *names: str) -> None:
        """Refuse fields that would otherwise be ignored in silence."""
        if unknown := self.body.keys() - set(names):
            raise Wrong(f"unknown field {', '.join(sorted(unknown))}; known are {', '.join(names)}")


@dataclass(slots=True)
class Control:
    sandbox: "Sandbox"
    token: str
    stop: Callable[[], None]

    async def handle(self, request: Request) -> Response:
        try:
            given = request.headers.get("authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {self.token}".encode()):
                raise Wrong("send the token of ready.json as: Authorization: Bearer <token>", 401, "NotAuthenticated")
            act, tail = self._find(request)
            asked = Asked(
                {name: values[0] for name, values in request.query.items()}, await _body(request), unquote(tail)
            )
            self.sandbox.world.settle()
            outcome = act(asked)
            return _json(200, await outcome if inspect.isawaitable(outcome) else outcome)
        except Wrong as error:
            return error_response(error.status, error.code, str(error))
        except (ValueError, snapshot.SnapshotError) as error:
            return error_response(400, "InvalidParameter", str(error))
        except OSError as error:
            return error_response(400, "CannotUseFile", f"{error.filename}: {error.strerror}")
        except Exception:
            logger.exception("%s %s failed inside the sandbox", request.method, request.path)
            return error_response(500, "InternalError", "The sandbox failed; its log says where.")

    def _find(self, request: Request) -> tuple[Callable[[Asked], Any], str]:
        path = request.path.removeprefix(PREFIX).rstrip("/")
        act = self._table().get((request.method, path))
        if act is not None:
            return act, ""
        start, _, tail = path.partition("/")
        act = self._table().get((request.method, start + "/*"))
        if act is not None and tail:
            return act, tail
        known = ", ".join(f"{method} {PREFIX}{name}" for method, name in self._table())
        raise Wrong(f"there is no {request.method} {request.path}; there is {known}", 404, "NotFound")

    def _table(self) -> dict[tuple[str, str], Callable[[Asked], Any]]:
        return {
            ("GET", "status"): self._status,
            ("POST", "reset"): self._reset,
            ("POST", "stop"): self._stop,
            ("GET", "clock"): self._clock,
            ("POST", "clock"): self._move_clock,
            ("GET", "faults"): self._faults,
            ("POST", "faults"): self._add_fault,
            ("DELETE", "faults"): self._clear_faults,
            ("DELETE", "faults/*"): self._remove_fault,
            ("GET", "records"): self._records,
            ("GET", "records/count"): self._count,
            ("DELETE", "records"): self._clear_records,
            ("POST", "snapshot"): self._snapshot,
            ("POST", "restore"): self._restore,
            ("GET", "capacity"): self._capacity,
            ("PUT", "capacity"): self._set_capacity,
            ("PUT", "limits"): self._set_limit,
            ("PUT", "ban"): self._ban,
            ("DELETE", "ban"): self._pardon,
            ("PUT", "load"): self._load,
            ("GET", "outbox"): self._outbox,
            ("GET", "notifications"): self._notifications,
            ("GET", "links"): self._links,
            ("PUT", "links"): self._set_link,
            ("GET", "packages"): self._packages,
            ("PUT", "packages"): self._offer,
            ("GET", "machines"): self._machines,
            ("PUT", "machines"): self._set_machine,
            ("GET", "grafana"): self._grafana,
            ("PUT", "grafana"): self._set_grafana,
        }

    # the whole ------------------------------------------------------------------------------------------------------

    def _status(self, asked: Asked) -> Any:
        sandbox, world = self.sandbox, self.sandbox.world
        present = Counter(kind for kind, table in world.tables.items() for one in table.values() if not one.gone)
        return {
            "directory": str(sandbox.home.directory) if sandbox.home else None,
            "plainPort": sandbox.port,
            "proxyPort": sandbox.proxy_port,
            "tenancy": world.tenancy,
            "region": world.home_region,
            "account": world.profile.get("account"),
            "a1": {
                "ocpus": world.profile.get("a1Ocpus"),
                "memoryGb": world.profile.get("a1MemoryGb"),
                "freeOcpuHours": world.profile.get("freeOcpuHours"),
                "freeMemoryGbHours": world.profile.get("freeMemoryGbHours"),
            },
            "seed": world.seed,
            "clock": self._clock(asked),
            "resources": dict(sorted(present.items())),
            "requests": sandbox.recorder.total,
            "faults": len(sandbox.faults.rules),
            "faultsFired": len(sandbox.faults.fired),
            "idleSeconds": round(sandbox.idle_seconds(), 1),
        }

    async def _reset(self, asked: Asked) -> Any:
        asked.only("profile", "seed")
        profile, seed = asked.body.get("profile", {}), asked.body.get("seed")
        if not isinstance(profile, dict):
            raise Wrong("profile must be an object")
        if seed is not None and type(seed) is not int:
            raise Wrong(f"seed must be an integer, not {seed!r}")
        await self.sandbox.reset(profile, seed)
        return self._status(asked)

    def _stop(self, asked: Asked) -> Any:
        self.stop()
        return {"stopping": True}

    def _snapshot(self, asked: Asked) -> Any:
        asked.only("path")
        path = asked.path()
        snapshot.save(self.sandbox.world, path)
        return {"path": str(path), "bytes": path.stat().st_size}

    async def _restore(self, asked: Asked) -> Any:
        asked.only("path")
        await self.sandbox.restore(asked.path())
        return self._status(asked)

    # time -----------------------------------------------------------------------------------------------------------

    def _clock(self, asked: Asked) -> Any:
        clock = self.sandbox.world.clock
        return {
            "now": clock.stamp(),
            "mode": clock.mode,
            "rate": clock.rate,
            "skewSeconds": clock.skew_seconds,
            "pending": [{"due": stamp(step.due), "transition": step.transition} for step in clock.pending()[:100]],
        }

    def _move_clock(self, asked: Asked) -> Any:
        asked.only("advance", "mode", "rate", "skewSeconds")
        clock = self.sandbox.world.clock
        numbers = {name: asked.body[name] for name in ("advance", "rate", "skewSeconds") if name in asked.body}
        for name, value in numbers.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise Wrong(f"{name} must be a number, not {value!r}")
        if "mode" in asked.body or "rate" in numbers:
            clock.set_mode(asked.body.get("mode", clock.mode), numbers.get("rate", clock.rate))
        if "skewSeconds" in numbers:
            clock.skew_seconds = float(numbers["skewSeconds"])
        if "advance" in numbers:
            clock.advance(numbers["advance"])
        self.sandbox.world.settle()
        return self._clock(asked)

    # what Oracle decides --------------------------------------------------------------------------------------------

    def _capacity(self, asked: Asked) -> Any:
        return capacity.settings(self.sandbox.world).model_dump(mode="json", by_alias=True)

    def _set_capacity(self, asked: Asked) -> Any:
        capacity.configure(self.sandbox.world, asked.body)
        return self._capacity(asked)

    def _set_limit(self, asked: Asked) -> Any:
        asked.only("name", "amount", "ad")
        name, amount, ad = asked.text("name"), asked.body.get("amount"), asked.body.get("ad", "")
        if amount is not None and (type(amount) is not int or amount < 0):
            raise Wrong(f"amount must be a whole number, or null for what the profile says, not {amount!r}")
        if name not in limit_catalogue.LIMITS:
            raise Wrong(f"there is no limit {name!r}; `oci limits definition list` shows them", 404, "NotFound")
        if not isinstance(ad, str):
            raise Wrong(f"ad must be the name of an availability domain, not {ad!r}")
        limits.override(self.sandbox.world, name, amount, ad)
        return {"name": name, "amount": amount, "ad": ad}

    def _ban(self, asked: Asked) -> Any:
        asked.only("answer")
        answer = asked.body.get("answer", 401)
        if answer not in {401, 404}:
            raise Wrong(f"a banned tenancy is answered with 401 or 404, not {answer!r}")
        patience.ban(self.sandbox.world, answer)
        return {"banned": True, "answer": answer}

    def _pardon(self, asked: Asked) -> Any:
        patience.pardon(self.sandbox.world)
        return {"banned": False}

    def _load(self, asked: Asked) -> Any:
        asked.only("instance", "cpu", "network", "memory")
        instance = self.sandbox.world.get("instance", asked.text("instance"))
        if instance is None:
            raise Wrong(f"there is no instance {asked.text('instance')}", 404, "NotFound")
        percent = {}
        for name in ("cpu", "network", "memory"):
            value = asked.body.get(name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
                raise Wrong(f"{name} must be a number from 0 to 100, not {value!r}")
            percent[name] = float(value)
        idle.load(self.sandbox.world, instance, **percent)
        return {"instance": instance.ocid} | percent

    def _outbox(self, asked: Asked) -> Any:
        return {"messages": outbox.messages(self.sandbox.world)}

    def _notifications(self, asked: Asked) -> Any:
        return {"messages": services.arrived(self.sandbox.world)}

    def _grafana(self, asked: Asked) -> Any:
        return grafana_stack.offered(self.sandbox.world)

    def _set_grafana(self, asked: Asked) -> Any:
        asked.only("stack", "users", "limits")
        grafana_stack.change(self.sandbox.world, **asked.body)
        return self._grafana(asked)

    # machines -------------------------------------------------------------------------------------------------------

    def _links(self, asked: Asked) -> Any:
        return {"cut": hand.links(self.sandbox.world)}

    def _set_link(self, asked: Asked) -> Any:
        asked.only("between", "cut", "traffic")
        between, cut, traffic = asked.body.get("between"), asked.body.get("cut", True), asked.body.get("traffic", "all")
        if not isinstance(between, list) or len(between) != 2 or not all(isinstance(one, str) for one in between):
            raise Wrong("between must be the addresses of two machines")
        if not isinstance(cut, bool):
            raise Wrong(f"cut must be true or false, not {cut!r}")
        hand.set_link(self.sandbox.world, between, cut=cut, traffic=traffic)
        return self._links(asked)

    def _packages(self, asked: Asked) -> Any:
        return {"published": packages.published(self.sandbox.world)}

    def _offer(self, asked: Asked) -> Any:
        return {"published": hand.offer(self.sandbox.world, asked.body)}

    def _machines(self, asked: Asked) -> Any:
        return {"machines": hand.machines(self.sandbox.world)}

    def _set_machine(self, asked: Asked) -> Any:
        asked.only("machine", "power", "clockSkew")
        machine = hand.named(self.sandbox.world, asked.text("machine"))
        skew = asked.body.get("clockSkew", 0)
        if isinstance(skew, bool) or not isinstance(skew, int | float):
            raise Wrong(f"clockSkew must be a number of seconds, not {skew!r}")
        if "clockSkew" in asked.body:
            tampering.set_skew(machine, float(skew))
        if "power" in asked.body:
            hand.set_power(machine, asked.text("power"))
        return self._machines(asked)

    # faults ---------------------------------------------------------------------------------------------------------

    def _faults(self, asked: Asked) -> Any:
        faults = self.sandbox.faults
        return {"rules": faults.to_json(), "fired": [asdict(one) for one in faults.fired]}

    def _add_fault(self, asked: Asked) -> Any:
        asked.only(*RULE_FIELDS)
        for name, value in asked.body.items():
            kind: Any = RULE_TYPES.get(name, str)
            if isinstance(value, bool) or not isinstance(value, kind):
                raise Wrong(f"{name} has a wrong type: {value!r}")
        return asdict(self.sandbox.faults.add(Rule(**asked.body)))

    def _clear_faults(self, asked: Asked) -> Any:
        self.sandbox.faults.clear()
        return self._faults(asked)

    def _remove_fault(self, asked: Asked) -> Any:
        if asked.tail not in {str(rule.number) for rule in self.sandbox.faults.rules}:
            raise Wrong(f"there is no fault rule {asked.tail}", 404, "NotFound")
        self.sandbox.faults.remove(int(asked.tail))
        return self._faults(asked)

    # records --------------------------------------------------------------------------------------------------------

    def _chosen(self, asked: Asked) -> list[Entry]:
        kinds = {one.name: one.type for one in fields(Entry)}
        wanted = {}
        for name, text in asked.query.items():
            if name == "limit":
                continue
            if name not in kinds:
                raise Wrong(f"records have no {name}; they have {', '.join(kinds)}")
            try:
                wanted[name] = CONVERT[kinds[name]](text)
            except (KeyError, ValueError) as error:
                raise Wrong(f"{name} cannot be {text!r}") from error
        return self.sandbox.recorder.query(**wanted)

    def _records(self, asked: Asked) -> Any:
        limit = asked.query.get("limit", "100")
        if not limit.isdigit() or int(limit) < 1:
            raise Wrong(f"limit must be a number above 0, not {limit!r}")
        chosen = self._chosen(asked)
        return {"count": len(chosen), "entries": [asdict(one) for one in chosen[-int(limit) :]]}

    def _count(self, asked: Asked) -> Any:
        chosen = self._chosen(asked)
        return {
            "count": len(chosen),
            "verified": sum(one.verified for one in chosen),
            "mutating": sum(one.mutating for one in chosen),
            "byStatus": dict(sorted(Counter(str(one.status) for one in chosen).items())),
            "byOperation": dict(Counter(one.operation or "-" for one in chosen).most_common()),
        }

    def _clear_records(self, asked: Asked) -> Any:
        self.sandbox.recorder.clear()
        return {"count": 0}


async def _body(request: Request) -> dict[str, Any]:
    content = await request.body.read(MAX_BODY)
    if len(content) > MAX_BODY:
        raise Wrong(f"the body is larger than {MAX_BODY} bytes", 413, "RequestEntityTooLarge")
    if not content:
        return {}
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Wrong(f"the body is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise Wrong("the body must be a JSON object")
    return value


def _json(status: int, value: Any) -> Response:
    return Response(status, {"content-type": "application/json"}, json.dumps(value).encode())
