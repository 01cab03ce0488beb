#!/bin/sh
# Tailscale from its own repository. It is installed and not joined: a key is the business of a machine, not of an image.
set -eu
. "$(dirname "$0")/files.sh"
. "$(dirname "$0")/repositories.sh"

repository=$(wanted OCIFREE_TAILSCALE_REPOSITORY)
suite=$(codename)
need gnupg
keyring "$repository/$suite.noarmor.gpg" /usr/share/keyrings/tailscale-archive-keyring.gpg \
  by_fingerprint "$(wanted OCIFREE_TAILSCALE_FINGERPRINT)"
source_list tailscale "$repository" "$suite" main /usr/share/keyrings/tailscale-archive-keyring.gpg
if [ "$changed" = yes ]; then
  apt-get -q update
fi
need tailscale
enabled tailscaled.service
