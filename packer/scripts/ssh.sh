#!/bin/sh
# SSH by keys alone, never as root, with algorithms of today. Root has no password to guess on the console either.
set -eu
. "$(dirname "$0")/files.sh"

need openssh-server
# The first value counts, and the file that a first boot writes is read after this one.
put /etc/ssh/sshd_config.d/05-ocifree-image.conf <<'EOF'
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
PermitEmptyPasswords no
AuthenticationMethods publickey
MaxAuthTries 3
LoginGraceTime 30
X11Forwarding no
AllowAgentForwarding no
HostKeyAlgorithms ssh-ed25519,rsa-sha2-512,rsa-sha2-256
KexAlgorithms sntrup761x25519-sha512@openssh.com,curve25519-sha256,curve25519-sha256@libssh.org
Ciphers chacha20-poly1305@openssh.com,aes256-gcm@openssh.com,aes128-gcm@openssh.com
MACs hmac-sha2-512-etm@openssh.com,hmac-sha2-256-etm@openssh.com
EOF
# `passwd -S` answers "root L ..." for a locked password.
case $(passwd -S root 2>/dev/null) in
  'root L'*) ;;
  *) passwd -l root ;;
esac
enabled ssh.service
