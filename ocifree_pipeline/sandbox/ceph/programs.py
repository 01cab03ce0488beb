"""Ceph's commands, by name, as functions of a site: what a node runs when somebody types them."""

from collections.abc import Callable

from ocifree_pipeline.sandbox.ceph import block_commands
from ocifree_pipeline.sandbox.ceph.ceph_command import ceph
from ocifree_pipeline.sandbox.ceph.ceph_volume import ceph_volume
from ocifree_pipeline.sandbox.ceph.pveceph import pveceph
from ocifree_pipeline.sandbox.ceph.site import Refused, Site
from ocifree_pipeline.sandbox.machines.session import Result, Words

Program = Callable[[Site, Words], Result]


def _said(run: Callable[[Site, Words], str]) -> Program:
    def program(site: Site, words: Words) -> Result:
        try:
            return Result(0, run(site, words))
        except Refused as refused:
            return Result(refused.code, err=refused.message + "\n")

    return program


def _on_node(run: Callable[..., str]) -> Program:
    return _said(lambda site, words: run(site.node, words))


PROGRAMS: dict[str, Program] = {
    "ceph": _said(ceph),
    "ceph-volume": _said(ceph_volume),
    "pveceph": pveceph,
    "sfdisk": _on_node(block_commands.sfdisk),
    "sgdisk": _on_node(block_commands.sgdisk),
    "partx": _on_node(block_commands.partx),
    "lsblk": _on_node(block_commands.lsblk),
    "lvs": _on_node(block_commands.lvs),
}
