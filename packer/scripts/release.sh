#!/bin/sh
# The source is the Debian that was meant; nothing else would be noticed before a package is missing.
set -eu
. "$(dirname "$0")/files.sh"

expected=$(wanted OCIFREE_DEBIAN)
found=$(sed -n 's/^VERSION_ID="\{0,1\}\([0-9]*\)"\{0,1\}$/\1/p' "$root/etc/os-release")
id=$(sed -n 's/^ID=//p' "$root/etc/os-release")
[ "$id $found" = "debian $expected" ] || {
  echo "the source is $id ${found:-without a release number}, and Debian $expected was declared" >&2
  exit 65
}
