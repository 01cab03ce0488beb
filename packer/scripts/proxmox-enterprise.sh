#!/bin/sh
# The repositories that want a subscription, which packages of Proxmox bring along: switched off, not deleted, so that
# no update brings them back.
set -eu
. "$(dirname "$0")/files.sh"

for source in "$root"/etc/apt/sources.list.d/*.sources; do
  if [ -f "$source" ] && grep -q '://enterprise\.proxmox\.com/' "$source"; then
    # A stanza ends with an empty line; one that says nothing of Enabled counts as enabled.
    awk -v RS= -v ORS='\n\n' '
      !/:\/\/enterprise\.proxmox\.com\// { print; next }
      { gsub(/(^|\n)Enabled:[^\n]*/, ""); sub(/^\n/, ""); print $0 "\nEnabled: no" }
    ' "$source" | sed '$d' | put "${source#"$root"}"
  fi
done
for source in "$root"/etc/apt/sources.list.d/*.list; do
  if [ -f "$source" ] && grep -q '^deb .*://enterprise\.proxmox\.com/' "$source"; then
    sed 's|^deb \(.*://enterprise\.proxmox\.com/\)|# deb \1|' "$source" | put "${source#"$root"}"
  fi
done
