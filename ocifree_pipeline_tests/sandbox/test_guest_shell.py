"""The command line of a guest, without a network: what it runs, what it refuses, what it says."""

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocifree_pipeline.sandbox.machines import cloud_init, host_keys, linux, shell
from ocifree_pipeline.sandbox.machines.machine import Machine
from ocifree_pipeline.sandbox.machines.session import Result, Who
from ocifree_pipeline.sandbox.oracle import instance_life
from ocifree_pipeline.sandbox.world import World

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIYsG5nEdCqWYD4nQxTdWjwMGSzoZ1dp+FcshvW6gi0E me"


def machine(
    directory: Path, *, user_data: str = "", shape: str = "VM.Standard.A1.Flex", system: str = "Debian"
) -> Machine:
    world = World(directory, seed=3, mode="manual")
    world.profile = {"region": "uk-london-1"}
    metadata = {"ssh_authorized_keys": KEY} | ({"user_data": user_data} if user_data else {})
    body = {
        "displayName": "Node One",
        "shape": shape,
        "shapeConfig": instance_life.shape_config(shape, 1, 6),
        "launchOptions": {"firmware": "UEFI_64"},
        "metadata": metadata,
    }
    instance = world.add("instance", body)
    volume = world.add("bootvolume", {}, hidden={"disk": {"os": system, "osVersion": "13"}})
    made = Machine(world, instance, volume)
    made.state["since"] = world.clock.stamp()
    return made


@pytest.fixture
def guest(tmp_path: Path) -> Machine:
    """A guest whose cloud-init has finished."""
    made = machine(tmp_path)
    boot(made)
    return made


def boot(made: Machine) -> None:
    linux.Linux().start(made)
    cloud_init.first_boot(made, "debian")
    cloud_init.final_stage(made, linux.run_as_root)


