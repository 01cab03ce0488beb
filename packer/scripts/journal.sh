#!/bin/sh
# The journal is kept over restarts and never fills a small disk.
set -eu
. "$(dirname "$0")/files.sh"

put /etc/systemd/journald.conf.d/ocifree.conf <<'EOF'
[Journal]
Storage=persistent
SystemMaxUse=200M
SystemKeepFree=500M
MaxRetentionSec=1month
EOF
