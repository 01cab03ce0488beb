"""``pveum``: users, tokens, roles and access control lists."""

from ocifree_pipeline.sandbox.machines.session import Result, Steps, Who, Words
from ocifree_pipeline.sandbox.proxmox import console, methods
from ocifree_pipeline.sandbox.proxmox.errors import ApiError

FLAGS = frozenset({"enable", "privsep", "propagate", "append", "full", "delete", "regenerate"})
TABLE: dict[tuple[str, ...], tuple[str, str, tuple[str, ...], dict[str, str]]] = {
    ("user", "add"): ("POST", "/access/users", ("userid",), {}),
    ("user", "list"): ("GET", "/access/users", (), {}),
    ("user", "modify"): ("PUT", "/access/users/{}", ("",), {}),
    ("user", "delete"): ("DELETE", "/access/users/{}", ("",), {}),
    ("user", "token", "add"): ("POST", "/access/users/{}/token/{}", ("", ""), {}),
    ("user", "token", "list"): ("GET", "/access/users/{}/token", ("",), {}),
    ("user", "token", "modify"): ("PUT", "/access/users/{}/token/{}", ("", ""), {}),
    ("user", "token", "remove"): ("DELETE", "/access/users/{}/token/{}", ("", ""), {}),
    ("user", "token", "delete"): ("DELETE", "/access/users/{}/token/{}", ("", ""), {}),
    ("role", "add"): ("POST", "/access/roles", ("roleid",), {}),
    ("role", "list"): ("GET", "/access/roles", (), {}),
    ("role", "modify"): ("PUT", "/access/roles/{}", ("",), {}),
    ("role", "delete"): ("DELETE", "/access/roles/{}", ("",), {}),
    ("acl", "list"): ("GET", "/access/acl", (), {}),
    ("acl", "modify"): ("PUT", "/access/acl", ("path",), {}),
    ("acl", "delete"): ("PUT", "/access/acl", ("path",), {"delete": "1"}),
}
ALIASES = {
    ("useradd",): ("user", "add"),
    ("roleadd",): ("role", "add"),
    ("rolemod",): ("role", "modify"),
    ("aclmod",): ("acl", "modify"),
}


def pveum(who: Who, words: Words) -> Steps:
    if (no := console.refusal(who)) is not None:
        yield no
        return no.code
    for alias, full in ALIASES.items():
        if words[: len(alias)] == alias:
            words = (*full, *words[len(alias) :])
    key = next((words[:size] for size in (3, 2) if words[:size] in TABLE), None)
    if key is None:
        yield Result(console.FAILED, err=f"ERROR: unknown command 'pveum {' '.join(words[:2])}'\n")
        return console.FAILED
    verb, path, places, fixed = TABLE[key]
    plain, given = console.options(words[len(key) :], FLAGS)
    form = str(given.pop("output-format", "text"))
    if len(plain) < len(places):
        yield Result(console.PARAMETERS, err=f"400 not enough arguments\npveum {' '.join(key)}\n")
        return console.PARAMETERS
    inside = [value for name, value in zip(places, plain, strict=False) if not name]
    given |= {name: value for name, value in zip(places, plain, strict=False) if name} | fixed
    given = {
        {"role": "roles", "user": "users", "token": "tokens"}.get(n, n) if key[0] == "acl" else n: v
        for n, v in given.items()
    }
    try:
        answer = console.invoke(console.node_of(who), verb, path.format(*inside), given)
    except ApiError as error:
        yield console.failed(error)
        return console.FAILED
    yield Result(0, console.shown(answer.rows if isinstance(answer, methods.Page) else answer, form))
    return 0
