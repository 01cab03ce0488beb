"""What the SSH daemon of a guest is configured to allow. As in life, the first value that is read counts."""

from ipaddress import ip_address, ip_network

from ocifree_pipeline.sandbox.machines import files, names
from ocifree_pipeline.sandbox.machines.computer import Computer

MAIN = "/etc/ssh/sshd_config"
DROP_INS = "/etc/ssh/sshd_config.d/"
ROOTS_KEYS = f"{files.ROOTS_SSH}/authorized_keys"


def option(machine: Computer, name: str, source: str = "") -> str:
    """The value of an option for a connection from ``source``; empty when nothing is said.

    A match that applies comes before what is said for everybody, whatever the order of the files.
    """
    texts = files.texts(machine)
    paths = [*sorted(one for one in texts if one.startswith(DROP_INS) and one.endswith(".conf")), MAIN]
    found: dict[bool, str] = {}
    for path in paths:
        applies, in_match = True, False
        for line in texts.get(path, "").splitlines():
            words = line.partition("#")[0].split()
            if words[:1] and words[0].lower() == "match":
                in_match = [one.lower() for one in words[1:]] != ["all"]
                applies = _matches(words[1:], source)
            elif applies and len(words) > 1 and words[0].lower() == name.lower():
                found.setdefault(in_match, words[1])
    return found.get(True) or found.get(False, "")


def _matches(words: list[str], source: str) -> bool:
    if [one.lower() for one in words] == ["all"]:
        return True
    if len(words) != 2 or words[0].lower() != "address" or not source:
        return False
    return any(_inside(source, one) for one in words[1].split(","))


def _inside(source: str, pattern: str) -> bool:
    try:
        return ip_address(source) in ip_network(pattern, strict=False)
    except ValueError:
        return source == pattern


def permits_root(machine: Computer, source: str = "") -> bool:
    """Root may log in with a key."""
    default = "prohibit-password" if names.is_for_proxmox(machine) else "no"
    return (option(machine, "PermitRootLogin", source) or default).lower() in {
        "yes",
        "prohibit-password",
        "without-password",
    }


def roots_keys(machine: Computer, source: str = "") -> list[str]:
    """The keys that open root's account; none when root may not log in."""
    if not permits_root(machine, source):
        return []
    return [line for line in files.texts(machine).get(ROOTS_KEYS, "").splitlines() if line.strip()]
