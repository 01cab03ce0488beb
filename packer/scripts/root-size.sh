#!/bin/sh
# The root stays as large as it is in the image; the rest of the boot volume is for Ceph's partition.
set -eu
. "$(dirname "$0")/files.sh"

put /etc/cloud/cloud.cfg.d/99-ocifree-root-size.cfg <<'EOF'
growpart: {mode: "off"}
resize_rootfs: false
EOF
