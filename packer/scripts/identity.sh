#!/bin/sh
# Last: what makes this machine this one. A second machine from the image makes its own.
set -eu
. "$(dirname "$0")/files.sh"

# empty PATH: without content, and there.
empty() {
  if [ ! -f "$root$1" ] || [ -s "$root$1" ]; then
    : >"$root$1"
  fi
}

if command -v cloud-init >/dev/null; then
  cloud-init clean --logs
fi
rm -rf "$root"/var/lib/cloud/instances "$root"/var/lib/cloud/instance "$root"/var/lib/cloud/data
rm -f "$root"/etc/ssh/ssh_host_*
# Empty and not "uninitialized", which has systemd set every unit back to its default on the first start.
mkdir -p "$root/etc" "$root/var/lib/dbus"
empty /etc/machine-id
if [ "$(readlink "$root/var/lib/dbus/machine-id" || true)" != /etc/machine-id ]; then
  ln -sfn /etc/machine-id "$root/var/lib/dbus/machine-id"
fi
put /etc/hostname <<'EOF'
localhost
EOF
# Stopping it writes the seed; stopped now, it does not write one on the way down.
systemctl stop systemd-random-seed.service 2>/dev/null || true
rm -f "$root/var/lib/systemd/random-seed"
systemctl stop tailscaled.service 2>/dev/null || true
rm -rf "$root"/var/lib/tailscale/*
# A node of Proxmox that has run in spite of all: its database holds its certificates and keys.
rm -f "$root"/var/lib/pve-cluster/config.db*
of_root=$root/root
rm -f "$of_root"/.ssh/authorized_keys "$of_root"/.ssh/id_* "$of_root"/.bash_history
rm -f "$root"/var/lib/dhcp/*.leases "$root"/var/lib/systemd/network/*

apt-get -q clean
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin
rm -rf "$root"/var/log/journal/* "$root"/var/log/installer
if [ -d "$root/var/log" ]; then
  find "$root/var/log" -type f \( -name '*.gz' -o -name '*.[0-9]' \) -exec rm -f {} +
  find "$root/var/log" -type f -size +0 -exec truncate -s 0 {} +
fi
