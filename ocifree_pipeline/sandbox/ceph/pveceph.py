"""`pveceph`: Proxmox's own way to a Ceph cluster. Some of its commands end with 0 although they have failed."""

from dataclasses import asdict, dataclass
from typing import Any

from ocifree_pipeline.sandbox.ceph import cluster, osds, pools, reports
from ocifree_pipeline.sandbox.ceph.ceph_command import ceph
from ocifree_pipeline.sandbox.ceph.site import NotPlayed, Refused, Site
from ocifree_pipeline.sandbox.ceph.words import Parsed, parse
from ocifree_pipeline.sandbox.machines.session import Result

POOL_VALUES = ("size", "min_size", "pg_num", "pg_autoscale_mode", "application", "add_storages", "crush_rule")
REPOSITORIES = ("enterprise", "no-subscription", "test", "manual")


def pveceph(site: Site, words: tuple[str, ...]) -> Result:
    try:
        return Result(0, _run(site, words))
    except Refused as refused:
        # The worker has failed; the command that started it has not.
        lies = words[:2] in {("pool", "create"), ("createpool",)} and refused.code not in {127, 255}
        return Result(0 if lies else refused.code, err=refused.message + "\n")


def _run(site: Site, words: tuple[str, ...]) -> str:
    match words:
        case ("install", *rest):
            return _install(site, tuple(rest))
        case ("init", *rest):
            found = _options(rest, "network", "cluster-network", "size", "min_size", "pg_bits", "disable_cephx")
            if "network" not in found:
                raise NotPlayed("pveceph init without --network")
            size, least = _number(found, "size", 3, 1, 7), _number(found, "min_size", 2, 1, 7)
            cluster.init(site, found["network"], found.get("cluster-network", ""), size, least)
            return ""
        case ("mon", "create", *rest) | ("createmon", *rest):
            cluster.create_mon(site, _options(rest, "mon-address").get("mon-address", ""))
            return f"monmaptool: set fsid to {site.shared['fsid']}\ncreated the monitor {site.here}\n"
        case ("mon", "destroy", name):
            cluster.destroy_mon(site, name)
            return ""
        case ("mgr", "create", *rest) | ("createmgr", *rest):
            _options(rest)
            cluster.create_mgr(site)
            return f"creating manager directory '/var/lib/ceph/mgr/ceph-{site.here}'\n"
        case ("mgr", "destroy", name):
            cluster.destroy_mgr(site, name)
            return ""
        case ("osd", "create", path, *rest) | ("createosd", path, *rest):
            _options(rest)
            number = osds.create(site, path)
            return (
                f"create OSD on {path} (bluestore)\n--> ceph-volume lvm create successful for: {path}\nosd.{number}\n"
            )
        case ("pool", "create", name, *rest) | ("createpool", name, *rest):
            _create_pool(site, name, rest)
            return f"pool {name}: applying application = rbd\n"
        case ("pool", "destroy", name, *_):
            cluster.must_answer(site)
            pools.destroy(site, name)
            return ""
        case ("pool", "ls", *_):
            cluster.must_answer(site)
            rows = [
                f"{one['pool_name']} {one['size']} {one['min_size']} {one['pg_num']}" for one in reports.pools(site)
            ]
            return "\n".join(["Name Size Min_Size PG_Num", *rows]) + "\n"
        case ("status",):
            return ceph(site, ("-s",))
        case _:
            raise NotPlayed(f"pveceph {' '.join(words)}")


@dataclass(frozen=True, slots=True)
class Job:
    """A command that Proxmox gives to a worker: its kind and subject, and whether it tells how the worker ended."""

    kind: str
    subject: str
    args: dict[str, Any]
    tells: bool = True


def job_of(here: str, words: tuple[str, ...]) -> Job | None:
    """None for what is done at once. Refused when the options are wrong: that is noticed before a worker begins."""
    match words:
        case ("mon", "create", *rest) | ("createmon", *rest):
            address = _options(rest, "mon-address").get("mon-address", "")
            return Job("cephcreatemon", f"mon.{here}", {"address": address})
        case ("mgr", "create", *rest) | ("createmgr", *rest):
            _options(rest)
            return Job("cephcreatemgr", f"mgr.{here}", {})
        case ("osd", "create", path, *rest) | ("createosd", path, *rest):
            _options(rest)
            return Job("cephcreateosd", path.removeprefix("/dev/"), {"dev": path})
        case ("pool", "create", name, *rest) | ("createpool", name, *rest):
            found = _options(rest, *POOL_VALUES)
            args: dict[str, Any] = {
                "name": name,
                **asdict(_settings(found)),
                "add_storages": _truth(found, "add_storages"),
            }
            args["pg_autoscale_mode"] = args.pop("autoscale")
            return Job("cephcreatepool", name, args, tells=False)
        case _:
            return None


def _install(site: Site, words: tuple[str, ...]) -> str:
    found = _options(words, "repository", "version", "allow-experimental")
    if found.get("repository", "enterprise") not in REPOSITORIES:
        raise _bad("repository", f"value '{found['repository']}' does not have a value in the enumeration")
    if found.get("repository", "enterprise") == "enterprise":
        raise Refused("E: The repository for Ceph is not signed, or needs a subscription: 401  Unauthorized", 100)
    if found.get("version", cluster.RELEASE) != cluster.RELEASE:
        raise Refused(f"Ceph {found['version']} is not available for this architecture", 255)
    if not cluster.is_installed(site) and not site.typed.lower().startswith("y"):
        raise Refused("Do you want to continue? [Y/n] Abort.\napt failed during ceph installation (256)", 255)
    cluster.install(site)
    return f"installed Ceph {cluster.VERSION} {cluster.RELEASE} successfully!\n"


def _create_pool(site: Site, name: str, rest: list[str]) -> None:
    found = _options(rest, *POOL_VALUES)
    pools.create(site, name, _settings(found), storage=_truth(found, "add_storages"))


def _settings(found: dict[str, str]) -> pools.Settings:
    return pools.Settings(
        _number(found, "size", 3, 1, 7),
        _number(found, "min_size", 2, 1, 7),
        _number(found, "pg_num", 128, 1, 32768),
        found.get("pg_autoscale_mode", "warn"),
        found.get("application", "rbd"),
    )


def _options(words: list[str] | tuple[str, ...], *names: str) -> dict[str, str]:
    """Proxmox takes one hyphen or two."""
    try:
        found: Parsed = parse(words, [f"{hyphens}{name}" for name in names for hyphens in ("-", "--")])
    except Refused as refused:
        raise Refused(f"{refused.message}\n400 unable to parse option", 255) from None
    if found.rest:
        raise Refused("400 too many arguments", 255)
    return {name.lstrip("-"): value for name, value in found.values.items()}


def _number(found: dict[str, str], name: str, default: int, least: int, most: int) -> int:
    value = found.get(name, str(default))
    if not value.isdigit():
        raise _bad(name, f"type check ('integer') failed - got '{value}'")
    if not least <= int(value) <= most:
        word, bound = ("minimum", least) if int(value) < least else ("maximum", most)
        raise _bad(name, f"value must have a {word} value of {bound}")
    return int(value)


def _truth(found: dict[str, str], name: str) -> bool:
    value = found.get(name, "0")
    if value not in {"0", "1"}:
        raise _bad(name, f"type check ('boolean') failed - got '{value}'")
    return value == "1"


def _bad(name: str, why: str) -> Refused:
    return Refused(f"400 Parameter verification failed.\n{name}: {why}", 255)
