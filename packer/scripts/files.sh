# shellcheck shell=sh disable=SC2034
# What every step builds on: a step says how things shall be, and touches only what is otherwise.
# OCIFREE_ROOT is a folder to work in instead of the running system; tests and chroots use it. Steps read `changed`.
root=${OCIFREE_ROOT-}
changed=no

# put PATH [MODE]: standard input becomes the file, unless it says so already. Then changed=yes.
put() {
  put_target=$root$1
  mkdir -p "${put_target%/*}"
  cat >"$put_target.ocifree-new"
  if [ -f "$put_target" ] && cmp -s "$put_target.ocifree-new" "$put_target"; then
    rm -f "$put_target.ocifree-new"
  else
    mv -f "$put_target.ocifree-new" "$put_target"
    changed=yes
    echo "  wrote $1"
  fi
  chmod "${2:-0644}" "$put_target"
}

# line PATH TEXT: the file has this line, at its end if it had it nowhere. Then changed=yes.
line() {
  if [ -f "$root$1" ] && grep -qxF -e "$2" "$root$1"; then
    return
  fi
  mkdir -p "$root${1%/*}"
  printf '%s\n' "$2" >>"$root$1"
  changed=yes
  echo "  added to $1: $2"
}

# need PACKAGE...: installs those that are missing. Answers to questions come from debconf, files of ours stay.
need() {
  need_missing=
  for need_package in "$@"; do
    # shellcheck disable=SC2016  # dpkg-query fills this in, not the shell
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$need_package" 2>/dev/null)" = installed ] ||
      need_missing="$need_missing $need_package"
  done
  [ -n "$need_missing" ] || return 0
  echo "  installing$need_missing"
  # shellcheck disable=SC2086  # a list of names
  DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
    -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold $need_missing
}

# enabled UNIT...: starts with the machine from now on. Nothing is started here: a build serves nobody.
enabled() {
  for enabled_unit in "$@"; do
    systemctl is-enabled --quiet "$enabled_unit" 2>/dev/null || systemctl enable "$enabled_unit"
  done
}

# wanted NAME: the value of a variable that a step cannot do without.
wanted() {
  eval "wanted_value=\${$1-}"
  # shellcheck disable=SC2154  # assigned by eval
  [ -n "$wanted_value" ] || {
    echo "the variable $1 is empty; the template passes it" >&2
    exit 64
  }
  printf '%s\n' "$wanted_value"
}
