#!/bin/sh
# No notice about a missing subscription at every login. A hook of apt takes it out again after each update.
set -eu
. "$(dirname "$0")/files.sh"

put /usr/local/sbin/ocifree-without-notice 0755 <<'EOF'
#!/bin/sh
# Has the web console take any status for an active subscription. Does nothing if the file is otherwise than known.
set -eu
file=${OCIFREE_ROOT-}/usr/share/javascript/proxmox-widget-toolkit/proxmoxlib.js
asks="res.data.status.toLowerCase() !== 'active'"
if [ -f "$file" ] && grep -qF "$asks" "$file"; then
  sed -i "s/res\.data\.status\.toLowerCase() !== 'active'/false/" "$file"
fi
EOF
put /etc/apt/apt.conf.d/90-ocifree-without-notice <<'EOF'
DPkg::Post-Invoke { "/usr/local/sbin/ocifree-without-notice || true"; };
EOF
"$root/usr/local/sbin/ocifree-without-notice"
