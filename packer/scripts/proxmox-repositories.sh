#!/bin/sh
# Where Proxmox VE and its Ceph come from: the repositories that need no subscription, with a key of a known digest.
set -eu
. "$(dirname "$0")/files.sh"
. "$(dirname "$0")/repositories.sh"

repository=$(wanted OCIFREE_PROXMOX_REPOSITORY)
ceph=$(wanted OCIFREE_CEPH_RELEASE)
suite=$(codename)
[ "$suite" = trixie ] || {
  echo "this is Debian $suite; Proxmox VE for arm64 exists for trixie (13) only" >&2
  exit 65
}
key=/usr/share/keyrings/proxmox-archive-keyring.gpg
keyring "$(wanted OCIFREE_PROXMOX_KEYRING)" "$key" by_sha256 "$(wanted OCIFREE_PROXMOX_KEYRING_SHA256)"
source_list proxmox "$repository/pve" "$suite" pve-no-subscription "$key"
source_list ceph "$repository/ceph-$ceph" "$suite" no-subscription "$key"
if [ "$changed" = yes ]; then
  apt-get -q update
fi
