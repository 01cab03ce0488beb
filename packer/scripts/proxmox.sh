#!/bin/sh
# Proxmox VE, on Debian's kernel or on its own. Nothing of it starts here: a node that has run has keys, certificates
# and a name, and every machine from this image would have the same.
set -eu
. "$(dirname "$0")/files.sh"

case $(wanted OCIFREE_PROXMOX_KERNEL) in
  distribution) package=pve-manager ;;
  proxmox) package=proxmox-ve ;;
  *) echo "OCIFREE_PROXMOX_KERNEL is $OCIFREE_PROXMOX_KERNEL, not distribution or proxmox" >&2; exit 64 ;;
esac
for answer in 'postfix postfix/main_mailer_type select Local only' 'postfix postfix/mailname string localhost'; do
  question=$(echo "$answer" | cut -d' ' -f2)
  value=$(echo "$answer" | cut -d' ' -f4-)
  debconf-show postfix | grep -qF "$question: $value" || echo "$answer" | debconf-set-selections
done

policy=/usr/sbin/policy-rc.d
trap 'rm -f "$root$policy"' EXIT
put "$policy" 0755 <<'EOF' >/dev/null
#!/bin/sh
exit 101
EOF
need "$package" postfix open-iscsi qemu-server ifupdown2
