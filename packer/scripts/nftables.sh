#!/bin/sh
# Whoever is not expected is dropped. The first boot replaces this by the same with the networks of its deployment.
# The rules come into force with the next start: the build is connected over SSH.
set -eu
. "$(dirname "$0")/files.sh"

need nftables
put /etc/nftables.conf 0755 <<'EOF'
#!/usr/sbin/nft -f
flush ruleset
table inet ocifree {
  chain input {
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    ct state invalid drop
    iif lo accept
    iifname "tailscale0" accept
    # Oracle's own: metadata, time, the boot volume of some shapes.
    ip saddr 169.254.0.0/16 accept
    icmp type { destination-unreachable, echo-request, time-exceeded } accept
    icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, echo-request, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept
    tcp dport 22 accept
    udp dport 41641 accept
  }
}
EOF
enabled nftables.service
