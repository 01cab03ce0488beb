"""The command `ceph`: JSON as the real one prints it; as plain text only what people look at."""

import json
from typing import Any

from ocifree_pipeline.sandbox.ceph import cluster, daemons, keys, osds, pools, reports
from ocifree_pipeline.sandbox.ceph.site import NotPlayed, Refused, Site
from ocifree_pipeline.sandbox.ceph.words import parse

VALUED = ("--format", "-f", "--connect-timeout", "--cluster", "--conf", "-c", "--name", "-n", "--id", "--keyring", "-o")
FLAGS = ("-s", "--status", "-v", "--version", "--yes-i-really-mean-it", "--yes-i-really-really-mean-it", "--force")


def ceph(site: Site, words: tuple[str, ...]) -> str:
    """What it prints. Refused carries what it says instead."""
    found = parse(words, VALUED, FLAGS)
    if {"-v", "--version"} & found.flags or found.rest == ("--version",):
        return f"ceph version {cluster.VERSION} ({'0' * 40}) {cluster.RELEASE} (stable)\n"
    rest = ("status",) if {"-s", "--status"} & found.flags else found.rest
    if "fsid" not in site.shared:
        raise Refused(
            "Error initializing cluster client: ObjectNotFound('RADOS object not found (error calling conf_read_file)')"
        )
    cluster.must_answer(site)
    answer = _read(site, rest)
    if answer is None:
        answer = _change(site, rest, found.flags)
    text = _shown(answer, found.values.get("--format", found.values.get("-f", "plain")))
    return _keep(site, found.values["-o"], text) if "-o" in found.values else text


def _keep(site: Site, path: str, text: str) -> str:
    """``-o``: played for the key that ceph-volume needs."""
    if path != "/var/lib/ceph/bootstrap-osd/ceph.keyring" or keys.secret(site, keys.BOOTSTRAP_OSD) not in text:
        raise NotPlayed(f"-o {path}")
    site.node.own["bootstrapKey"] = True
    return ""


def _shown(answer: Any, form: str) -> str:
    if isinstance(answer, str):
        return answer
    if form in {"json", "json-pretty"}:
        return json.dumps(answer, indent=4 if form == "json-pretty" else None) + "\n"
    return _plain(answer)


def _read(site: Site, rest: tuple[str, ...]) -> Any:
    """None when it is nothing that only reads."""
    match rest:
        case ("status",):
            return reports.status(site)
        case ("health",):
            return reports.health_of(site, detail=False)
        case ("health", "detail"):
            return reports.health_of(site, detail=True)
        case ("mon", "dump"):
            return reports.mons(site)
        case ("mon", "stat") | ("quorum_status",):
            return reports.mons(site) | {"quorum_names": daemons.quorum(site)}
        case ("mgr", "dump"):
            return reports.mgr_dump(site)
        case ("mgr", "module", "ls"):
            return reports.modules(site)
        case ("osd", "tree"):
            return reports.osd_tree(site)
        case ("osd", "df"):
            return reports.osd_df(site)
        case ("osd", "dump"):
            return reports.osd_dump(site)
        case ("osd", "ls"):
            return [int(one) for one in site.shared["osds"]]
        case ("osd", "metadata"):
            return [
                {"id": int(number), "hostname": osd["host"], "devices": osd["device"].removeprefix("/dev/")}
                for number, osd in site.shared["osds"].items()
            ]
        case ("osd", "pool", "ls"):
            return [pool["pool_name"] for pool in site.shared["pools"].values()]
        case ("osd", "pool", "ls", "detail"):
            return reports.pools(site)
        case ("osd", "ok-to-stop", *names):
            return _ok_to_stop(site, list(names))
        case ("pg", "dump", "pgs_brief"):
            return reports.pg_brief(site)
        case ("df",):
            return reports.df(site)
        case ("fsid",):
            return site.shared["fsid"] + "\n"
        case ("config", "dump"):
            return [
                {"section": who, "name": name, "value": value, "level": "advanced", "can_update_at_runtime": True}
                for who, settings in site.shared["config"].items()
                for name, value in settings.items()
            ]
        case ("config", "get", who, name):
            return site.shared["config"].get(who, {}).get(name, "") + "\n"
        case ("auth", "get", account):
            return keys.keyring(site, account)
        case ("crash", "ls"):
            return [{"crash_id": one} for one in site.shared["crashes"]]
        case _:
            return None


