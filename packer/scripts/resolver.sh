#!/bin/sh
# Names are asked of the network's servers only: no port is open for neighbours that ask, and none of them is believed.
set -eu
. "$(dirname "$0")/files.sh"

put /etc/systemd/resolved.conf.d/ocifree.conf <<'EOF'
[Resolve]
LLMNR=no
MulticastDNS=no
EOF
