"""/access: tickets, users, tokens, roles, access control lists."""

import uuid
from typing import Any

from ocifree_pipeline.sandbox.proxmox import access
from ocifree_pipeline.sandbox.proxmox.errors import ApiError, died, wrong
from ocifree_pipeline.sandbox.proxmox.methods import Call, everybody, method, needs
from ocifree_pipeline.sandbox.proxmox.privileges import PRIVILEGES, ROLES
from ocifree_pipeline.sandbox.proxmox.schema import Parameter, flag, form, one_of, text, whole

USER = form("pve-userid", required=True)
TOKEN = text(required=True, pattern=r"[A-Za-z][A-Za-z0-9.\-_]+")
USER_FIELDS: dict[str, Parameter] = {
    "comment": text(longest=2048),
    "email": text(longest=254),
    "enable": flag(),
    "expire": whole(0),
    "firstname": text(longest=1024),
    "lastname": text(longest=1024),
    "groups": text(many=True),
    "keys": text(pattern=r"[0-9a-zA-Z!=]{0,4096}"),
}
TOKEN_FIELDS: dict[str, Parameter] = {"comment": text(), "expire": whole(0), "privsep": flag()}


@method(
    "POST",
    "/access/ticket",
    {
        "username": text(required=True, longest=64),
        "password": text(required=True),
        "realm": form("pve-realm"),
        "otp": text(),
        "path": text(),
        "privs": text(),
        "new-format": flag(),
        "tfa-challenge": text(),
    },
    may=everybody,
    public=True,
    tokens=False,
)
def _ticket(call: Call) -> Any:
    user = call["username"]
    if "@" not in user:
        user = f"{user}@{call.get('realm', 'pam')}"
    if not access.check_password(call.node, user, call["password"]):
        raise access.unauthorized("authentication failure")
    return access.new_ticket(call.node, user)


@method("GET", "/access/ticket", may=everybody, public=True)
def _no_ticket(_call: Call) -> Any:
    return None


@method(
    "PUT",
    "/access/password",
    {"userid": USER, "password": text(required=True, longest=64), "confirmation-password": text()},
    may=everybody,
    tokens=False,
    writes=True,
)
def _password(call: Call) -> Any:
    user = call["userid"]
    if user != call.caller.user:
        access.require(call.node, call.caller, "/access", ["User.Modify"])
    name, _, realm = user.rpartition("@")
    if realm == "pam":
        from ocifree_pipeline.sandbox.machines.programs.accounts import hashed

        call.node.machine.guest.setdefault("passwords", {})[name] = hashed(call.node.machine, call["password"])
    else:
        _user(call, user)["password"] = access.digest(call["password"])


def _user(call: Call, user: str) -> dict[str, Any]:
    found: dict[str, Any] | None = call.store["users"].get(user)
    if found is None:
        raise died(f"no such user ('{user}')")
    return found


@method("GET", "/access/users", {"full": flag(), "enabled": flag()}, may=everybody)
def _users(call: Call) -> Any:
    rows = []
    for name, one in sorted(call.store["users"].items()):
        row = {key: value for key, value in one.items() if key not in {"password", "groups"}}
        row |= {"userid": name, "realm-type": name.rpartition("@")[2]}
        if call.get("full"):
            row["tokens"] = [_token_row(full, kept) for full, kept in _tokens_of(call, name).items()]
        rows.append(row)
    if not call.caller.is_root and "User.Modify" not in access.privileges(call.node, call.caller, "/access"):
        rows = [row for row in rows if row["userid"] == call.caller.user]
    return rows


@method(
    "POST",
    "/access/users",
    USER_FIELDS | {"userid": USER, "password": text(longest=64)},
    may=needs("/access", "User.Modify"),
    writes=True,
)
def _add_user(call: Call) -> Any:
    user = call["userid"]
    if user in call.store["users"]:
        raise died(f"create user failed: user '{user}' already exists")
    if user.rpartition("@")[2] not in {"pam", "pve"}:
        raise died(f"create user failed: domain '{user.rpartition('@')[2]}' does not exist")
    fields = {name: call[name] for name in USER_FIELDS if name in call.values}
    made = {"enable": 1, "expire": 0} | fields
    if password := call.get("password"):
        made["password"] = access.digest(password)
    call.store["users"][user] = made


@method("GET", "/access/users/{userid}", may=everybody)
def _get_user(call: Call) -> Any:
    kept = _user(call, call["userid"])
    shown = {key: value for key, value in kept.items() if key != "password"}
    tokens = {full.partition("!")[2]: _token_row(full, one) for full, one in _tokens_of(call, call["userid"]).items()}
    return shown | ({"tokens": tokens} if tokens else {})


