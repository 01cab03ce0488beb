"""Programs about users, passwords and names."""

import hashlib

from ocifree_pipeline.sandbox.machines import names
from ocifree_pipeline.sandbox.machines.computer import Computer
from ocifree_pipeline.sandbox.machines.session import Command, Result, Steps, Who, Words, read_all


def hashed(machine: Computer, password: str) -> str:
    salt = machine.guest["machineId"]
    return hashlib.sha256(f"{salt}:{password}".encode()).hexdigest()


def password_is(machine: Computer, user: str, password: str) -> bool:
    """What PAM says; a locked or missing password is nobody's."""
    kept = machine.guest.get("passwords", {}).get(user, "")
    return bool(kept) and kept == hashed(machine, password)


def _chpasswd(who: Who, words: Words) -> Steps:
    text = yield from read_all(who.stdin)
    if who.user != "root":
        yield Result(1, err="chpasswd: cannot lock /etc/passwd; try again later.\n")
        return 1
    if words:
        yield Result(2, err=f"chpasswd: {' '.join(words)!r} is not played by this guest of the sandbox\n")
        return 2
    passwords, err = who.machine.guest.setdefault("passwords", {}), ""
    for number, line in enumerate(text.splitlines(), start=1):
        user, colon, password = line.partition(":")
        if not colon:
            err += f"chpasswd: line {number}: missing new password\n"
        elif user not in {"root", *who.machine.guest["users"]}:
            err += f"chpasswd: (user {user}) pam_chauthtok() failed, error:\nAuthentication token manipulation error\n"
        else:
            passwords[user] = hashed(who.machine, password)
    yield Result(1 if err else 0, err=err)
    return 1 if err else 0


def _lock(who: Who, words: Words) -> Result:
    """``passwd -l``, ``-u``, ``-d``, ``-S``; ``usermod -L``, ``-p '!'``."""
    if who.user != "root":
        return Result(1, err="passwd: Permission denied.\n")
    passwords = who.machine.guest.setdefault("passwords", {})
    match words:
        case ("-l" | "-L" | "--lock", user):
            passwords[user] = "!" + passwords.get(user, "").lstrip("!")
            return Result(0, "passwd: password changed.\n")
        case ("-u" | "-U" | "--unlock", user):
            passwords[user] = passwords.get(user, "").lstrip("!")
            return Result(0, "passwd: password changed.\n")
        case ("-d", user):
            passwords[user] = ""
            return Result(0, "passwd: password changed.\n")
        case ("-p", text, user) if text in {"!", "*"}:
            passwords[user] = "!"
            return Result(0)
        case ("-S" | "--status", user):
            state = "P" if passwords.get(user, "!") not in {"", "*"} and passwords.get(user, "!")[0] != "!" else "L"
            return Result(0, f"{user} {state} 2026-01-01 0 99999 7 -1\n")
        case _:
            return Result(2, err=f"passwd: {' '.join(words)!r} is not played by this guest of the sandbox\n")


def _hostname(who: Who, words: Words) -> Result:
    name = str(who.machine.guest["hostname"])
    if words in {("-I",), ("--all-ip-addresses",)}:
        return Result(0, " ".join(who.machine.addresses) + " \n")
    if words in {("-i",), ("--ip-address",)}:
        found = names.resolve(who.machine, name)
        return Result(0, " ".join(found) + "\n") if found else Result(1, err="hostname: Name or service not known\n")
    if words in {(), ("-s",), ("--short",)}:
        return Result(0, name.partition(".")[0] + "\n" if words else name + "\n")
    if words in {("-f",), ("--fqdn",)}:
        return Result(0, name + "\n")
    return Result(1, err=f"hostname: {' '.join(words)!r} is not played by this guest of the sandbox\n")


def _hostnamectl(who: Who, words: Words) -> Result:
    match words:
        case ("set-hostname" | "hostname", name):
            if who.user != "root":
                return Result(1, err="Could not set static hostname: Access denied\n")
            who.machine.guest["hostname"] = name
            return Result(0)
        case () | ("status",):
            return Result(0, f" Static hostname: {who.machine.guest['hostname']}\n")
        case ("hostname",) | ("--static",):
            return Result(0, f"{who.machine.guest['hostname']}\n")
    return Result(1, err=f"hostnamectl: {' '.join(words)!r} is not played by this guest of the sandbox\n")


def _id(who: Who, words: Words) -> Result:
    options = "".join(word[1:] for word in words if word.startswith("-"))
    given = [word for word in words if not word.startswith("-")]
    user = given[0] if given else who.user
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


def _getent(who: Who, words: Words) -> Result:
    match words:
        case ("hosts" | "ahosts" | "ahostsv4" as kind, *wanted) if wanted:
            out, code = "", 0
            for name in wanted:
                found = [one for one in names.resolve(who.machine, name) if kind != "ahostsv4" or ":" not in one]
                code = code if found else 2
                out += "".join(f"{one:<15} {'STREAM ' if kind != 'hosts' else ''}{name}\n" for one in found)
            return Result(code, out)
        case ("passwd", user):
            number = _number(who.machine, user)
            if number is None:
                return Result(2)
            folder = "/root" if user == "root" else f"/home/{user}"
            return Result(0, f"{user}:x:{number}:{number}::{folder}:/bin/bash\n")
    return Result(1, err=f"getent: {' '.join(words)!r} is not played by this guest of the sandbox\n")


COMMANDS: dict[str, Command] = {
    "chpasswd": _chpasswd,
    "passwd": _lock,
    "usermod": _lock,
    "hostname": _hostname,
    "hostnamectl": _hostnamectl,
    "id": _id,
    "whoami": lambda who, _words: Result(0, f"{who.user}\n"),
    "getent": _getent,
}
