# shellcheck shell=sh
# Sourced after files.sh by the steps that add a package repository: a key that is proved, and a deb822 source.

# keyring URL PATH CHECK...: the file of URL at PATH, if CHECK succeeds on it. One that is there and passes stays.
keyring() {
  # shellcheck disable=SC2154  # files.sh knows the root
  keyring_url=$1 keyring_target=$root$2
  shift 2
  if [ -f "$keyring_target" ] && "$@" "$keyring_target" >/dev/null 2>&1; then
    return
  fi
  need ca-certificates curl
  mkdir -p "${keyring_target%/*}"
  curl -fsS --proto '=https,file' --proto-redir '=https' -L -o "$keyring_target.ocifree-new" "$keyring_url"
  "$@" "$keyring_target.ocifree-new" || {
    rm -f "$keyring_target.ocifree-new"
    echo "$keyring_url is not the key that was expected; nothing is installed from that repository" >&2
    exit 65
  }
  chmod 0644 "$keyring_target.ocifree-new"
  mv -f "$keyring_target.ocifree-new" "$keyring_target"
  echo "  proved $keyring_url"
}

# by_sha256 SUM FILE
by_sha256() {
  printf '%s  %s\n' "$1" "$2" | sha256sum -c --quiet -
}

# by_fingerprint FINGERPRINT FILE: the file holds one primary key, and it is this one.
by_fingerprint() {
  by_fingerprint_found=$(gpg --batch --show-keys --with-colons "$2" |
    awk -F: '$1 == "pub" { next_is = 1 } $1 == "fpr" && next_is { print $10; next_is = 0 }')
  [ "$by_fingerprint_found" = "$1" ]
}

# source_list NAME URI SUITE COMPONENT KEYRING
source_list() {
  put "/etc/apt/sources.list.d/$1.sources" <<EOF
Types: deb
URIs: $2
Suites: $3
Components: $4
Signed-By: $5
EOF
}

# codename: trixie, bookworm
codename() {
  sed -n 's/^VERSION_CODENAME=//p' "$root/etc/os-release"
}
