"""Where a guest's commands come from: a table by name, made of what its distribution and its packages bring.

Each command reads and changes the machine's state; an unknown one is not found (127). To add commands, add a table to
``TABLES``; a table that belongs to a package is there when that package is installed.
"""

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module

from ocifree_pipeline.sandbox.machines.computer import Computer
from ocifree_pipeline.sandbox.machines.session import Command, Result, Steps, Who, Words

NOT_FOUND = 127
PLACES = ("/usr/local/sbin/", "/usr/local/bin/", "/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/")
PROGRAMS = "ocifree_pipeline.sandbox.machines.programs"
TABLES: list[tuple[str, str]] = [
    ("", f"{PROGRAMS}.texts"),
    ("", f"{PROGRAMS}.paths"),
    ("", f"{PROGRAMS}.accounts"),
    ("", f"{PROGRAMS}.system"),
    ("", f"{PROGRAMS}.network"),
    ("", f"{PROGRAMS}.software"),
    ("tailscale", "ocifree_pipeline.sandbox.tailscale.commands"),
    ("", "ocifree_pipeline.sandbox.ceph.commands"),
    ("pve-manager", "ocifree_pipeline.sandbox.proxmox.commands"),
]
"""The package that a table belongs to (empty: always there), and the module that has it as ``COMMANDS``."""


def available(machine: Computer) -> Mapping[str, Command]:
    installed = machine.guest.get("packages", {})
    found: dict[str, Command] = {}
    for package, module in TABLES:
        if not package or package in installed:
            found.update(import_module(module).COMMANDS)
    return found


def execute(who: Who, words: Words) -> Steps:
    name = words[0]
    for place in PLACES:
        name = name.removeprefix(place)
    command = available(who.machine).get(name)
    if command is None:
        yield Result(NOT_FOUND, err=f"bash: {words[0]}: command not found\n")
        return NOT_FOUND
    done = command(who, words[1:])
    if isinstance(done, Result):
        yield done
        return done.code
    return (yield from done)


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
        who, words = replace(who, user=user, login=who.login or who.user), tuple(rest) or ("true",)
    return who, words
