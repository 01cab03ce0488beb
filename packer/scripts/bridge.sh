#!/bin/sh
# A bridge without a port for the guests: the cloud's network takes packets from its own card's address only, so a guest
# on a bridge with that card would be heard by nobody. Address and translation are given when the deployment is known.
set -eu
. "$(dirname "$0")/files.sh"

put /etc/network/interfaces.d/ocifree-bridge <<'EOF'
auto vmbr0
iface vmbr0 inet manual
    bridge-ports none
    bridge-stp off
    bridge-fd 0
    mtu 1500
EOF
line /etc/network/interfaces 'source /etc/network/interfaces.d/*'
