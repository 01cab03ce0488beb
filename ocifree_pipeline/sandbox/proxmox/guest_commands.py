"""``qm``, ``pct``, ``pvesm`` and ``pveam``: guests, storages and templates from a command line."""

from dataclasses import dataclass, replace
from typing import Any

from ocifree_pipeline.sandbox.machines import files, shell
from ocifree_pipeline.sandbox.machines.session import Command, Result, Steps, Who, Words
from ocifree_pipeline.sandbox.proxmox import console, guests, methods
from ocifree_pipeline.sandbox.proxmox.errors import ApiError
from ocifree_pipeline.sandbox.proxmox.guests import Guest

FLAGS = frozenset(
    {"start", "online", "purge", "onboot", "unprivileged", "kvm", "full", "restart", "with-local-disks", "skiplock"}
)


@dataclass(frozen=True, slots=True)
class Line:
    """How words become a call. ``places`` name the words before the options."""

    verb: str
    path: str
    places: tuple[str, ...] = ("vmid",)


QM = {
    "create": Line("POST", "/nodes/{node}/qemu"),
    "set": Line("POST", "/nodes/{node}/qemu/{vmid}/config"),
    "config": Line("GET", "/nodes/{node}/qemu/{vmid}/config"),
    "pending": Line("GET", "/nodes/{node}/qemu/{vmid}/pending"),
    "start": Line("POST", "/nodes/{node}/qemu/{vmid}/status/start"),
    "stop": Line("POST", "/nodes/{node}/qemu/{vmid}/status/stop"),
    "shutdown": Line("POST", "/nodes/{node}/qemu/{vmid}/status/shutdown"),
    "reboot": Line("POST", "/nodes/{node}/qemu/{vmid}/status/reboot"),
    "reset": Line("POST", "/nodes/{node}/qemu/{vmid}/status/reset"),
    "destroy": Line("DELETE", "/nodes/{node}/qemu/{vmid}"),
    "resize": Line("PUT", "/nodes/{node}/qemu/{vmid}/resize", ("vmid", "disk", "size")),
    "template": Line("POST", "/nodes/{node}/qemu/{vmid}/template"),
    "clone": Line("POST", "/nodes/{node}/qemu/{vmid}/clone", ("vmid", "newid")),
    "migrate": Line("POST", "/nodes/{node}/qemu/{vmid}/migrate", ("vmid", "target")),
}
PCT = {
    "create": Line("POST", "/nodes/{node}/lxc", ("vmid", "ostemplate")),
    "set": Line("PUT", "/nodes/{node}/lxc/{vmid}/config"),
    "config": Line("GET", "/nodes/{node}/lxc/{vmid}/config"),
    "start": Line("POST", "/nodes/{node}/lxc/{vmid}/status/start"),
    "stop": Line("POST", "/nodes/{node}/lxc/{vmid}/status/stop"),
    "shutdown": Line("POST", "/nodes/{node}/lxc/{vmid}/status/shutdown"),
    "reboot": Line("POST", "/nodes/{node}/lxc/{vmid}/status/reboot"),
    "destroy": Line("DELETE", "/nodes/{node}/lxc/{vmid}"),
    "migrate": Line("POST", "/nodes/{node}/lxc/{vmid}/migrate", ("vmid", "target")),
}
PVESM = {
    "status": Line("GET", "/nodes/{node}/storage", ()),
    "list": Line("GET", "/nodes/{node}/storage/{storage}/content", ("storage",)),
    "add": Line("POST", "/storage", ("type", "storage")),
    "set": Line("PUT", "/storage/{storage}", ("storage",)),
    "remove": Line("DELETE", "/storage/{storage}", ("storage",)),
    "free": Line("DELETE", "/nodes/{node}/storage/{storage}/content/{volume}", ("volume",)),
}