@method(
    "PUT", "/access/users/{userid}", USER_FIELDS | {"append": flag()}, may=needs("/access", "User.Modify"), writes=True
)
def _change_user(call: Call) -> Any:
    _user(call, call["userid"]).update({name: call[name] for name in USER_FIELDS if name in call.values})


@method("DELETE", "/access/users/{userid}", may=needs("/access", "User.Modify"), writes=True)
def _delete_user(call: Call) -> Any:
    user = call["userid"]
    _user(call, user)
    del call.store["users"][user]
    for full in _tokens_of(call, user):
        del call.store["tokens"][full]
    call.store["acl"][:] = [row for row in call.store["acl"] if row["ugid"].partition("!")[0] != user]


# tokens ---------------------------------------------------------------------------------------------------------------


def _tokens_of(call: Call, user: str) -> dict[str, dict[str, Any]]:
    return {full: one for full, one in call.store["tokens"].items() if full.partition("!")[0] == user}


def _token_row(full: str, kept: dict[str, Any]) -> dict[str, Any]:
    shown = {name: kept[name] for name in ("comment", "expire", "privsep") if name in kept}
    return {"tokenid": full.partition("!")[2]} | shown


def _may_tokens(call: Call) -> None:
    if call["userid"] != call.caller.user:
        access.require(call.node, call.caller, "/access", ["User.Modify"])


@method("GET", "/access/users/{userid}/token", may=_may_tokens)
def _tokens(call: Call) -> Any:
    _user(call, call["userid"])
    return [_token_row(full, one) for full, one in sorted(_tokens_of(call, call["userid"]).items())]


@method("GET", "/access/users/{userid}/token/{tokenid}", may=_may_tokens)
def _get_token(call: Call) -> Any:
    shown = _token_row("", _token(call))
    del shown["tokenid"]
    return shown


def _token(call: Call) -> dict[str, Any]:
    full = f"{call['userid']}!{call['tokenid']}"
    found: dict[str, Any] | None = call.store["tokens"].get(full)
    if found is None:
        raise died(f"no such token '{call['tokenid']}' for user '{call['userid']}'")
    return found


@method(
    "POST", "/access/users/{userid}/token/{tokenid}", TOKEN_FIELDS | {"tokenid": TOKEN}, may=_may_tokens, writes=True
)
def _add_token(call: Call) -> Any:
    user, full = call["userid"], f"{call['userid']}!{call['tokenid']}"
    _user(call, user)
    if full in call.store["tokens"]:
        raise wrong(tokenid="Token already exists.")
    return _give_secret(call, full, {name: call[name] for name in TOKEN_FIELDS if name in call.values})


