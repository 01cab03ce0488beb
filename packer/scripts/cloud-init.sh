#!/bin/sh
# Where a machine learns who it is. Named, so that no time is lost on clouds that it is not in.
set -eu
. "$(dirname "$0")/files.sh"

need cloud-init cloud-guest-utils
put /etc/cloud/cloud.cfg.d/99-ocifree.cfg <<'EOF'
datasource_list: [Oracle, NoCloud, None]
# Proxmox needs its name to stand for its address, so nobody else writes /etc/hosts.
manage_etc_hosts: false
disable_root: true
ssh_pwauth: false
ssh_deletekeys: true
EOF
