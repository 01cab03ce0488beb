"""What a machine is told at its first boot: parsed as cloud-init would, and its scripts as their own programs would."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ocifree_pipeline.deployment.errors import Refused
from ocifree_pipeline.systems.cloud_init.render import JOIN_ENTRY, FirstBoot, render

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP+W1dHrhQS4tFEs5mqe7hxQC9oWgcIwbQDBlvbfXYkG you@example"
BOOT = FirstBoot("ampere-1", "ocifree", (KEY,), (IPv4Network("10.0.0.0/16"),))


def rendered(boot: FirstBoot) -> dict[str, Any]:
    text = render(boot)
    assert text.startswith("#cloud-config\n")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def files(boot: FirstBoot) -> dict[str, str]:
    return {one["path"]: one["content"] for one in rendered(boot)["write_files"]}


def test_keys_only_and_nothing_that_proxmox_or_ceph_would_suffer_from() -> None:
    found = rendered(BOOT)
    assert found["ssh_pwauth"] is False
    assert found["disable_root"] is True
    assert found["users"][0]["lock_passwd"] is True
    assert "passwd" not in str(found).replace("lock_passwd", "")
    assert found["manage_etc_hosts"] is False
    assert "growpart" not in found
    assert found["ssh"]["emit_keys_to_console"] is True
    assert "default" not in found["users"], "the image's own user is not made"
    kept = rendered(replace(BOOT, grow_root=False))
    assert kept["growpart"] == {"mode": "off"}
    assert kept["resize_rootfs"] is False


def test_the_firewall_lets_in_what_was_named() -> None:
    rules = files(replace(BOOT, public_tcp_ports=(22, 443)))["/etc/nftables.conf"]
    assert "tcp dport { 22, 443 } accept" in rules
    assert "ip saddr 10.0.0.0/16 accept" in rules
    assert "policy drop" in rules
    assert rules.count("{") == rules.count("}")


def test_updates_come_by_themselves() -> None:
    assert 'Unattended-Upgrade "1"' in files(BOOT)["/etc/apt/apt.conf.d/52ocifree"]
    assert "unattended-upgrades" in rendered(BOOT)["packages"]


def test_joining_the_tailnet_reads_the_key_and_never_holds_it() -> None:
    boot = replace(BOOT, tailnet_tags=("tag:ocifree", "tag:lab"))
    script = files(boot)["/usr/local/sbin/ocifree-join-tailnet"]
    assert f"/opc/v2/instance/metadata/{JOIN_ENTRY}" in script
    assert "--advertise-tags=tag:ocifree,tag:lab" in script
    assert subprocess.run(["sh", "-n"], input=script, text=True, check=False).returncode == 0
    assert ["/usr/local/sbin/ocifree-join-tailnet"] in rendered(boot)["runcmd"]
    assert "/usr/local/sbin/ocifree-join-tailnet" not in files(BOOT)


def test_too_many_keys_for_oracle_are_refused_before_the_launch() -> None:
    with pytest.raises(Refused, match="needs"):
        render(replace(BOOT, ssh_public_keys=tuple(f"{KEY}{number}" for number in range(300))))


@settings(deadline=None)
@given(st.text(min_size=1, max_size=80))
def test_no_value_breaks_out_of_its_place(comment: str) -> None:
    keys = (f"{KEY} {comment}",)
    assert rendered(replace(BOOT, ssh_public_keys=keys))["users"][0]["ssh_authorized_keys"] == list(keys)
