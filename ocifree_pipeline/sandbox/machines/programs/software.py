"""Programs about packages."""

import re

from ocifree_pipeline.sandbox import instruments
from ocifree_pipeline.sandbox.machines import packages
from ocifree_pipeline.sandbox.machines.session import Command, Result, Who, Words

NOT_PLAYED = "is not played by this guest of the sandbox"
LOCKED = (
    "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 1204 (unattended-upgr)\n"
    "E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process using it?\n"
)


def _dpkg_query(who: Who, words: Words) -> Result:
    form = next((word.partition("=")[2] for word in words if word.startswith(("-f=", "--showformat="))), None)
    if "-f" in words[:-1]:
        form = words[words.index("-f") + 1]
    wanted = [word for word in words if not word.startswith("-") and word != form]
    have, out, err = packages.installed(who.machine), "", ""
    for name in wanted or sorted(have):
        if name not in have:
            err += f"dpkg-query: no packages found matching {name}\n"
            continue
        values = {"Package": name, "binary:Package": name, "Version": have[name], "db:Status-Status": "installed"}
        values |= {"Status": "install ok installed", "db:Status-Abbrev": "ii ", "Architecture": _architecture(who)}
        if "-s" in words:
            out += f"Package: {name}\nStatus: install ok installed\nVersion: {have[name]}\n"
            continue
        line = "${Package}\t${Version}\n" if form is None else form.replace("\\n", "\n").replace("\\t", "\t")
        out += _filled(line, values)
    return Result(1 if err else 0, out, err)


def _filled(form: str, values: dict[str, str]) -> str:
    return re.sub(r"\$\{([^}]+)\}", lambda match: values.get(match[1].partition(";")[0], ""), form)


def _architecture(who: Who) -> str:
    return "arm64" if who.machine.architecture == "aarch64" else "amd64"


def _dpkg(who: Who, words: Words) -> Result:
    if words in {("--configure", "-a"), ("--audit",)}:
        return Result(0) if who.user == "root" else Result(2, err="dpkg: error: requires superuser privilege\n")
    if words == ("--print-architecture",):
        return Result(0, f"{_architecture(who)}\n")
    if words[:1] in {("-s",), ("--status",), ("-l",)}:
        return _dpkg_query(who, ("-s", *words[1:]))
    return Result(2, err=f"dpkg: {' '.join(words)!r} {NOT_PLAYED}\n")


def _apt_get(who: Who, words: Words) -> Result:
    rest, options, given = list[str](), list[str](), list(words)
    while given:
        word = given.pop(0)
        if word in {"-o", "-t"} and given:
            given.pop(0)
        elif word.startswith("-"):
            options.append(word)
        else:
            rest.append(word)
    verb, wanted = (rest[0], rest[1:]) if rest else ("", [])
    if verb in {"update", "install", "upgrade", "dist-upgrade", "full-upgrade", "remove", "purge"}:
        if who.user != "root":
            return Result(
                100, err="E: Could not open lock file /var/lib/dpkg/lock-frontend - open (13: Permission denied)\n"
            )
        rule = instruments.strikes(who.machine.world, "apt", verb)
        if rule is not None:
            return Result(100, err=LOCKED if rule.message.startswith("An internal error") else f"{rule.message}\n")
    match verb:
        case "update":
            packages.read_lists(who.machine)
            return Result(0, "Reading package lists... Done\n")
        case "clean" | "autoclean" | "autoremove":
            return Result(0)
        case "install":
            return install(who, [one.partition("=")[0] for one in wanted], agreed=_agreed(who, options))
        case "upgrade" | "dist-upgrade" | "full-upgrade":
            return _upgrade(who, options)
        case "remove" | "purge":
            for one in wanted:
                packages.installed(who.machine).pop(one, None)
            return Result(0)
    return Result(100, err=f"E: apt-get {' '.join(words)!r} {NOT_PLAYED}\n")


def _upgrade(who: Who, options: list[str]) -> Result:
    """Everything that is installed in its newer version; with ``-s`` only what that would be."""
    newer, have = packages.newer(who.machine), packages.installed(who.machine)
    text = "Reading package lists...\nBuilding dependency tree...\nCalculating upgrade...\n"
    if newer:
        text += f"The following packages will be upgraded:\n  {' '.join(newer)}\n"
    text += f"{len(newer)} upgraded, 0 newly installed, 0 to remove and 0 not upgraded.\n"
    if {"-s", "--simulate", "--dry-run", "-qs"} & set(options):
        whence = f"Debian:13/stable [{_architecture(who)}]"
        text += "".join(f"Inst {one} [{have[one]}] ({version} {whence})\n" for one, version in newer.items())
        return Result(0, text + "".join(f"Conf {one} ({version} {whence})\n" for one, version in newer.items()))
    if newer and not _agreed(who, options):
        return Result(1, f"{text}Do you want to continue? [Y/n] Abort.\n")
    have.update(newer)
    return Result(0, text)


def _agreed(who: Who, options: list[str]) -> bool:
    if {"-y", "--yes", "--assume-yes", "-qy", "-yq", "-qqy", "-yqq"} & set(options):
        return True
    return who.stdin.text.lstrip().lower().startswith("y")


def install(who: Who, wanted: list[str], *, agreed: bool) -> Result:
    new = [one for one in wanted if one not in packages.installed(who.machine)]
    text = "Reading package lists... Done\nBuilding dependency tree... Done\n"
    if new and not agreed:
        return Result(1, f"{text}Do you want to continue? [Y/n] Abort.\n")
    if unknown := packages.add(who.machine, wanted):
        return Result(100, text, "".join(f"E: Unable to locate package {one}\n" for one in unknown))
    return Result(0, f"{text}0 upgraded, {len(new)} newly installed, 0 to remove and 0 not upgraded.\n")


def _apt_mark(_who: Who, words: Words) -> Result:
    return Result(0, "".join(f"{one} set on {words[0]}.\n" for one in words[1:]))


COMMANDS: dict[str, Command] = {
    "dpkg-query": _dpkg_query,
    "dpkg": _dpkg,
    "apt-get": _apt_get,
    "apt": _apt_get,
    "apt-mark": _apt_mark,
}
