#!/bin/sh
# Package lists, and everything at its newest, so that a fresh machine has no hole that is known already.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -q -y -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold dist-upgrade