def _call(who: Who, program: str, line: Line, words: Words) -> Steps:
    node = console.node_of(who)
    plain, given = console.options(words, FLAGS)
    form = str(given.pop("output-format", "text"))
    if len(plain) < len(line.places):
        yield Result(
            console.PARAMETERS, err=f"400 not enough arguments\n{program} <{'> <'.join(line.places)}> [OPTIONS]\n"
        )
        return console.PARAMETERS
    if len(plain) > len(line.places):
        yield Result(console.PARAMETERS, err="400 too many arguments\n")
        return console.PARAMETERS
    named: dict[str, Any] = dict(zip(line.places, plain, strict=False))
    if "volume" in named:
        named["storage"] = str(named["volume"]).partition(":")[0]
        named["volume"] = str(named["volume"]).replace("/", "%2F")
    inside = {name: value for name, value in (named | {"node": node.name}).items() if f"{{{name}}}" in line.path}
    given |= {name: value for name, value in named.items() if name not in inside}
    try:
        answer = console.invoke(node, line.verb, line.path.format(**inside), given)
    except ApiError as error:
        yield console.failed(error)
        return console.FAILED
    if console.is_upid(answer):
        return (yield from console.to_the_end(node, answer))
    if isinstance(answer, methods.Page):
        answer = answer.rows
    if isinstance(answer, dict) and form == "text":
        yield Result(0, "".join(f"{name}: {value}\n" for name, value in sorted(answer.items()) if name != "digest"))
    else:
        yield Result(0, console.shown(answer, form))
    return 0


def _program(name: str, table: dict[str, Line]) -> Command:
    def run(who: Who, words: Words) -> Steps:
        if (no := console.refusal(who)) is not None:
            yield no
            return no.code
        verb = words[0] if words else ""
        special = SPECIAL.get((name, verb))
        if special is not None:
            code: int = yield from special(who, words[1:])
            return code
        if verb not in table:
            yield Result(console.FAILED, err=f"ERROR: unknown command '{name} {verb}'\n")
            return console.FAILED
        return (yield from _call(who, f"{name} {verb}", table[verb], words[1:]))

    return run


def _list(kind: str, heading: str) -> Any:
    def run(who: Who, _words: Words) -> Steps:
        node, out = console.node_of(who), heading
        for vmid, guest in sorted(node.store["guests"].items(), key=lambda one: int(one[0])):
            if guest["type"] != kind or guest["node"] != node.name:
                continue
            row = guests.summary(node, vmid)
            if kind == "qemu":
                pid = 0 if row["status"] == "stopped" else 40_000 + int(vmid)
                out += f"{vmid:>10} {row['name']:<20} {row['status']:<10} {row['maxmem'] // 1024**2:<10} 0.00 {pid}\n"
            else:
                out += f"{vmid:<10} {row['status']:<10} {guest['lock']:<12} {row['name']}\n"
        yield Result(0, out)
        return 0

    return run


def _status(kind: str) -> Any:
    def run(who: Who, words: Words) -> Steps:
        try:
            record = guests.find(console.node_of(who), words[0] if words else "", kind)
        except ApiError as error:
            yield Result(2, err=error.text)
            return 2
        yield Result(0, f"status: {record['status']}\n")
        return 0

    return run


def _unlock(kind: str) -> Any:
    def run(who: Who, words: Words) -> Steps:
        node = console.node_of(who)
        try:
            guests.find(node, words[0] if words else "", kind)["lock"] = ""
        except ApiError as error:
            yield Result(2, err=error.text)
            return 2
        console.note(node, f"unlock {words[0]}", 200, mutating=True)
        yield Result(0)
        return 0

    return run


def _container(who: Who, vmid: str) -> Guest | Result:
    node = console.node_of(who)
    try:
        record = guests.find(node, vmid, "lxc")
    except ApiError as error:
        return Result(2, err=error.text)
    if record["status"] != "running" or Guest(node, vmid).phase != "up":
        return Result(console.FAILED, err=f"container '{vmid}' not running!\n")
    return Guest(node, vmid)


def _exec(who: Who, words: Words) -> Steps:
    rest = tuple(word for at, word in enumerate(words[1:]) if word != "--" or at)
    inside = _container(who, words[0] if words else "")
    if isinstance(inside, Result):
        yield inside
        return inside.code
    return (yield from shell.words_of(replace(who, machine=inside, user="root", login=""), rest))


