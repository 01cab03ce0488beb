"""The health of the cluster, computed: each check looks at what runs, what is set and where copies are."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ocifree_pipeline.sandbox.ceph import daemons, usage
from ocifree_pipeline.sandbox.ceph.site import Site

MOST_SKEW = 0.05
IDEAL_GROUPS = {".mgr": 1}
IDEAL_GROUPS_ELSE = 32
FAR_OFF = 3


@dataclass(frozen=True, slots=True)
class Check:
    code: str
    message: str
    count: int
    detail: tuple[str, ...] = ()
    severity: str = "HEALTH_WARN"


def checks(site: Site) -> list[Check]:
    """All that is not well, by code."""
    found = [one for look in _LOOKS for one in look(site)]
    return sorted(found, key=lambda one: one.code)


def status_of(found: list[Check], muted: list[str]) -> str:
    severities = {one.severity for one in found if one.code not in muted}
    if "HEALTH_ERR" in severities:
        return "HEALTH_ERR"
    return "HEALTH_WARN" if severities else "HEALTH_OK"


def _monitors(site: Site) -> Iterator[Check]:
    mons, answering = site.shared["mons"], daemons.quorum(site)
    down = [name for name in mons if name not in answering]
    if down:
        lines = tuple(
            f"mon.{name} (rank {list(mons).index(name)}) addr v1:{mons[name]['address']}:6789/0 is down (out of quorum)"
            for name in down
        )
        yield Check("MON_DOWN", f"{len(down)}/{len(mons)} mons down, quorum {','.join(answering)}", len(down), lines)
    leader = answering[0]
    off = [one for one in answering[1:] if abs(site.nodes[one].skew - site.nodes[leader].skew) > MOST_SKEW]
    if off:
        lines = tuple(
            f"mon.{one} clock skew {abs(site.nodes[one].skew - site.nodes[leader].skew):.6f}s > max {MOST_SKEW}s "
            f"(latency 0.000300s)"
            for one in off
        )
        yield Check(
            "MON_CLOCK_SKEW", f"clock skew detected on {', '.join(f'mon.{one}' for one in off)}", len(off), lines
        )


def _managers(site: Site) -> Iterator[Check]:
    if site.shared["osds"] and not daemons.managers(site):
        yield Check("MGR_DOWN", "no active mgr", 0, ("no active mgr",))


def _osds(site: Site) -> Iterator[Check]:
    osds = site.shared["osds"]
    if len(osds) < site.shared["size"]:
        line = f"OSD count {len(osds)} < osd_pool_default_size {site.shared['size']}"
        yield Check("TOO_FEW_OSDS", line, site.shared["size"] - len(osds), (line,))
    # One that is out is nobody's loss any more, so only those that are in are counted as down.
    down = {number: osd for number, osd in osds.items() if not osd["up"] and osd["in"]}
    if not down:
        return
    lines = tuple(f"osd.{number} (root=default,host={osd['host']}) is down" for number, osd in down.items())
    yield Check("OSD_DOWN", f"{len(down)} osds down", len(down), lines)
    hosts = sorted({osd["host"] for osd in down.values()} - {osd["host"] for osd in osds.values() if osd["up"]})
    if hosts:
        lost = [osd for osd in down.values() if osd["host"] in hosts]
        yield Check(
            "OSD_HOST_DOWN",
            f"{len(hosts)} host{'s' if len(hosts) > 1 else ''} ({len(lost)} osds) down",
            len(hosts),
            tuple(
                f"host {host} (root=default) ({sum(o['host'] == host for o in lost)} osds) is down" for host in hosts
            ),
        )


def _flags(site: Site) -> Iterator[Check]:
    if site.shared["flags"]:
        line = f"{','.join(site.shared['flags'])} flag(s) set"
        yield Check("OSDMAP_FLAGS", line, 1, (line,))


def _groups(site: Site) -> Iterator[Check]:
    states = daemons.states(site)
    inactive = [name for name, state in states.items() if "active" not in state.split("+")]
    if inactive:
        yield Check(
            "PG_AVAILABILITY",
            f"Reduced data availability: {len(inactive)} pg{'s' if len(inactive) > 1 else ''} inactive",
            len(inactive),
            tuple(f"pg {name} is stuck inactive, current state {states[name]}" for name in inactive),
        )
    degraded = [name for name, state in states.items() if "degraded" in state.split("+")]
    undersized = [name for name, state in states.items() if "undersized" in state.split("+")]
    if degraded or undersized:
        missing, wanted = daemons.copies_missing(site)
        parts = [f"{missing}/{wanted} objects degraded ({100 * missing / wanted:.3f}%)"] if missing else []
        parts += [
            f"{len(names)} pgs {word}" for names, word in ((degraded, "degraded"), (undersized, "undersized")) if names
        ]
        yield Check(
            "PG_DEGRADED",
            "Degraded data redundancy: " + ", ".join(parts),
            len({*degraded, *undersized}),
            tuple(f"pg {name} is {states[name]}" for name in sorted({*degraded, *undersized})),
        )


def _pools(site: Site) -> Iterator[Check]:
    pools = list(site.shared["pools"].values())
    single = [pool["pool_name"] for pool in pools if pool["size"] == 1]
    if single:
        yield Check(
            "POOL_NO_REDUNDANCY",
            f"{len(single)} pool(s) have no replicas configured",
            len(single),
            tuple(f"pool '{name}' has no replicas configured" for name in single),
        )
    nameless = [pool["pool_name"] for pool in pools if not pool["application"] and pool["objects"]]
    if nameless:
        yield Check(
            "POOL_APP_NOT_ENABLED",
            f"{len(nameless)} pool(s) do not have an application enabled",
            len(nameless),
            tuple(f"application not enabled on pool '{name}'" for name in nameless),
        )
    warned = [
        (pool["pool_name"], pool["pg_num"], IDEAL_GROUPS.get(pool["pool_name"], IDEAL_GROUPS_ELSE))
        for pool in pools
        if pool["pg_autoscale_mode"] == "warn"
    ]
    yield from _off("POOL_TOO_MANY_PGS", "many", [one for one in warned if one[1] >= FAR_OFF * one[2]])
    yield from _off("POOL_TOO_FEW_PGS", "few", [one for one in warned if one[2] >= FAR_OFF * one[1]])


def _off(code: str, word: str, pools: list[tuple[str, int, int]]) -> Iterator[Check]:
    if pools:
        lines = tuple(f"Pool {name} has {now} placement groups, should have {ideal}" for name, now, ideal in pools)
        yield Check(code, f"{len(pools)} pools have too {word} placement groups", len(pools), lines)


def _space(site: Site) -> Iterator[Check]:
    shares = {number: usage.share_of(site, number) for number, osd in site.shared["osds"].items() if osd["in"]}
    full = [number for number, share in shares.items() if share >= usage.FULL]
    near = [number for number, share in shares.items() if usage.NEARFULL <= share < usage.FULL]
    if full:
        lines = tuple(f"osd.{number} is full" for number in full)
        yield Check("OSD_FULL", f"{len(full)} full osd(s)", len(full), lines, "HEALTH_ERR")
    if near:
        yield Check(
            "OSD_NEARFULL", f"{len(near)} nearfull osd(s)", len(near), tuple(f"osd.{n} is near full" for n in near)
        )


def _crashes(site: Site) -> Iterator[Check]:
    crashes = site.shared["crashes"]
    if crashes:
        lines = tuple(f"{one} crashed recently" for one in crashes)
        yield Check("RECENT_CRASH", f"{len(crashes)} daemons have recently crashed", len(crashes), lines)


_LOOKS: tuple[Callable[[Site], Iterator[Check]], ...] = (
    _monitors, _managers, _osds, _flags, _groups, _pools, _space, _crashes,
)  # fmt: skip