def _ok_to_stop(site: Site, names: list[str]) -> dict[str, Any]:
    ok, stuck = osds.may_stop(site, names)
    if not ok:
        raise Refused(f"Error EBUSY: unsafe to stop osd(s) at this time ({stuck} PGs are or would become offline)", 16)
    return {"ok_to_stop": True, "osds": [int(one.removeprefix("osd.")) for one in names], "num_not_ok_pgs": 0}


def _change(site: Site, rest: tuple[str, ...], flags: frozenset[str]) -> Any:
    shared = site.shared
    match rest:
        case ("osd", "set" | "unset" as verb, flag):
            if flag not in osds.FLAGS:
                raise Refused(f"Invalid command: {flag} not in {'|'.join(osds.FLAGS)}", 22)
            others = [one for one in shared["flags"] if one != flag]
            shared["flags"] = sorted([*others, flag]) if verb == "set" else others
            shared["epoch"] += 1
            return ""
        case ("osd", "in" | "out" as verb, *names):
            for one in names:
                osds.named(site, one).update({"in": verb == "in", "givenUp": False})
            shared["epoch"] += 1
            return ""
        case ("mon", "remove" | "rm", name):
            return cluster.forget_mon(site, name)
        case ("osd", "purge", one):
            if "--yes-i-really-mean-it" not in flags:
                raise Refused("Error EPERM: Are you SURE?  This would permanently remove the OSD.", 1)
            osds.purge(site, one)
            return ""
        case ("osd", "pool", "set", name, setting, value):
            pools.change(site, name, setting, value)
            return ""
        case ("osd", "pool", "application", "enable", name, application):
            pools.named(site, name)[1]["application"] = application
            return ""
        case ("mgr", "module", "enable" | "disable" as verb, name):
            if name not in reports.MODULES:
                raise Refused(f"Error ENOENT: all mgr daemons do not support module '{name}'", 2)
            others = [one for one in reports.modules(site)["enabled_modules"] if one != name]
            shared["modules"] = sorted([*others, name]) if verb == "enable" else others
            return ""
        case ("config", "set", who, name, value):
            shared["config"].setdefault(who, {})[name] = value
            return ""
        case ("config", "rm", who, name):
            shared["config"].get(who, {}).pop(name, None)
            return ""
        case ("health", "mute", code, *_):
            shared["muted"] = sorted({*shared["muted"], code})
            return ""
        case ("health", "unmute", *codes):
            shared["muted"] = [one for one in shared["muted"] if codes and one not in codes]
            return ""
        case ("crash", "archive-all"):
            shared["crashes"] = []
            return ""
        case _:
            raise NotPlayed(f"ceph {' '.join(rest)}")


def _plain(answer: Any) -> str:
    """As people read it: the health in one line and its reasons below."""
    found = answer.get("health", answer) if isinstance(answer, dict) else {}
    if "checks" not in found:
        raise NotPlayed("this in plain text (ask with --format json)")
    checks = found["checks"]
    lines = [f"{found['status']} {'; '.join(one['summary']['message'] for one in checks.values())}".strip()]
    for code, one in checks.items():
        if "detail" in one:
            lines.append(f"[{one['severity'].removeprefix('HEALTH_')[:3]}] {code}: {one['summary']['message']}")
            lines += [f"    {line['message']}" for line in one["detail"]]
    if "pgmap" in answer:
        states, osds = answer["pgmap"]["pgs_by_state"], answer["osdmap"]
        lines = [
            "  cluster:",
            f"    id:     {answer['fsid']}",
            f"    health: {lines[0]}",
            "  services:",
            f"    mon: {answer['monmap']['num_mons']} daemons, quorum {','.join(answer['quorum_names'])}",
            f"    osd: {osds['num_osds']} osds: {osds['num_up_osds']} up, {osds['num_in_osds']} in",
            "  data:",
            f"    pools:   {answer['pgmap']['num_pools']} pools, {answer['pgmap']['num_pgs']} pgs",
            "    pgs:     " + ", ".join(f"{one['count']} {one['state_name']}" for one in states),
        ]
    return "\n".join(lines) + "\n"