def run(made: Machine, line: str, user: str = "debian") -> tuple[int, str, str]:
    running, out, err = shell.run(Who(made, user), line), "", ""
    while True:
        try:
            event = next(running)
        except StopIteration as stop:
            return stop.value, out, err
        assert isinstance(event, Result)
        out, err = out + event.out, err + event.err


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("line", "code", "out"),
    [
        ("uname", 0, "Linux\n"),
        ("uname -m", 0, "aarch64\n"),
        ("uname -r", 0, "6.12.48+deb13-arm64\n"),
        ("uname -rm", 0, "6.12.48+deb13-arm64 aarch64\n"),
        ("uname -a", 0, "Linux node-one 6.12.48+deb13-arm64 #1 SMP PREEMPT_DYNAMIC aarch64 GNU/Linux\n"),
        ("hostname", 0, "node-one\n"),
        ("whoami", 0, "debian\n"),
        ("sudo whoami", 0, "root\n"),
        ("sudo -n -u debian -- id -un", 0, "debian\n"),
        ("id -u", 0, "1000\n"),
        ("id root", 0, "uid=0(root) gid=0(root) groups=0(root)\n"),
        ("nproc", 0, "1\n"),
        ("true", 0, ""),
        ("false", 1, ""),
        ("test -e /dev/kvm", 1, ""),
        ("test -e /dev/sda", 0, ""),
        ("test ! -e /dev/kvm", 0, ""),
        ("[ -f /etc/os-release ]", 0, ""),
        ("[ -d /sys/firmware/efi ]", 0, ""),
        ("test -f /etc", 1, ""),
        ("test -e /dev/kvm && echo yes || echo no", 0, "no\n"),
        ("false; echo after", 0, "after\n"),
        ("false && echo never", 1, ""),
        ("echo a  'b  c' \"d;e\"", 0, "a b  c d;e\n"),
        ("ls /dev/kvm 2>/dev/null", 2, ""),
        ("ls /dev/kvm 2>&1", 2, "ls: cannot access '/dev/kvm': No such file or directory\n"),
        ("cat /etc/hostname > /dev/null", 0, ""),
        ("sh -c 'test -e /dev/kvm || echo absent'", 0, "absent\n"),
        ("exit 7; echo never", 7, ""),
        ("cloud-init status", 0, "status: done\n"),
        ("cloud-init status --wait", 0, ".\nstatus: done\n"),
        ("/usr/bin/cloud-init --version", 0, "/usr/bin/cloud-init 25.1.4\n"),
        ("cat /home/debian/.ssh/authorized_keys", 0, f"{KEY}\n"),
        ("", 0, ""),
        ("echo one two | wc -w", 0, "2\n"),
        ("printf 'b\\na\\n' | sort | head -n 1", 0, "a\n"),
        ("echo x | sudo tee /etc/motd >/dev/null && cat /etc/motd", 0, "x\n"),
        ("echo 1 > f; echo 2 >> f; cat < f", 0, "1\n2\n"),
        (
            "sudo install -m 0600 /dev/stdin /etc/secret <<'EOF'\na $b\nEOF\nsudo stat -c '%a %U' /etc/secret",
            0,
            "600 root\n",
        ),
        ("sudo sh -c 'umask 1; echo x > /root/f' 2>/dev/null; sudo cat /root/f", 0, "x\n"),
        ("NAME=1 LC_ALL=C echo $USER ${HOME}", 0, "debian /home/debian\n"),
        ("! false && echo yes", 0, "yes\n"),
        ("echo out; ls /none 2>&1 >/dev/null | wc -l", 0, "out\n1\n"),
        ("mkdir -p a/b && test -d /home/debian/a/b && rm -r a && ls -d a", 2, ""),
        ("set -e\nfalse\necho never", 1, ""),
        ("dpkg-query -W -f='${Version}' sudo", 0, "1.9.16p2-3"),
        ("sudo apt-get install -y -q nftables >/dev/null && dpkg-query -W nftables", 0, "nftables\t1.1.3-1\n"),
        ("yes | sudo apt-get install curl >/dev/null; echo done", 0, "done\n"),
        ("sudo sysctl -w net.ipv4.ip_forward=1; sysctl -n net.ipv4.ip_forward", 0, "net.ipv4.ip_forward = 1\n1\n"),
        ("getent hosts localhost", 0, "127.0.0.1       localhost\n"),
        ("echo root:x | sudo chpasswd && sudo passwd -S root", 0, "root P 2026-01-01 0 99999 7 -1\n"),
        ("sudo hostnamectl set-hostname other && hostname", 0, "other\n"),
        ("systemctl is-active ssh", 0, "active\n"),
    ],
)
def test_commands(guest: Machine, line: str, code: int, out: str) -> None:
    assert run(guest, line)[:2] == (code, out)


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ("pvecm status", 127, "pvecm: command not found"),
        ("apt-get update", 100, "Permission denied"),
        ("cat /etc/shadow", 1, "No such file or directory"),
        ("cat /etc", 1, "Is a directory"),
        ("cat < /nothing", 1, "No such file or directory"),
        ("echo x > /etc/motd", 1, "Permission denied"),
        ("sudo echo x > /etc/motd", 1, "Permission denied"),
        ("echo x > /nowhere/file", 1, "No such file or directory"),
        ("cat <<EOF\nnever ended", 2, "here-document without its end is not played"),
        ("for i in 1 2; do echo; done", 2, "'for' is not played"),
        ("(true)", 2, "'(' is not played"),
        ("true |", 2, "syntax error near unexpected token"),
        ("echo $(uname)", 2, "command substitution is not played"),
        ("sleep 5 & true", 2, "'&' is not played"),
        ("echo 'open", 2, "No closing quotation"),
        ("&& true", 2, "syntax error near unexpected token"),
        ("uname -z", 1, "invalid option -- 'z'"),
        ("test a -lt b", 2, "not played"),
        ("cloud-init clean", 2, "is not played"),
        ("id nobody", 1, "no such user"),
    ],
)
def test_what_is_not_there_says_so(guest: Machine, line: str, code: int, says: str) -> None:
    found, out, err = run(guest, line)
    assert (found, out) == (code, "")
    assert says in err


@settings(deadline=None)
@given(line=st.text(st.characters(codec="ascii"), max_size=60) | st.text("ab '\"\\&|;<>()$`\n-/", max_size=30))
def test_no_line_can_break_the_shell(shared: Machine, line: str) -> None:
    code, _, err = run(shared, line)
    assert code == 0 or err or code in {1, 127} or "exit" in line


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    made = machine(tmp_path_factory.mktemp("guest"))
    boot(made)
    return made


