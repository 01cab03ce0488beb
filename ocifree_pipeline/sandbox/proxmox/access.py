"""Who asks, and what they may: tickets, tokens, users, roles and the paths that they are given on."""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.sandbox.machines.programs.accounts import password_is
from ocifree_pipeline.sandbox.proxmox.errors import ApiError, forbidden
from ocifree_pipeline.sandbox.proxmox.nodes import Node
from ocifree_pipeline.sandbox.proxmox.privileges import ROLES

ROOT = "root@pam"
TICKET_SECONDS = 7200
CLOCK_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Caller:
    """``token`` is the name of the token that was used, if any."""

    user: str
    token: str = ""

    @property
    def name(self) -> str:
        return f"{self.user}!{self.token}" if self.token else self.user

    @property
    def is_root(self) -> bool:
        """A token of root is not root."""
        return self.user == ROOT and not self.token


# tickets --------------------------------------------------------------------------------------------------------------


def _sign(store: dict[str, Any], text: str) -> str:
    digest = hmac.digest(str(store["secret"]).encode(), text.encode(), "sha256")
    return b64encode(digest * 2).decode().rstrip("=")


def new_ticket(node: Node, user: str) -> dict[str, Any]:
    stamp = f"{node.now:08X}"
    plain = f"PVE:{user}:{stamp}"
    return {
        "username": user,
        "ticket": f"{plain}::{_sign(node.store, plain)}",
        "CSRFPreventionToken": f"{stamp}:{_sign(node.store, f'csrf:{stamp}:{user}')}",
        "clustername": (node.cluster or {}).get("name", ""),
        "cap": {"access": {}, "dc": {}, "nodes": {}, "storage": {}, "vms": {}, "sdn": {}, "mapping": {}},
    }


def user_of_ticket(node: Node, ticket: str) -> str | None:
    plain, _, signature = ticket.partition("::")
    pieces = plain.split(":")
    if len(pieces) != 3 or pieces[0] != "PVE" or not hmac.compare_digest(signature, _sign(node.store, plain)):
        return None
    age = node.now - int(pieces[2], 16)
    return pieces[1] if -CLOCK_SECONDS <= age <= TICKET_SECONDS and is_enabled(node, pieces[1]) else None


def is_csrf_token(node: Node, user: str, token: str) -> bool:
    stamp, _, signature = token.partition(":")
    return hmac.compare_digest(signature, _sign(node.store, f"csrf:{stamp}:{user}"))


def user_of_token(node: Node, text: str) -> Caller | None:
    """``USER@REALM!NAME=SECRET``."""
    full, _, secret = text.partition("=")
    user, _, name = full.partition("!")
    kept = node.store["tokens"].get(full)
    if kept is None or not is_enabled(node, user):
        return None
    if not hmac.compare_digest(str(kept["hash"]), digest(secret)):
        return None
    expire = int(kept.get("expire", 0))
    return Caller(user, name) if not expire or expire > node.now else None


def digest(secret: str) -> str:
    return hashlib.sha256(f"pve:{secret}".encode()).hexdigest()


def is_enabled(node: Node, user: str) -> bool:
    kept = node.store["users"].get(user)
    return kept is not None and bool(int(kept.get("enable", 1)))


def check_password(node: Node, user: str, password: str) -> bool:
    """A ticket is as good as the password that it was given for."""
    if password.startswith("PVE:"):
        return user_of_ticket(node, password) == user
    name, _, realm = user.rpartition("@")
    if not is_enabled(node, user):
        return False
    if realm == "pam":
        return password_is(node.machine, name, password)
    kept = node.store["users"][user].get("password", "")
    return realm == "pve" and bool(kept) and hmac.compare_digest(str(kept), digest(password))


# rights ---------------------------------------------------------------------------------------------------------------


def role_privileges(node: Node, role: str) -> frozenset[str]:
    if role in ROLES:
        return ROLES[role]
    return frozenset(node.store["roles"].get(role, ()))


def privileges(node: Node, caller: Caller, path: str) -> frozenset[str]:
    """What a caller may at a path. A token with separated privileges has what both it and its user have."""
    from ocifree_pipeline.sandbox.proxmox.privileges import PRIVILEGES

    paths = [path, *_pools_of(node, path)]

    def granted(kind: str, who: str) -> frozenset[str]:
        return frozenset().union(*(_granted(node, kind, who, one) for one in paths))

    of_user = PRIVILEGES if caller.user == ROOT else granted("user", caller.user)
    if not caller.token:
        return of_user
    kept = node.store["tokens"][caller.name]
    if not int(kept.get("privsep", 1)):
        return of_user
    return of_user & granted("token", caller.name)


def _pools_of(node: Node, path: str) -> list[str]:
    """What somebody may in a pool, he may with the guests and storages in it."""
    _, kind, *rest = f"{path}/".split("/")
    if kind == "vms":
        name = node.store["guests"].get(rest[0], {}).get("pool")
        return [f"/pool/{name}"] if name else []
    pools = node.store.get("pools", {}) if kind == "storage" else {}
    return [f"/pool/{name}" for name, one in pools.items() if rest[0] in one["storage"]]


def _granted(node: Node, kind: str, who: str, path: str) -> frozenset[str]:
    """The nearest path that says something about somebody decides."""
    groups = node.store["users"].get(who, {}).get("groups", []) if kind == "user" else []
    at = path
    while True:
        for subjects in ([(kind, who)], [("group", group) for group in groups]):
            rows = [
                row
                for row in node.store["acl"]
                if row["path"] == at and (row["type"], row["ugid"]) in subjects and (row["propagate"] or at == path)
            ]
            if rows:
                return frozenset().union(*(role_privileges(node, row["roleid"]) for row in rows))
        if at == "/":
            return frozenset()
        at = at.rpartition("/")[0] or "/"


def require(node: Node, caller: Caller, path: str, wanted: Iterable[str], *, some: bool = False) -> None:
    """All of the privileges, or one of them with ``some``."""
    if caller.is_root:
        return
    has = privileges(node, caller, path)
    listed = list(wanted)
    fits = any(one in has for one in listed) if some else all(one in has for one in listed)
    if not fits:
        missing = [one for one in listed if one not in has]
        raise forbidden(f"{path}, {'|'.join(listed) if some else ', '.join(missing)}")


def require_root(caller: Caller, doing: str = "") -> None:
    if not caller.is_root:
        raise forbidden("user != root@pam" if not doing else f"{doing} is only allowed for root@pam")


def unauthorized(message: str) -> ApiError:
    return ApiError(401, message)
