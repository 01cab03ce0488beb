#!/bin/sh
# Ceph's daemons and tools. Packages by name instead of `pveceph install`, which asks and cannot be told yes.
set -eu
. "$(dirname "$0")/files.sh"

policy=/usr/sbin/policy-rc.d
trap 'rm -f "$root$policy"' EXIT
put "$policy" 0755 <<'EOF' >/dev/null
#!/bin/sh
exit 101
EOF
need ceph ceph-mon ceph-mgr ceph-osd ceph-volume ceph-common ceph-fuse ceph-mds gdisk nvme-cli
