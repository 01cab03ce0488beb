"""What `ceph` prints with ``--format json``, in its own shapes; and what Proxmox's API makes of it."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from ocifree_pipeline.sandbox.ceph import cluster, daemons, health, usage
from ocifree_pipeline.sandbox.ceph.site import Site

Json = dict[str, Any]
MODULES = ("alerts", "dashboard", "iostat", "nfs", "prometheus", "restful", "telemetry")


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f+0000")


def status(site: Site) -> Json:
    """`ceph -s`."""
    shared = site.shared
    mons, answering = list(shared["mons"]), daemons.quorum(site)
    osds = shared["osds"].values()
    active = daemons.managers(site)
    return {
        "fsid": shared["fsid"],
        "health": health_of(site, detail=False),
        "election_epoch": 2 * len(mons) + 2,
        "quorum": [mons.index(name) for name in answering],
        "quorum_names": answering,
        "quorum_age": int(site.now - shared["born"]),
        "monmap": {
            "epoch": len(mons),
            "min_mon_release_name": cluster.RELEASE,
            "num_mons": len(mons),
        },
        "osdmap": {
            "epoch": shared["epoch"],
            "num_osds": len(osds),
            "num_up_osds": sum(osd["up"] for osd in osds),
            "osd_up_since": int(max((osd["backAt"] for osd in osds), default=0)),
            "num_in_osds": sum(osd["in"] for osd in osds),
            "osd_in_since": int(max((osd["madeAt"] for osd in osds), default=0)),
            "num_remapped_pgs": sum("remapped" in state for state in daemons.states(site).values()),
        },
        "pgmap": _pgmap(site),
        "fsmap": {"epoch": 1, "btime": _stamp(shared["born"]), "by_rank": [], "up:standby": 0},
        "mgrmap": {
            "available": bool(active),
            "num_standbys": max(len(active) - 1, 0),
            "modules": modules(site)["enabled_modules"],
            "services": {},
        },
        "servicemap": {"epoch": 1, "modified": _stamp(shared["born"]), "services": {}},
        "progress_events": {},
    }


def health_of(site: Site, *, detail: bool) -> Json:
    """`ceph health`, or `ceph health detail`."""
    found, muted = health.checks(site), site.shared["muted"]
    return {
        "status": health.status_of(found, muted),
        "checks": {
            one.code: {
                "severity": one.severity,
                "summary": {"message": one.message, "count": one.count},
                **({"detail": [{"message": line} for line in one.detail]} if detail else {}),
                "muted": one.code in muted,
            }
            for one in found
        },
        "mutes": [
            {"code": code, "sticky": True, "summary": next((one.message for one in found if one.code == code), "")}
            for code in muted
        ],
    }


def api_status(site: Site) -> Json:
    """`/cluster/ceph/status`: with details, and with the whole map of monitors and managers."""
    found = status(site)
    active = daemons.managers(site)
    return found | {
        "health": health_of(site, detail=True),
        "monmap": found["monmap"] | {"fsid": site.shared["fsid"], "mons": mons(site)["mons"]},
        "mgrmap": found["mgrmap"]
        | {
            "active_name": active[0] if active else "",
            "standbys": [{"gid": 14100 + at, "name": name} for at, name in enumerate(active[1:])],
        },
    }


def _pgmap(site: Site) -> Json:
    states = Counter(daemons.states(site).values())
    total, used = usage.raw(site)
    pools = site.shared["pools"].values()
    missing, wanted = daemons.copies_missing(site)
    inactive = sum(count for state, count in states.items() if "active" not in state.split("+"))
    found: Json = {
        "pgs_by_state": [{"state_name": name, "count": count} for name, count in states.most_common()],
        "num_pgs": sum(states.values()),
        "num_pools": len(pools),
        "num_objects": sum(pool["objects"] for pool in pools),
        "data_bytes": sum(pool["bytes"] for pool in pools),
        "bytes_used": used,
        "bytes_avail": total - used,
        "bytes_total": total,
    }
    if inactive:
        found["inactive_pgs_ratio"] = inactive / sum(states.values())
    if missing:
        found |= {"degraded_objects": missing, "degraded_total": wanted, "degraded_ratio": missing / wanted}
    return found


def mons(site: Site) -> Json:
    """`ceph mon dump`."""
    return {
        "epoch": len(site.shared["mons"]),
        "fsid": site.shared["fsid"],
        "min_mon_release_name": cluster.RELEASE,
        "mons": [
            {
                "rank": rank,
                "name": name,
                "public_addrs": {
                    "addrvec": [
                        {"type": "v2", "addr": f"{one['address']}:3300", "nonce": 0},
                        {"type": "v1", "addr": f"{one['address']}:6789", "nonce": 0},
                    ]
                },
                "addr": f"{one['address']}:6789/0",
                "public_addr": f"{one['address']}:6789/0",
                "priority": 0,
                "weight": 0,
            }
            for rank, (name, one) in enumerate(site.shared["mons"].items())
        ],
        "quorum": status_quorum(site),
    }


def status_quorum(site: Site) -> list[int]:
    names = list(site.shared["mons"])
    return [names.index(name) for name in daemons.quorum(site)]


def mgr_dump(site: Site) -> Json:
    active = daemons.managers(site)
    return {
        "epoch": len(site.shared["mgrs"]),
        "active_name": active[0] if active else "",
        "available": bool(active),
        "standbys": [{"gid": 14100 + at, "name": name} for at, name in enumerate(active[1:])],
    }


def modules(site: Site) -> Json:
    """`ceph mgr module ls`."""
    enabled = site.shared.get("modules", ["iostat", "nfs"])
    return {
        "always_on_modules": ["balancer", "crash", "devicehealth", "pg_autoscaler", "status"],
        "enabled_modules": list(enabled),
        "disabled_modules": [{"name": one} for one in MODULES if one not in enabled],
    }


def osd_tree(site: Site) -> Json:
    osds = site.shared["osds"]
    hosts = list(dict.fromkeys(osd["host"] for osd in osds.values()))
    numbers = {host: -3 - 2 * at for at, host in enumerate(hosts)}
    nodes: list[Json] = [
        {"id": -1, "name": "default", "type": "root", "type_id": 11, "children": [numbers[host] for host in hosts]}
    ]
    for host in hosts:
        mine = [int(number) for number, osd in osds.items() if osd["host"] == host]
        nodes.append({"id": numbers[host], "name": host, "type": "host", "type_id": 1, "children": mine})
        nodes += [_osd_row(site, number) for number in mine]
    return {"nodes": nodes, "stray": []}


def _osd_row(site: Site, number: int) -> Json:
    osd = site.shared["osds"][str(number)]
    return {
        "id": number,
        "device_class": "hdd",
        "name": f"osd.{number}",
        "type": "osd",
        "type_id": 0,
        "crush_weight": osd["weight"],
        "depth": 2,
        "exists": 1,
        "status": "up" if osd["up"] else "down",
        "reweight": 1 if osd["in"] else 0,
        "primary_affinity": 1,
    }


def osd_df(site: Site) -> Json:
    homes = Counter(one for name in site.shared["groups"] for one in daemons.placed(site, name))
    rows = []
    for number, osd in site.shared["osds"].items():
        used = usage.used_on(site, number)
        rows.append(
            _osd_row(site, int(number))
            | {
                "kb": osd["bytes"] // 1024,
                "kb_used": used // 1024,
                "kb_avail": (osd["bytes"] - used) // 1024,
                "utilization": 100 * used / osd["bytes"],
                "pgs": homes[number],
            }
        )
    total, used = usage.raw(site)
    summary = {"total_kb": total // 1024, "total_kb_used": used // 1024, "total_kb_avail": (total - used) // 1024}
    return {"nodes": rows, "stray": [], "summary": summary}


def osd_dump(site: Site) -> Json:
    return {
        "epoch": site.shared["epoch"],
        "fsid": site.shared["fsid"],
        "flags": ",".join(["sortbitwise", *site.shared["flags"]]),
        "flags_set": sorted(["sortbitwise", *site.shared["flags"]]),
        "nearfull_ratio": usage.NEARFULL,
        "full_ratio": usage.FULL,
        "pools": pools(site),
        "osds": [
            {"osd": int(number), "uuid": osd["uuid"], "up": int(osd["up"]), "in": int(osd["in"])}
            for number, osd in site.shared["osds"].items()
        ],
    }


def pools(site: Site) -> list[Json]:
    """`ceph osd pool ls detail`."""
    return [
        {
            "pool_id": int(number),
            "pool_name": pool["pool_name"],
            "create_time": _stamp(pool["made"]),
            "type": 1,
            "size": pool["size"],
            "min_size": pool["min_size"],
            "crush_rule": 0,
            "pg_autoscale_mode": pool["pg_autoscale_mode"],
            "pg_num": pool["pg_num"],
            "pg_placement_num": pool["pg_num"],
            "application_metadata": {pool["application"]: {}} if pool["application"] else {},
        }
        for number, pool in site.shared["pools"].items()
    ]


def df(site: Site) -> Json:
    """`ceph df`."""
    total, used = usage.raw(site)
    return {
        "stats": {
            "total_bytes": total,
            "total_avail_bytes": total - used,
            "total_used_bytes": used,
            "total_used_raw_bytes": used,
            "num_osds": len(site.shared["osds"]),
        },
        "pools": [
            {
                "name": pool["pool_name"],
                "id": int(number),
                "stats": {
                    "stored": pool["bytes"],
                    "objects": pool["objects"],
                    "bytes_used": pool["bytes"] * pool["size"],
                    "max_avail": usage.available(site, pool["size"]),
                },
            }
            for number, pool in site.shared["pools"].items()
        ],
    }


def pg_brief(site: Site) -> Json:
    """`ceph pg dump pgs_brief`."""
    found, osds = daemons.states(site), site.shared["osds"]
    rows = []
    for name, state in found.items():
        home = [int(one) for one in daemons.placed(site, name)]
        acting = [one for one in home if osds[str(one)]["up"]]
        rows.append({"pgid": name, "state": state, "up": acting, "acting": acting})
    return {"pg_ready": True, "pg_stats": rows}
