#!/bin/sh
# Runs the named steps in their order, each in a shell of its own, and says which one it is in.
set -eu
here=$(dirname "$0")
for step in "$@"; do
  echo "step $step"
  sh "$here/$step.sh" || {
    code=$?
    echo "step $step failed with code $code" >&2
    exit "$code"
  }
done
