"""The provisioning steps on a scratch root: what they leave and refuse, and that a second run changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ocifree_pipeline_tests.systems.packer.provisioned import FINGERPRINT, SCRIPTS, Debian
from ocifree_pipeline_tests.test_packer_templates import BUILDS, SOURCED, steps

STEPS = sorted(path.stem for path in SCRIPTS.glob("*.sh") if path.stem not in SOURCED)
RENEWED = (
    "apt-get -q update",
    "apt-get -q -y -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold dist-upgrade",
    "apt-get -q clean",
    "cloud-init clean --logs",
    "fstrim --all --verbose",
    "sync ",
)
"""What a second run does again because only the world outside can tell whether there is something to do."""


@pytest.fixture
def debian(tmp_path: Path) -> Debian:
    return Debian(tmp_path)


def furnish(debian: Debian) -> None:
    """What stands in a Debian, or comes with the packages that the stubs only pretend to install."""
    debian.put("etc/ssh/ssh_host_ed25519_key", "secret")
    debian.put("etc/machine-id", "0123456789abcdef\n")
    debian.put("etc/initramfs-tools/modules", "# modules\nvirtio_pci\n")
    debian.put("etc/network/interfaces", "auto lo\n")
    debian.put("var/log/syslog", "a line\n")
    debian.put("var/log/apt/history.log.1.gz", "old")
    debian.put("var/lib/cloud/instances/i-1/user-data.txt", "#cloud-config")
    debian.put("var/lib/systemd/random-seed", "seed")
    debian.put("var/lib/tailscale/tailscaled.state", "{}")
    debian.put("root/.ssh/authorized_keys", "ssh-ed25519 AAAA")
    debian.put(NOTICE, "if (res.data.status.toLowerCase() !== 'active') { tell(); }\n")
    debian.put("etc/apt/sources.list.d/pve-enterprise.sources", ENTERPRISE)


NOTICE = "usr/share/javascript/proxmox-widget-toolkit/proxmoxlib.js"
ENTERPRISE = """Types: deb
URIs: https://enterprise.proxmox.com/debian/pve
Suites: trixie
Components: pve-enterprise
Signed-By: /usr/share/keyrings/proxmox-archive-keyring.gpg
"""


def _twice(debian: Debian, *names: str) -> None:
    furnish(debian)
    debian.good(*names)
    debian.calls()
    first = debian.tree()
    told = debian.good(*names)
    second = debian.tree()
    for tree in (first, second):
        tree.pop("tmp/ocifree-packages.tsv", None)
    assert second == first
    assert [call for call in debian.calls() if call not in RENEWED] == []
    assert [line for line in told.splitlines() if not line.startswith("step ")] == []
    assert not [path for path in second if path.endswith(".ocifree-new")]


@pytest.mark.parametrize("step", STEPS)
def test_a_second_run_changes_nothing(debian: Debian, step: str) -> None:
    _twice(debian, step)


@pytest.mark.parametrize("build", sorted(BUILDS))
def test_a_second_run_of_everything_changes_nothing(debian: Debian, build: str) -> None:
    names = [name for name in steps(BUILDS[build]) if name not in ("identity", "compact")]
    _twice(debian, *names)


@pytest.mark.parametrize("step", ["ssh", "nftables", "upgrades", "time", "cloud-init", "journal", "kernel-settings"])
def test_what_was_changed_by_hand_is_put_right(debian: Debian, step: str) -> None:
    debian.good(step)
    meant = {path: (mode, content) for path, (mode, _, content) in debian.tree().items()}
    for path in debian.root.rglob("*ocifree*"):
        path.write_text("mine\n", "utf-8")
        path.chmod(0o600)
    debian.good(step)
    assert {path: (mode, content) for path, (mode, _, content) in debian.tree().items()} == meant


def test_a_step_that_fails_ends_the_build_and_is_named(debian: Debian) -> None:
    debian.variables["OCIFREE_ARCHITECTURE"] = "riscv64"
    done = debian.run("journal", "console", "ssh")
    assert done.returncode == 64
    assert done.stdout.splitlines()[-1] == "step console"
    assert "step console failed with code 64" in done.stderr
    assert "riscv64" in done.stderr
    assert not (debian.root / "etc/ssh").exists()


def test_a_variable_that_is_not_passed_is_named(debian: Debian) -> None:
    del debian.variables["OCIFREE_CEPH_RELEASE"]
    done = debian.run("proxmox-repositories")
    assert done.returncode != 0
    assert "OCIFREE_CEPH_RELEASE" in done.stderr


@pytest.mark.parametrize(
    ("release", "words"),
    [
        ('ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n', "debian 12, and Debian 13 was declared"),
        ('ID=ubuntu\nVERSION_ID="24.04"\n', "ubuntu"),
        ("ID=debian\nVERSION_CODENAME=forky\n", "without a release number"),
    ],
)
def test_another_system_than_the_declared_one_is_refused(tmp_path: Path, release: str, words: str) -> None:
    done = Debian(tmp_path, release).run("release", "journal")
    assert done.returncode == 65
    assert words in done.stderr
    assert "step journal" not in done.stdout


def test_proxmox_is_refused_on_an_older_debian(tmp_path: Path) -> None:
    debian = Debian(tmp_path, 'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n')
    assert "trixie (13) only" in debian.run("proxmox-repositories").stderr
    assert not (debian.root / "etc/apt").exists()


@pytest.mark.parametrize(
    ("step", "key"), [("tailscale", "trixie.noarmor.gpg"), ("proxmox-repositories", "proxmox.gpg")]
)
def test_nothing_comes_from_a_repository_with_another_key(debian: Debian, step: str, key: str) -> None:
    (debian.state / "keys" / key).write_text("B" * 40, "utf-8")
    done = debian.run(step)
    assert done.returncode == 65
    assert "is not the key that was expected" in done.stderr
    assert not list(debian.root.rglob("*keyring*.gpg*"))
    assert not list(debian.root.rglob("*.sources"))
    assert not (debian.state / "installed" / step).exists()


def test_a_key_that_was_exchanged_is_fetched_anew(debian: Debian) -> None:
    debian.good("tailscale")
    key = debian.root / "usr/share/keyrings/tailscale-archive-keyring.gpg"
    key.write_text("B" * 40, "utf-8")
    debian.good("tailscale")
    assert key.read_text("utf-8") == FINGERPRINT


def test_repositories_are_signed_by_their_own_key(debian: Debian) -> None:
    debian.good("tailscale", "proxmox-repositories")
    assert debian.text("etc/apt/sources.list.d/ceph.sources").splitlines() == [
        "Types: deb",
        "URIs: https://proxmox.example/debian/ceph-tentacle",
        "Suites: trixie",
        "Components: no-subscription",
        "Signed-By: /usr/share/keyrings/proxmox-archive-keyring.gpg",
    ]
    assert "Suites: trixie\nComponents: main\n" in debian.text("etc/apt/sources.list.d/tailscale.sources")


@pytest.mark.parametrize(("kernel", "package"), [("distribution", "pve-manager"), ("proxmox", "proxmox-ve")])
def test_the_kernel_decides_the_package(debian: Debian, kernel: str, package: str) -> None:
    debian.variables["OCIFREE_PROXMOX_KERNEL"] = kernel
    debian.good("proxmox")
    assert {"pve-manager", "proxmox-ve"} & {path.name for path in (debian.state / "installed").iterdir()} == {package}
    assert not (debian.root / "usr/sbin/policy-rc.d").exists(), "the image would never start a service it installs"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (ENTERPRISE, ENTERPRISE + "Enabled: no\n"),
        (ENTERPRISE + "Enabled: yes\n", ENTERPRISE + "Enabled: no\n"),
        ("Enabled: true\n" + ENTERPRISE, ENTERPRISE + "Enabled: no\n"),
    ],
)
def test_only_what_wants_a_subscription_is_switched_off(debian: Debian, before: str, after: str) -> None:
    other = ENTERPRISE.replace("enterprise.proxmox.com", "proxmox.example")
    debian.put("etc/apt/sources.list.d/pve-enterprise.sources", f"{before}\n{other}")
    debian.put("etc/apt/sources.list.d/other.sources", other)
    debian.put(
        "etc/apt/sources.list.d/ceph.list",
        "deb https://enterprise.proxmox.com/debian/ceph trixie enterprise\ndeb https://a.example/ trixie main\n",
    )
    debian.good("proxmox-enterprise")
    assert debian.text("etc/apt/sources.list.d/pve-enterprise.sources") == f"{after}\n{other}"
    assert debian.text("etc/apt/sources.list.d/other.sources") == other
    assert debian.text("etc/apt/sources.list.d/ceph.list").splitlines() == [
        "# deb https://enterprise.proxmox.com/debian/ceph trixie enterprise",
        "deb https://a.example/ trixie main",
    ]


def test_the_notice_goes_and_the_rest_of_the_console_stays(debian: Debian) -> None:
    debian.put(NOTICE, "a();\nif (!res || res.data.status.toLowerCase() !== 'active') { tell(); }\nb();\n")
    debian.good("proxmox-notice")
    assert debian.text(NOTICE) == "a();\nif (!res || false) { tell(); }\nb();\n"
    debian.put(NOTICE, "another version\n")
    debian.good("proxmox-notice")
    assert debian.text(NOTICE) == "another version\n"


@pytest.mark.parametrize(("architecture", "port"), [("arm64", "ttyAMA0"), ("amd64", "ttyS0")])
def test_the_serial_console_comes_last(debian: Debian, architecture: str, port: str) -> None:
    debian.variables["OCIFREE_ARCHITECTURE"] = architecture
    debian.good("console")
    line = debian.text("etc/default/grub.d/90-ocifree.cfg").splitlines()[0]
    assert line.split("console=")[-1] == f'{port},115200"'
    assert debian.calls() == ["update-grub "]


@pytest.mark.parametrize(("architecture", "name"), [("arm64", "BOOTAA64.EFI"), ("amd64", "BOOTX64.EFI")])
@pytest.mark.parametrize("there", [True, False])
def test_a_loader_that_is_there_is_left_alone(debian: Debian, architecture: str, name: str, there: bool) -> None:
    debian.variables["OCIFREE_ARCHITECTURE"] = architecture
    loader = debian.root / "boot/efi/EFI/BOOT" / name
    if there:
        debian.put(f"boot/efi/EFI/BOOT/{name}", "signed")
    debian.good("loader")
    assert loader.read_text("utf-8") == ("signed" if there else "")
    assert any(call.startswith("grub-install") for call in debian.calls()) is not there
    assert "force_efi_extra_removable: true" in (debian.state / f"debconf/grub-efi-{architecture}").read_text("utf-8")


def test_nothing_of_this_machine_is_left(debian: Debian) -> None:
    furnish(debian)
    debian.put("var/lib/pve-cluster/config.db", "certificates")
    debian.put("var/lib/apt/lists/deb_dists_trixie_InRelease", "index")
    debian.good("identity")
    tree = debian.tree()
    gone = ("ssh_host_", "random-seed", "tailscaled.state", "authorized_keys", "config.db", "InRelease", ".gz", "i-1")
    assert not [path for path in tree if any(one in path for one in gone)]
    assert tree["etc/machine-id"][2] == tree["var/log/syslog"][2] == ""
    assert tree["var/lib/dbus/machine-id"][2] == "/etc/machine-id"
    assert tree["etc/hostname"][2] == "localhost\n"


def test_what_is_installed_is_written_down(debian: Debian) -> None:
    debian.good("ssh", "nftables", "packages")
    assert debian.text("tmp/ocifree-packages.tsv") == "nftables\t1.0\tall\nopenssh-server\t1.0\tall\n"


def test_root_is_locked_once(debian: Debian) -> None:
    debian.good("ssh")
    assert "passwd -l root" in debian.calls()
    settings = dict(
        line.split(" ", 1) for line in debian.text("etc/ssh/sshd_config.d/05-ocifree-image.conf").splitlines()
    )
    asked = {"PasswordAuthentication": "no", "PermitRootLogin": "no", "KbdInteractiveAuthentication": "no"}
    assert {name: settings[name] for name in asked} == asked
    assert not [one for one in json.dumps(settings).split(",") if "sha1" in one or "cbc" in one]


def test_strangers_reach_ssh_and_nothing_else(debian: Debian) -> None:
    debian.good("nftables")
    rules = debian.text("etc/nftables.conf").splitlines()
    assert any("policy drop" in rule for rule in rules)
    assert [rule.strip() for rule in rules if "dport" in rule] == ["tcp dport 22 accept", "udp dport 41641 accept"]