def _give_secret(call: Call, full: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The one time that the secret is shown."""
    secret = str(uuid.UUID(bytes=bytes(call.world.fresh("pvetoken", 16), "ascii")[:16], version=4))
    kept = {"privsep": 1, "expire": 0} | fields
    call.store["tokens"][full] = kept | {"hash": access.digest(secret)}
    return {"full-tokenid": full, "info": kept, "value": secret}


@method(
    "PUT",
    "/access/users/{userid}/token/{tokenid}",
    TOKEN_FIELDS | {"regenerate": flag()},
    may=_may_tokens,
    writes=True,
)
def _change_token(call: Call) -> Any:
    kept = _token(call)
    fields = {name: call[name] for name in TOKEN_FIELDS if name in call.values}
    if call.get("regenerate"):
        before = {name: value for name, value in kept.items() if name != "hash"}
        return _give_secret(call, f"{call['userid']}!{call['tokenid']}", before | fields)
    kept.update(fields)
    return {name: value for name, value in kept.items() if name != "hash"}


@method("DELETE", "/access/users/{userid}/token/{tokenid}", may=_may_tokens, writes=True)
def _delete_token(call: Call) -> Any:
    _token(call)
    full = f"{call['userid']}!{call['tokenid']}"
    del call.store["tokens"][full]
    call.store["acl"][:] = [row for row in call.store["acl"] if row["ugid"] != full]


# roles and lists ------------------------------------------------------------------------------------------------------


@method("GET", "/access/roles", may=everybody)
def _roles(call: Call) -> Any:
    rows = [{"roleid": name, "privs": ",".join(sorted(privs)), "special": 1} for name, privs in ROLES.items()]
    rows += [
        {"roleid": name, "privs": ",".join(sorted(privs)), "special": 0} for name, privs in call.store["roles"].items()
    ]
    return sorted(rows, key=lambda row: str(row["roleid"]))


@method("GET", "/access/roles/{roleid}", may=everybody)
def _get_role(call: Call) -> Any:
    name = call["roleid"]
    if name not in ROLES and name not in call.store["roles"]:
        raise died(f"role '{name}' does not exist")
    return dict.fromkeys(sorted(access.role_privileges(call.node, name)), 1)


def _checked(privileges: list[str]) -> list[str]:
    if unknown := [one for one in privileges if one not in PRIVILEGES]:
        raise wrong(privs=f"invalid format - invalid privilege '{unknown[0]}'\n")
    return sorted(set(privileges))


@method(
    "POST",
    "/access/roles",
    {"roleid": form("pve-roleid", required=True), "privs": text(many=True)},
    may=needs("/access", "Sys.Modify"),
    writes=True,
)
def _add_role(call: Call) -> Any:
    name = call["roleid"]
    if name in ROLES or name in call.store["roles"]:
        raise died(f"role '{name}' already exists")
    if name.upper().startswith("PVE"):
        raise wrong(roleid="cannot use role ID starting with the (case-insensitive) 'PVE' namespace")
    call.store["roles"][name] = _checked(call.get("privs", []))


@method(
    "PUT",
    "/access/roles/{roleid}",
    {"privs": text(many=True), "append": flag()},
    may=needs("/access", "Sys.Modify"),
    writes=True,
)
def _change_role(call: Call) -> Any:
    name = call["roleid"]
    if name in ROLES:
        raise died(f"auto-generated role '{name}' cannot be modified")
    if name not in call.store["roles"]:
        raise died(f"role '{name}' does not exist")
    before = call.store["roles"][name] if call.get("append") else []
    call.store["roles"][name] = _checked([*before, *call.get("privs", [])])


@method("DELETE", "/access/roles/{roleid}", may=needs("/access", "Sys.Modify"), writes=True)
def _delete_role(call: Call) -> Any:
    name = call["roleid"]
    if name not in call.store["roles"]:
        raise died(f"role '{name}' does not exist")
    del call.store["roles"][name]
    call.store["acl"][:] = [row for row in call.store["acl"] if row["roleid"] != name]


@method("GET", "/access/acl", may=everybody)
def _acl(call: Call) -> Any:
    return [dict(row) for row in call.store["acl"]]


@method(
    "PUT",
    "/access/acl",
    {
        "path": text(required=True, pattern=r"/[A-Za-z0-9/._-]*"),
        "roles": text(required=True, many=True),
        "users": text(many=True),
        "groups": text(many=True),
        "tokens": text(many=True),
        "propagate": flag(),
        "delete": flag(),
    },
    may=needs("/access", "Permissions.Modify"),
    writes=True,
)
def _change_acl(call: Call) -> Any:
    subjects = [("user", one) for one in call.get("users", [])]
    subjects += [("token", one) for one in call.get("tokens", [])] + [("group", one) for one in call.get("groups", [])]
    if not subjects:
        raise wrong(users="either 'users', 'groups' or 'tokens' is required.")
    rows = call.store["acl"]
    for role in call["roles"]:
        if role not in ROLES and role not in call.store["roles"]:
            raise died(f"role '{role}' does not exist")
        for kind, who in subjects:
            known = call.store["tokens"] if kind == "token" else call.store["users" if kind == "user" else "groups"]
            if who not in known and not call.get("delete"):
                raise died(f"no such token '{who}'" if kind == "token" else f"no such {kind} ('{who}')")
            row = {"path": call["path"], "type": kind, "ugid": who, "roleid": role}
            rows[:] = [one for one in rows if {name: one[name] for name in row} != row]
            if not call.get("delete"):
                rows.append(row | {"propagate": call.get("propagate", 1)})


@method("GET", "/access/permissions", {"path": text(), "userid": text()}, may=everybody)
def _permissions(call: Call) -> Any:
    paths = [call["path"]] if "path" in call.values else ["/", "/vms", "/storage", "/nodes", "/access", "/sdn"]
    return {path: dict.fromkeys(sorted(access.privileges(call.node, call.caller, path)), 1) for path in paths}


@method("GET", "/access/domains", may=everybody, public=True)
def _domains(_call: Call) -> Any:
    return [{"realm": "pam", "type": "pam"}, {"realm": "pve", "type": "pve"}]


@method(
    "POST",
    "/access/domains",
    {"realm": form("pve-realm", required=True), "type": one_of("ad", "ldap", "openid", required=True)},
)
def _add_domain(_call: Call) -> Any:
    raise ApiError(501, "realms are not played by the Proxmox of this sandbox")