def _push(who: Who, words: Words) -> Steps:
    """``pct push VMID FILE TARGET [--perms MODE]``"""
    plain, given = console.options(words)
    inside = _container(who, plain[0] if plain else "")
    if isinstance(inside, Result) or len(plain) != 3:
        no = inside if isinstance(inside, Result) else Result(console.PARAMETERS, err="400 not enough arguments\n")
        yield no
        return no.code
    content = files.read(who, plain[1])
    if content is None:
        yield Result(2, err=f"failed to open {plain[1]} for reading: No such file or directory\n")
        return 2
    there = replace(who, machine=inside, user="root")
    if wrong := files.write(there, plain[2], content):
        yield Result(2, err=f"failed to create file: {plain[2]}: {wrong}\n")
        return 2
    if "perms" in given:
        files.set_mode(inside, plain[2], int(str(given["perms"]), 8))
    yield Result(0)
    return 0


def _storages(who: Who, words: Words) -> Steps:
    """``pvesm status``: sizes in KiB, and in words what the API says with two numbers."""
    node, (_, given) = console.node_of(who), console.options(words, FLAGS)
    try:
        rows = console.invoke(node, "GET", f"/nodes/{node.name}/storage", given)
    except ApiError as error:
        yield console.failed(error)
        return console.FAILED
    out = f"{'Name':<18} {'Type':>8} {'Status':>10} {'Total':>15} {'Used':>15} {'Available':>15} {'%':>8}\n"
    for row in rows:
        status = "active" if row.get("active") else "inactive" if row.get("enabled", 1) else "disabled"
        total, used, left = (int(row.get(name, 0)) // 1024 for name in ("total", "used", "avail"))
        share = f"{100 * used / total if total else 0:.2f}%"
        out += f"{row['storage']:<18} {row['type']:>8} {status:>10} {total:>15} {used:>15} {left:>15} {share:>8}\n"
    yield Result(0, out)
    return 0


def _api_info(_who: Who, _words: Words) -> Steps:
    yield Result(0, "APIVER 13\nAPIAGE 4\n")
    return 0


def _pveam(who: Who, words: Words) -> Steps:
    if (no := console.refusal(who)) is not None:
        yield no
        return no.code
    node = console.node_of(who)
    match words:
        case ("update",):
            node.own["templates"] = True
            yield Result(0, "update successful\n")
            return 0
        case ("available", *_):
            rows = console.invoke(node, "GET", f"/nodes/{node.name}/aplinfo")
            yield Result(0, "".join(f"{row['section']:<15} {row['template']}\n" for row in rows))
            return 0
        case ("list", storage):
            line = Line("GET", "/nodes/{node}/storage/{storage}/content", ("storage",))
            return (yield from _call(who, "pveam list", line, (storage, "--content", "vztmpl")))
        case ("download", storage, template):
            line = Line("POST", "/nodes/{node}/aplinfo", ("storage", "template"))
            return (yield from _call(who, "pveam download", line, (storage, template)))
    yield Result(console.FAILED, err=f"ERROR: unknown command 'pveam {' '.join(words[:1])}'\n")
    return console.FAILED


SPECIAL: dict[tuple[str, str], Any] = {
    ("qm", "list"): _list("qemu", "      VMID NAME                 STATUS     MEM(MB)    BOOTDISK(GB) PID\n"),
    ("pct", "list"): _list("lxc", "VMID       Status     Lock         Name\n"),
    ("qm", "status"): _status("qemu"),
    ("pct", "status"): _status("lxc"),
    ("qm", "unlock"): _unlock("qemu"),
    ("pct", "unlock"): _unlock("lxc"),
    ("pct", "exec"): _exec,
    ("pct", "push"): _push,
    ("pvesm", "apiinfo"): _api_info,
    ("pvesm", "status"): _storages,
}
COMMANDS: dict[str, Command] = {
    "qm": _program("qm", QM),
    "pct": _program("pct", PCT),
    "pvesm": _program("pvesm", PVESM),
    "pveam": _pveam,
}
