#!/bin/sh
# A loader where a firmware looks that remembers nothing: no memory of it survives an import. debconf keeps it there
# when GRUB is updated.
set -eu
. "$(dirname "$0")/files.sh"

case $(wanted OCIFREE_ARCHITECTURE) in
  arm64) target=arm64-efi file=BOOTAA64.EFI ;;
  amd64) target=x86_64-efi file=BOOTX64.EFI ;;
  *) echo "OCIFREE_ARCHITECTURE is $OCIFREE_ARCHITECTURE, not amd64 or arm64" >&2; exit 64 ;;
esac
package=grub-efi-$OCIFREE_ARCHITECTURE
if ! debconf-show "$package" | grep -q 'grub2/force_efi_extra_removable: true'; then
  echo "$package grub2/force_efi_extra_removable boolean true" | debconf-set-selections
fi
# What the distribution put there is signed; it is left alone.
if [ ! -e "$root/boot/efi/EFI/BOOT/$file" ]; then
  grub-install --target="$target" --efi-directory=/boot/efi --removable --no-nvram
fi
