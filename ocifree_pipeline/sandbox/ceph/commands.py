"""The commands of Ceph and of block devices as programs of a guest."""

from ocifree_pipeline.sandbox import instruments
from ocifree_pipeline.sandbox.ceph.programs import PROGRAMS
from ocifree_pipeline.sandbox.ceph.pveceph import Job, job_of
from ocifree_pipeline.sandbox.ceph.site import Refused
from ocifree_pipeline.sandbox.faults import Rule
from ocifree_pipeline.sandbox.machines import power
from ocifree_pipeline.sandbox.machines.session import Command, Result, Steps, Who, Words, read_line

FOR_ROOT = {
    "ceph": "Error initializing cluster client: PermissionDeniedError('error calling conf_read_file')",
    "pveceph": "please run as root",
    "ceph-volume": "This command needs to be executed with sudo or as root",
    "sfdisk": "sfdisk: cannot open the device: Permission denied",
    "sgdisk": "Problem opening the device for reading! Error is 13.",
    "partx": "partx: cannot open the device: Permission denied",
    "lvs": "  WARNING: Running as a non-root user. Functionality may be unavailable.",
}

BROUGHT_BY = {
    "ceph": "ceph-common",
    "ceph-volume": "ceph-volume",
    "pveceph": "pve-manager",
    "sgdisk": "gdisk",
    "lvs": "lvm2",
}
NOT_FOUND = 127
SERVICE = "ceph"
CHANGING = (
    "pveceph install", "pveceph init", "pveceph mon", "pveceph mgr", "pveceph osd", "pveceph pool create",
    "pveceph pool destroy", "ceph-volume lvm create", "ceph-volume lvm zap", "sgdisk",
    "partx", "ceph config set", "ceph config rm", "ceph osd set", "ceph osd unset", "ceph osd in", "ceph osd out",
    "ceph mon remove", "ceph osd purge", "ceph osd pool set", "ceph osd pool application",
)  # fmt: skip


def _command(name: str) -> Command:
    def run(who: Who, words: Words) -> Result:
        return _run(who, name, words)

    return run


def _run(who: Who, name: str, words: Words, typed: str = "") -> Result:
    """Faults of the service ``ceph`` strike by the first three words; ``reset`` reboots the node when it is done."""
    from ocifree_pipeline.sandbox.ceph.on_proxmox import site_of

    if BROUGHT_BY.get(name, "bash") not in who.machine.guest["packages"]:
        return Result(NOT_FOUND, err=f"bash: {name}: command not found\n")
    if name in FOR_ROOT and who.user != "root":
        return Result(1, err=FOR_ROOT[name] + "\n")
    operation = " ".join((name, *words[:2]))
    rule = instruments.strikes(who.machine.world, SERVICE, operation)
    if rule is not None and rule.moment in {"before", "drop"}:
        return Result(1, err=_said(rule))
    site = site_of(who.machine)
    site.typed = typed
    done = PROGRAMS[name](site, words)
    _note(who, operation, words, done.code)
    if rule is not None and rule.moment == "reset":
        power.restart(who.machine)
    if rule is not None and rule.moment in {"after", "reset", "truncate"}:
        return Result(1, err=_said(rule))
    return done


def _said(rule: Rule) -> str:
    return ("got timeout" if rule.message.startswith("An internal error") else rule.message) + "\n"


def _note(who: Who, operation: str, words: Words, code: int) -> None:
    line = " ".join((operation.partition(" ")[0], *(word for word in words if not word.startswith("-"))))
    instruments.note(
        who.machine.world,
        host=who.machine.addresses[0] if who.machine.addresses else "",
        method="RUN",
        path=operation,
        service=SERVICE,
        operation=operation,
        status=400 if code else 200,
        mutating=line.startswith(CHANGING),
    )


def _pveceph(who: Who, words: Words) -> Result | Steps:
    if words[:1] == ("install",):
        return _install(who, words)
    if who.user != "root" or BROUGHT_BY["pveceph"] not in who.machine.guest["packages"]:
        return _run(who, "pveceph", words)
    try:
        job = job_of(str(who.machine.guest["pve"]["name"]), words)
    except Refused as refused:
        return Result(refused.code, err=refused.message + "\n")
    return _run(who, "pveceph", words) if job is None else _work(who, words, job)


def _work(who: Who, words: Words, job: Job) -> Steps:
    """As a task, which the API shows too: `pveceph` prints its log and waits for its end."""
    from ocifree_pipeline.sandbox.proxmox import console, methods, nodes, tasks

    methods.load()
    operation = " ".join(("pveceph", *words[:2]))
    rule = instruments.strikes(who.machine.world, SERVICE, operation)
    if rule is not None and rule.moment in {"before", "drop"}:
        yield Result(1, err=_said(rule))
        return 1
    node = nodes.Node(who.machine)
    upid = tasks.start(node, job.kind, job.subject, "root@pam", job.args)
    code = yield from console.to_the_end(node, upid, tells=job.tells)
    _note(who, operation, words, code)
    if rule is None or rule.moment == "slow":
        return code
    if rule.moment == "reset":
        power.restart(who.machine)
    yield Result(1, err=_said(rule))
    return 1


def _install(who: Who, words: Words) -> Steps:
    """apt asks, whatever options `pveceph install` has."""
    typed = yield from read_line(who.stdin)
    done = _run(who, "pveceph", words, typed or "")
    yield done
    return done.code


COMMANDS: dict[str, Command] = {name: _command(name) for name in PROGRAMS} | {"pveceph": _pveceph}
