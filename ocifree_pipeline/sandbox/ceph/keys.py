"""The keys of Ceph's accounts. They belong to the world, so nobody outside can use them."""

import base64
import hashlib

from ocifree_pipeline.sandbox.ceph.site import Refused, Site

ADMIN = "client.admin"
BOOTSTRAP_OSD = "client.bootstrap-osd"
CAPS = {
    ADMIN: {"mds": "allow *", "mgr": "allow *", "mon": "allow *", "osd": "allow *"},
    BOOTSTRAP_OSD: {"mon": "allow profile bootstrap-osd"},
}


def secret(site: Site, account: str) -> str:
    digest = hashlib.sha256(f"{site.shared['fsid']}/{account}".encode()).digest()[:28]
    return base64.b64encode(digest).decode()


def keyring(site: Site, account: str) -> str:
    """`ceph auth get`."""
    if account not in CAPS:
        raise Refused(f"Error ENOENT: failed to find {account} in keyring", 2)
    caps = "".join(f'\tcaps {who} = "{what}"\n' for who, what in CAPS[account].items())
    return f"[{account}]\n\tkey = {secret(site, account)}\n{caps}"