@pytest.mark.parametrize(
    ("system", "ident", "user"),
    [("Debian", "debian", "debian"), ("Canonical Ubuntu", "ubuntu", "ubuntu"), ("Oracle Linux", "ol", "opc")],
)
def test_the_operating_system_is_that_of_the_image(tmp_path: Path, system: str, ident: str, user: str) -> None:
    from ocifree_pipeline.sandbox.machines import distributions

    made = machine(tmp_path, system=system)
    boot(made)
    assert f"\nID={ident}\n" in run(made, "cat /etc/os-release")[1]
    assert distributions.of(made).user == user


def status(made: Machine) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(made, "cloud-init status --format json")[1])
    return found


def test_user_data_makes_accounts_files_and_a_name(tmp_path: Path) -> None:
    config = {
        "hostname": "renamed",
        "users": ["default", {"name": "ops", "ssh_authorized_keys": [KEY]}],
        "write_files": [{"path": "/etc/motd", "content": "aGVsbG8K", "encoding": "b64"}],
        "runcmd": [["test", "-f", "/etc/motd"], "uname -m"],
    }
    made = machine(tmp_path, user_data=coded("#cloud-config\n" + json.dumps(config)))
    boot(made)
    assert run(made, "cat /etc/motd; hostname; id -u ops") == (0, "hello\nrenamed\n1001\n", "")
    assert status(made)["status"] == "done"


def test_compressed_user_data_is_read(tmp_path: Path) -> None:
    packed = gzip.compress(b"#cloud-config\nhostname: packed\n")
    made = machine(tmp_path, user_data=base64.b64encode(packed).decode())
    boot(made)
    assert run(made, "hostname")[1] == "packed\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("#cloud-config\nruncmd: [apt-get install nginx]", "runcmd failed with exit code 1:"),
        ("#cloud-config\nruncmd: [cloud-init status --wait]", "it waits for cloud-init"),
        ("#cloud-config\na: [", "Failed loading yaml blob"),
        ("#cloud-config\n- a", "must be a mapping"),
        ("#cloud-config\ndisk_setup: {}", "this guest of the sandbox has no such module"),
        ("#cloud-config\nwrite_files: [{content: x}]", "an entry has no path"),
        ("#cloud-config\nwrite_files: [{path: /a, encoding: b64, content: '*'}]", "/a cannot be decoded"),
        ("#!/bin/sh\ntrue", "only #cloud-config is played"),
        ("\udcff", "it cannot be decoded"),
    ],
)
def test_what_cloud_init_cannot_do_is_its_error(tmp_path: Path, text: str, says: str) -> None:
    made = machine(tmp_path, user_data=base64.b64encode(text.encode("utf-8", "surrogateescape")).decode())
    boot(made)
    found = status(made)
    assert found["status"] == "error"
    assert says in found["errors"][0]
    assert run(made, "cloud-init status")[0] == 1


def test_a_second_boot_changes_nothing_and_another_instance_everything(guest: Machine) -> None:
    before = json.dumps(guest.guest)
    boot(guest)
    assert json.dumps(guest.guest) == before
    key = host_keys.fingerprint(guest)
    other = guest.world.add(
        "instance", dict(guest.instance.body, id="ocid1.instance.other"), ocid="ocid1.instance.other"
    )
    moved = Machine(guest.world, other, guest.volume)
    moved.state["since"] = guest.world.clock.stamp()
    boot(moved)
    assert host_keys.fingerprint(moved) != key
    assert run(moved, "cat /var/lib/cloud/data/instance-id")[1] == "ocid1.instance.other\n"


def test_the_console_publishes_the_key_that_the_file_holds(guest: Machine) -> None:
    line = run(guest, "cat /etc/ssh/ssh_host_ed25519_key.pub")[1].strip()
    lines = host_keys.announcement(guest)
    assert line in lines
    assert any(host_keys.fingerprint(guest) in one and one.endswith("(ED25519)") for one in lines)
