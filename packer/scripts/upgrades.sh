#!/bin/sh
# Security updates every day without anybody; a restart stays somebody's decision.
set -eu
. "$(dirname "$0")/files.sh"

need unattended-upgrades
put /etc/apt/apt.conf.d/53ocifree-image <<'EOF'
APT::Periodic::Update-Package-Lists "1";
APT::Periodic::Unattended-Upgrade "1";
APT::Periodic::AutocleanInterval "7";
#clear Unattended-Upgrade::Origins-Pattern;
Unattended-Upgrade::Origins-Pattern {
  "origin=Debian,codename=${distro_codename}-security,label=Debian-Security";
};
Unattended-Upgrade::Remove-Unused-Kernel-Packages "true";
Unattended-Upgrade::Automatic-Reboot "false";
EOF
enabled apt-daily.timer apt-daily-upgrade.timer
