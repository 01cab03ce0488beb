"""Programs about the system as a whole: its kernel, its services, its clock, its power."""

import json
import re

from ocifree_pipeline.sandbox.clock import parse
from ocifree_pipeline.sandbox.machines import distributions, files, power, tampering
from ocifree_pipeline.sandbox.machines.computer import Computer
from ocifree_pipeline.sandbox.machines.session import WAIT, Command, Result, Steps, Who, Words

FLAGS = {"s": 0, "n": 1, "r": 2, "v": 3, "m": 4, "p": 4, "i": 4, "o": 5}
VERSION = "#1 SMP PREEMPT_DYNAMIC"
NOT_PLAYED = "is not played by this guest of the sandbox"
REBOOT_SECONDS = 3


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


def _cloud_init(who: Who, words: Words) -> Steps:
    if words[:1] == ("status",) and {"--wait", "-w"} & set(words):
        while cloud_init_runs(who.machine):
            yield WAIT
    done = _cloud_init_now(who, words)
    yield done
    return done.code


def _cloud_init_now(who: Who, words: Words) -> Result:
    found = who.machine.guest["cloudInit"]
    status, errors = found["status"], found["errors"]
    code = 1 if status == "error" else 0
    known = {"--wait", "-w", "--long", "-l", "--format", "json", "--format=json"}
    match words:
        case ("--version",):
            return Result(0, "/usr/bin/cloud-init 25.1.4\n")
        case ("status", *options) if set(options) <= known:
            if "json" in options or "--format=json" in options:
                shown = {
                    "boot_status_code": "enabled-by-generator",
                    "datasource": who.machine.platform,
                    "detail": errors[0] if errors else f"DataSource{who.machine.platform.title()}",
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
            return Result(2, err=f"cloud-init: {' '.join(words)!r} {NOT_PLAYED}\n")


def _nproc(who: Who, _words: Words) -> Result:
    return Result(0, f"{len(re.findall('processor', files.texts(who.machine)['/proc/cpuinfo']))}\n")


def _systemctl(who: Who, words: Words) -> Result:
    """Units are what somebody has enabled or started; one that nobody has named is not loaded."""
    named = [word.removesuffix(".service") for word in words if not word.startswith("-")]
    verb, units = (named[0], named[1:]) if named else ("", [])
    services = who.machine.guest.setdefault("services", {})
    if verb in {"enable", "disable", "start", "stop", "restart", "reload", "reboot", "mask"} and who.user != "root":
        return Result(1, err="Failed to change a unit: Interactive authentication required.\n")
    if verb in {"daemon-reload", "reset-failed"}:
        return Result(0)
    if verb == "is-system-running":
        return Result(0, "running\n")
    if verb in {"reboot", "poweroff"}:
        return _power(who, ("-r",) if verb == "reboot" else ("-P",))
    for unit in units:
        state = services.get(unit) or _first_state(who.machine, unit)
        match verb:
            case "enable" | "disable" | "mask" | "unmask":
                state["enabled"] = verb == "enable"
                if "--now" in words:
                    state["active"] = state["enabled"]
            case "start" | "restart" | "reload" | "try-restart" | "reload-or-restart":
                wrong = _started(who.machine, unit)
                state["active"] = not wrong
                if wrong:
                    services[unit] = state
                    return Result(1, err=wrong)
            case "stop":
                state["active"] = False
                _stopped(who.machine, unit)
            case "is-active" | "is-enabled" | "status":
                told = state["enabled" if verb == "is-enabled" else "active"]
                good, bad = ("enabled", "disabled") if verb == "is-enabled" else ("active", "inactive")
                said = "" if {"-q", "--quiet"} & set(words) else f"{good if told else bad}\n"
                return Result(0 if told else 3 if verb != "is-enabled" else 1, said)
            case _:
                return Result(1, err=f"systemctl: {verb!r} {NOT_PLAYED}\n")
        services[unit] = state
    return Result(0)


def _first_state(machine: Computer, unit: str) -> dict[str, bool]:
    runs = unit in {"ssh", "cron", "systemd-timesyncd"} or (unit == "chrony" and "chrony" in machine.guest["packages"])
    if "pve" in machine.guest:
        from ocifree_pipeline.sandbox.proxmox import daemons

        runs = runs or daemons.runs(machine, unit)
    return {"enabled": runs, "active": runs}


def _started(machine: Computer, unit: str) -> str:
    """What goes wrong when a unit is started."""
    if "pve" in machine.guest:
        from ocifree_pipeline.sandbox.proxmox import daemons

        return daemons.restart(machine, unit)
    return ""


def _stopped(machine: Computer, unit: str) -> None:
    if "pve" in machine.guest:
        from ocifree_pipeline.sandbox.proxmox import daemons

        daemons.stop(machine, unit)


def _timedatectl(who: Who, words: Words) -> Result:
    if words[:1] in {("show",), ("status",), ()}:
        synced = "no" if abs(tampering.skew(who.machine)) > 1 else "yes"
        if "--value" in words:
            return Result(0, f"{synced}\n")
        if words[:1] == ("show",):
            return Result(0, f"Timezone=Etc/UTC\nNTP=yes\nNTPSynchronized={synced}\n")
        return Result(0, f"System clock synchronized: {synced}\n              NTP service: active\n")
    if words[:1] in {("set-ntp",), ("set-timezone",)}:
        return Result(0)
    return Result(1, err=f"timedatectl: {' '.join(words)!r} {NOT_PLAYED}\n")


def _date(who: Who, words: Words) -> Result:
    now = who.machine.world.clock.now()
    moment = now.timestamp() + tampering.skew(who.machine)
    forms = [word[1:] for word in words if word.startswith("+")]
    if forms and forms[0] in {"%s", "%s.%N", "%s%N"}:
        return Result(
            0,
            (f"{moment:.9f}" if "N" in forms[0] else f"{int(moment)}").replace(".", "" if forms[0] == "%s%N" else ".")
            + "\n",
        )
    shown = type(now).fromtimestamp(moment, now.tzinfo)
    return Result(0, shown.strftime(forms[0] if forms else "%a %b %e %H:%M:%S %Z %Y") + "\n")


def _chronyc(who: Who, words: Words) -> Result:
    skew = tampering.skew(who.machine)
    if "tracking" not in words:
        return Result(1, err=f"chronyc: {' '.join(words)!r} {NOT_PLAYED}\n")
    return Result(
        0,
        f"Reference ID    : A9FEA9FE (169.254.169.254)\nStratum         : 3\n"
        f"System time     : {abs(skew):.9f} seconds {'slow' if skew < 0 else 'fast'} of NTP time\n"
        f"Leap status     : {'Not synchronised' if abs(skew) > 1 else 'Normal'}\n",
    )


def _sysctl(who: Who, words: Words) -> Result:
    values = who.machine.guest.setdefault("sysctl", {"net.ipv4.ip_forward": "0"})
    out, err = "", ""
    rest = [word for word in words if word not in {"-w", "-q", "-e"}]
    if rest[:1] == ["--system"] or rest[:1] == ["-p"]:
        if who.user != "root":
            return Result(1, err="sysctl: permission denied\n")
        texts = files.texts(who.machine)
        paths = [path for path in sorted(texts) if path.startswith("/etc/sysctl.d/") or path == "/etc/sysctl.conf"]
        for path in rest[1:] or paths:
            for line in texts.get(path, "").splitlines():
                key, equals, value = line.partition("#")[0].partition("=")
                if equals:
                    values[key.strip().replace("/", ".")] = value.strip()
        return Result(0)
    names_only = "-n" in rest
    for word in [one for one in rest if not one.startswith("-")]:
        key, equals, value = word.partition("=")
        if equals and who.user != "root":
            err += f'sysctl: permission denied on key "{key}"\n'
        elif equals:
            values[key] = value
            out += f"{key} = {value}\n"
        elif key in values:
            out += f"{values[key]}\n" if names_only else f"{key} = {values[key]}\n"
        else:
            err += f"sysctl: cannot stat /proc/sys/{key.replace('.', '/')}: No such file or directory\n"
    return Result(1 if err else 0, out, err)


def _power(who: Who, words: Words) -> Result:
    if who.user != "root":
        return Result(1, err="Call to Reboot failed: Interactive authentication required.\n")
    off = {"-P", "-h", "--poweroff"} & set(words)
    power.shut_down(who.machine, REBOOT_SECONDS, again=not off)
    return Result(0)


def _uptime(who: Who, words: Words) -> Result:
    now = who.machine.world.clock.now()
    since = parse(who.machine.state["since"])
    if "-s" in words:
        return Result(0, since.strftime("%Y-%m-%d %H:%M:%S") + "\n")
    return Result(0, f" {now:%H:%M:%S} up {int((now - since).total_seconds() // 60)} min\n")


def _sleep(who: Who, words: Words) -> Steps:
    """Over virtual time; at once where lifecycles are immediate."""
    clock = who.machine.world.clock
    try:
        seconds = float(words[0].rstrip("s"))
    except (IndexError, ValueError):
        yield Result(1, err=f"sleep: invalid time interval {' '.join(words)!r}\n")
        return 1
    start = clock.now()
    while clock.mode != "immediate" and (clock.now() - start).total_seconds() < seconds:
        yield WAIT
    return 0


COMMANDS: dict[str, Command] = {
    "uname": _uname,
    "cloud-init": _cloud_init,
    "nproc": _nproc,
    "systemctl": _systemctl,
    "timedatectl": _timedatectl,
    "date": _date,
    "chronyc": _chronyc,
    "sysctl": _sysctl,
    "reboot": lambda who, _words: _power(who, ("-r",)),
    "poweroff": lambda who, _words: _power(who, ("-P",)),
    "shutdown": _power,
    "uptime": _uptime,
    "sleep": _sleep,
    "modprobe": lambda _who, _words: Result(0),
    "sync": lambda _who, _words: Result(0),
    "journalctl": lambda _who, _words: Result(0, "-- No entries --\n"),
    "udevadm": lambda _who, _words: Result(0),
    "true": lambda _who, _words: Result(0),
    "false": lambda _who, _words: Result(1),
    ":": lambda _who, _words: Result(0),
}
