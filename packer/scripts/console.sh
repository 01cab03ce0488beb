#!/bin/sh
# The serial console comes last, so it is the one that the system speaks on: all that a cloud shows of a boot.
set -eu
. "$(dirname "$0")/files.sh"

case $(wanted OCIFREE_ARCHITECTURE) in
  arm64) port=ttyAMA0 ;;
  amd64) port=ttyS0 ;;
  *) echo "OCIFREE_ARCHITECTURE is $OCIFREE_ARCHITECTURE, not amd64 or arm64" >&2; exit 64 ;;
esac
put /etc/default/grub.d/90-ocifree.cfg <<EOF
GRUB_CMDLINE_LINUX="console=tty0 console=$port,115200"
GRUB_CMDLINE_LINUX_DEFAULT=""
GRUB_TERMINAL="console"
GRUB_TIMEOUT=2
EOF
if [ "$changed" = yes ]; then
  update-grub
fi
