"""What `pveceph` sets up: packages, the configuration, monitors and managers."""

import ipaddress

from ocifree_pipeline.sandbox.ceph import daemons
from ocifree_pipeline.sandbox.ceph.site import Refused, Site

CONF = "/etc/pve/ceph.conf"
RELEASE = "tentacle"
VERSION = "20.2.1"
PACKAGE_VERSION = "20.2.1-pve1"
PACKAGES = (
    "ceph", "ceph-base", "ceph-common", "ceph-fuse", "ceph-mds", "ceph-mgr", "ceph-mon", "ceph-osd", "ceph-volume",
    "gdisk", "nvme-cli",
)  # fmt: skip


def is_installed(site: Site) -> bool:
    return "ceph-mon" in site.node.packages


def install(site: Site) -> None:
    """The packages that `pveceph install` brings."""
    for package in PACKAGES:
        site.node.packages.setdefault(package, PACKAGE_VERSION)


def must_be_installed(site: Site) -> None:
    if not is_installed(site):
        raise Refused("binary not installed: /usr/bin/ceph-mon", 2)


def must_be_configured(site: Site) -> None:
    must_be_installed(site)
    if "fsid" not in site.shared:
        raise Refused(f"pveceph configuration not initialized - missing '{CONF}'", 2)


def must_answer(site: Site) -> None:
    """Everything that asks the monitors."""
    must_be_configured(site)
    if not daemons.is_answered(site):
        raise Refused("[errno 110] RADOS timed out (error connecting to the cluster)")
    daemons.settle(site)


# configuration --------------------------------------------------------------------------------------------------------


def init(site: Site, network: str, cluster_network: str = "", size: int = 3, min_size: int = 2) -> None:
    """Write the configuration. A second time only the networks are written anew."""
    if not is_installed(site):
        raise Refused("Ceph Nautilus required - please run 'pveceph install'")
    site.must_be_writable()
    for one in filter(None, (network, cluster_network)):
        try:
            ipaddress.ip_network(one, strict=False)
        except ValueError:
            raise Refused(
                f"400 Parameter verification failed.\nnetwork: invalid format - value does not look like a valid "
                f"CIDR network ({one})",
                255,
            ) from None
    if "fsid" not in site.shared:
        site.shared.update(daemons.fresh())
        site.shared.update({"fsid": site.uuid("ceph"), "size": size, "minSize": min_size, "born": site.now})
    site.shared.update(network=network, clusterNetwork=cluster_network or network)
    site.etc_pve[CONF] = conf(site)


def conf(site: Site) -> str:
    """/etc/pve/ceph.conf."""
    shared = site.shared
    lines = [
        "[global]",
        "\tauth_client_required = cephx",
        "\tauth_cluster_required = cephx",
        "\tauth_service_required = cephx",
        f"\tcluster_network = {shared['clusterNetwork']}",
        f"\tfsid = {shared['fsid']}",
        "\tmon_allow_pool_delete = true",
        f"\tmon_host = {' '.join(one['address'] for one in shared['mons'].values())}",
        f"\tosd_pool_default_min_size = {shared['minSize']}",
        f"\tosd_pool_default_size = {shared['size']}",
        f"\tpublic_network = {shared['network']}",
        "",
        "[client]",
        "\tkeyring = /etc/pve/priv/$cluster.$name.keyring",
        "",
    ]
    for name, mon in shared["mons"].items():
        lines += [f"[mon.{name}]", f"\tpublic_addr = {mon['address']}", ""]
    return "\n".join(lines)


# monitors and managers ------------------------------------------------------------------------------------------------


def create_mon(site: Site, address: str = "") -> None:
    """One on this node; with it a manager, when the node has none."""
    must_be_configured(site)
    site.must_be_writable()
    here, mons = site.here, site.shared["mons"]
    if here in mons or f"[mon.{here}]" in site.etc_pve.get(CONF, ""):
        raise Refused(f"monitor '{here}' already exists", 25)
    if mons and not daemons.is_answered(site):
        raise Refused("Could not connect to ceph cluster despite configured monitors")
    chosen = address or _own_address(site)
    if chosen not in site.node.addresses_in("0.0.0.0/0"):
        raise Refused(f"specified monitor IP '{chosen}' not configured or up on {here}")
    taken = {one["address"]: name for name, one in mons.items()}
    if chosen in taken:
        raise Refused(f"monitor address '{chosen}' already in use by '{taken[chosen]}'", 25)
    folder = f"/var/lib/ceph/mon/ceph-{here}"
    if site.node.own.get("mon"):
        raise Refused(f"monitor filesystem '{folder}' already exist")
    site.node.own["mon"] = True
    mons[here] = {"address": chosen, "made": site.now}
    site.etc_pve[CONF] = conf(site)
    site.shared["epoch"] += 1
    if not site.node.own.get("mgr"):
        create_mgr(site)


def _own_address(site: Site) -> str:
    network = site.shared["network"]
    found = site.node.addresses_in(network)
    if not found:
        raise Refused(f"No active IP found for the requested ceph public network '{network}' on node '{site.here}'")
    if len(found) > 1:
        raise Refused(
            f"Multiple IPs for ceph public network '{network}' detected on {site.here}:\n"
            + "\n".join(found)
            + "\nuse 'mon-address' to specify one of them."
        )
    return found[0]


def create_mgr(site: Site) -> None:
    must_be_configured(site)
    if site.node.own.get("mgr"):
        raise Refused(f"ceph manager directory '/var/lib/ceph/mgr/ceph-{site.here}' already exists", 25)
    if not daemons.is_answered(site):
        raise Refused("[errno 110] RADOS timed out (error connecting to the cluster)")
    site.node.own["mgr"] = True
    if site.here not in site.shared["mgrs"]:
        site.shared["mgrs"].append(site.here)


def destroy_mon(site: Site, name: str) -> None:
    """`pveceph mon destroy`, on the node of the monitor."""
    must_answer(site)
    if name not in site.shared["mons"]:
        raise Refused(f"no such monitor id '{name}'")
    if name != site.here or not site.node.own.get("mon"):
        raise Refused(f"monitor filesystem '/var/lib/ceph/mon/ceph-{name}' does not exist on this node")
    if len(site.shared["mons"]) == 1:
        raise Refused("can't remove last monitor")
    del site.shared["mons"][name]
    site.etc_pve[CONF] = conf(site)
    site.node.own.pop("mon", None)


def forget_mon(site: Site, name: str) -> str:
    """`ceph mon remove`: out of the map. What is written of it on the nodes stays."""
    mons = site.shared["mons"]
    if name not in mons:
        return f"mon.{name} does not exist or has already been removed\n"
    if len(mons) == 1:
        raise Refused(f"Error EINVAL: error: refusing removal of last monitor {name}", 22)
    address = mons.pop(name)["address"]
    site.shared["epoch"] += 1
    return f"removing mon.{name} at [v2:{address}:3300/0,v1:{address}:6789/0], there will be {len(mons)} monitors\n"


def destroy_mgr(site: Site, name: str) -> None:
    must_answer(site)
    if name not in site.shared["mgrs"] or name != site.here or not site.node.own.pop("mgr", False):
        raise Refused(f"ceph manager directory '/var/lib/ceph/mgr/ceph-{name}' not found")
    site.shared["mgrs"].remove(name)
