#!/bin/sh
# Writes what is installed, for the record of the build. The image does not keep it.
set -eu
. "$(dirname "$0")/files.sh"

# shellcheck disable=SC2016  # dpkg-query fills this in, not the shell
dpkg-query -W -f='${db:Status-Status} ${Package}\t${Version}\t${Architecture}\t${Maintainer}\n' |
  sed -n 's/^installed //p' >"$root/tmp/ocifree-packages.tsv"
chmod 0644 "$root/tmp/ocifree-packages.tsv"
