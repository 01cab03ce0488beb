#!/bin/sh
# The drivers of every disk and card that a cloud or a hypervisor may offer, there before the root is found.
set -eu
. "$(dirname "$0")/files.sh"

need initramfs-tools
for module in virtio_pci virtio_scsi virtio_blk virtio_net; do
  line /etc/initramfs-tools/modules "$module"
done
if [ "$changed" = yes ]; then
  update-initramfs -u -k all
fi
