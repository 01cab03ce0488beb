"""The commands of the simplest guest. Each reads the machine's state; an unknown one is not found (127)."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from ocifree_pipeline.sandbox.machines import distributions, files
from ocifree_pipeline.sandbox.machines.computer import Computer

NOT_FOUND = 127
FLAGS = {"s": 0, "n": 1, "r": 2, "v": 3, "m": 4, "p": 4, "i": 4, "o": 5}
VERSION = "#1 SMP PREEMPT_DYNAMIC"


@dataclass(frozen=True, slots=True)
class Who:
    """Somebody at work on a machine."""

    machine: Computer
    user: str


@dataclass(frozen=True, slots=True)
class Result:
    code: int
    out: str = ""
    err: str = ""


Words = tuple[str, ...]
Command = Callable[[Who, Words], Result]


def execute(who: Who, words: Words) -> Result:
    name = words[0].removeprefix("/usr/bin/").removeprefix("/bin/")
    command = COMMANDS.get(name)
    return command(who, words[1:]) if command else Result(NOT_FOUND, err=f"bash: {words[0]}: command not found\n")


def become(who: Who, words: Words) -> tuple[Who, Words]:
    """Take ``sudo`` and its options off: who runs the rest."""
    while words[:1] == ("sudo",):
        user, rest = "root", list(words[1:])
        while rest and rest[0].startswith("-"):
            option = rest.pop(0)
            if option in {"-u", "--user"} and rest:
                user = rest.pop(0)
            elif option == "--":
                break
        who, words = replace(who, user=user), tuple(rest) or ("true",)
    return who, words


def must_wait(who: Who, words: Words) -> bool:
    """``cloud-init status --wait`` goes on when cloud-init has finished."""
    waits = words[:2] == ("cloud-init", "status") and ("--wait" in words or "-w" in words)
    return waits and cloud_init_runs(who.machine)


def cloud_init_runs(machine: Computer) -> bool:
    return bool(machine.guest["cloudInit"]["status"] == "running")


def _uname(who: Who, words: Words) -> Result:
    kernel = distributions.of(who.machine).kernel
    values = ["Linux", who.machine.guest["hostname"], kernel, VERSION, who.machine.architecture, "GNU/Linux"]
    flags = "".join(word[1:] for word in words if word.startswith("-"))
    if "a" in flags:
        return Result(0, " ".join(values) + "\n")
    if unknown := [flag for flag in flags if flag not in FLAGS]:
        return Result(1, err=f"uname: invalid option -- '{unknown[0]}'\n")
    chosen = sorted({FLAGS[flag] for flag in flags or "s"})
    return Result(0, " ".join(values[at] for at in chosen) + "\n")


def _cat(who: Who, words: Words) -> Result:
    out, err = [], []
    for path in words:
        content = files.texts(who.machine).get(path)
        if content is not None:
            out.append(content)
        elif files.is_directory(who.machine, path):
            err.append(f"cat: {path}: Is a directory\n")
        else:
            err.append(f"cat: {path}: No such file or directory\n")
    return Result(1 if err else 0, "".join(out), "".join(err))


def _test(who: Who, words: Words) -> Result:
    negated = words[:1] == ("!",)
    rest = words[1:] if negated else words
    truth = _truth(who.machine, rest)
    if truth is None:
        return Result(2, err=f"test: {' '.join(rest)}: not played by this guest of the sandbox\n")
    return Result(0 if truth != negated else 1)


def _truth(machine: Computer, words: Words) -> bool | None:
    match words:
        case ():
            return False
        case ("-e" | "-r", path):
            return files.exists(machine, path)
        case ("-f", path):
            return path in files.texts(machine)
        case ("-s", path):
            return bool(files.texts(machine).get(path))
        case ("-d", path):
            return files.is_directory(machine, path)
        case ("-b", path):
            return path in files.DEVICES and path.startswith("/dev/sd")
        case ("-c", path):
            return path in files.DEVICES and not path.startswith("/dev/sd")
        case ("-n", text):
            return bool(text)
        case ("-z", text):
            return not text
        case (left, "=" | "==", right):
            return left == right
        case (left, "!=", right):
            return left != right
        case (text,):
            return bool(text)
        case _:
            return None


def _bracket(who: Who, words: Words) -> Result:
    if words[-1:] != ("]",):
        return Result(2, err="[: missing `]'\n")
    return _test(who, words[:-1])


def _cloud_init(who: Who, words: Words) -> Result:
    found = who.machine.guest["cloudInit"]
    status, errors = found["status"], found["errors"]
    code = 1 if status == "error" else 0
    match words:
        case ("--version",):
            return Result(0, "/usr/bin/cloud-init 25.1.4\n")
        case ("status", *options) if set(options) <= {
            "--wait",
            "-w",
            "--long",
            "-l",
            "--format",
            "json",
            "--format=json",
        }:
            if "json" in options or "--format=json" in options:
                shown = {
                    "boot_status_code": "enabled-by-generator",
                    "datasource": "oracle",
                    "detail": errors[0] if errors else "DataSourceOracle",
                    "errors": errors,
                    "extended_status": status,
                    "recoverable_errors": {},
                    "status": status,
                }
                return Result(code, json.dumps(shown, indent=2) + "\n")
            dots = "." if {"--wait", "-w"} & set(options) else ""
            lines = [f"{dots}{chr(10) if dots else ''}status: {status}"]
            if {"--long", "-l"} & set(options):
                lines += [f"extended_status: {status}", "boot_status_code: enabled-by-generator", "errors:"]
                lines += [f"\t- {one}" for one in errors] or []
            return Result(code, "\n".join(lines) + "\n")
        case _:
            return Result(2, err=f"cloud-init: {' '.join(words)!r} is not played by this guest of the sandbox\n")


def _hostname(who: Who, words: Words) -> Result:
    name = str(who.machine.guest["hostname"])
    if words in {(), ("-s",), ("--short",)}:
        return Result(0, name.partition(".")[0] + "\n" if words else name + "\n")
    if words in {("-f",), ("--fqdn",)}:
        return Result(0, name + "\n")
    return Result(1, err=f"hostname: {' '.join(words)!r} is not played by this guest of the sandbox\n")


def _id(who: Who, words: Words) -> Result:
    options = "".join(word[1:] for word in words if word.startswith("-"))
    names = [word for word in words if not word.startswith("-")]
    user = names[0] if names else who.user
    number = _number(who.machine, user)
    if number is None:
        return Result(1, err=f"id: '{user}': no such user\n")
    if options in {"un", "nu", "gn", "ng"}:
        return Result(0, f"{user}\n")
    if options in {"u", "g"}:
        return Result(0, f"{number}\n")
    return Result(0, f"uid={number}({user}) gid={number}({user}) groups={number}({user})\n")


def _number(machine: Computer, user: str) -> int | None:
    if user == "root":
        return 0
    users = list(machine.guest["users"])
    return 1000 + users.index(user) if user in users else None


def _ls(who: Who, words: Words) -> Result:
    paths = [word for word in words if not word.startswith("-")] or [files.home(who.user)]
    out, err = [], []
    for path in paths:
        if files.is_directory(who.machine, path):
            out += files.children(who.machine, path)
        elif files.exists(who.machine, path):
            out.append(path)
        else:
            err.append(f"ls: cannot access '{path}': No such file or directory\n")
    return Result(2 if err else 0, "".join(f"{one}\n" for one in out), "".join(err))


def _echo(_who: Who, words: Words) -> Result:
    if words[:1] == ("-n",):
        return Result(0, " ".join(words[1:]))
    return Result(0, " ".join(words) + "\n")


def _nproc(who: Who, _words: Words) -> Result:
    return Result(0, f"{len(re.findall('processor', files.texts(who.machine)['/proc/cpuinfo']))}\n")


def _systemctl(who: Who, words: Words) -> Result:
    """Units are what somebody has enabled or started; one that nobody has named is not loaded."""
    names = [word.removesuffix(".service") for word in words if not word.startswith("-")]
    verb, units = (names[0], names[1:]) if names else ("", [])
    services = who.machine.guest.setdefault("services", {})
    if verb in {"enable", "disable", "start", "stop", "restart", "reload"} and who.user != "root":
        return Result(1, err="Failed to change a unit: Interactive authentication required.\n")
    for unit in units:
        state = services.get(unit, {"enabled": False, "active": False})
        match verb:
            case "enable" | "disable":
                state["enabled"] = verb == "enable"
                if "--now" in words:
                    state["active"] = state["enabled"]
            case "start" | "restart" | "reload":
                state["active"] = True
            case "stop":
                state["active"] = False
            case "is-active" | "is-enabled":
                told = state["active" if verb == "is-active" else "enabled"]
                good, bad = ("active", "inactive") if verb == "is-active" else ("enabled", "disabled")
                return Result(0 if told else 3, f"{good if told else bad}\n")
            case _:
                return Result(1, err=f"systemctl: {verb!r} is not played by this guest of the sandbox\n")
        services[unit] = state
    return Result(0)


COMMANDS: dict[str, Command] = {
    "uname": _uname,
    "cat": _cat,
    "test": _test,
    "[": _bracket,
    "cloud-init": _cloud_init,
    "hostname": _hostname,
    "id": _id,
    "whoami": lambda who, _words: Result(0, f"{who.user}\n"),
    "ls": _ls,
    "echo": _echo,
    "nproc": _nproc,
    "systemctl": _systemctl,
    "true": lambda _who, _words: Result(0),
    "false": lambda _who, _words: Result(1),
    ":": lambda _who, _words: Result(0),
}
