#!/usr/bin/env bash
# Install the distribution packages that the make targets need, and those that are named, if this machine lacks them. Runs
# any number of times.
set -euo pipefail

packages=(mininet mosquitto gcc libc6-dev python3-venv iproute2 ethtool iputils-ping iputils-tracepath
  traceroute procps curl wrk shellcheck "$@")

fail() {
  echo "setup: $1" >&2
  exit 1
}

command -v dpkg-query >/dev/null ||
  fail "this is neither Debian nor Ubuntu: install ${packages[*]} by what they are called here, or use a virtual machine (vagrant up)"
missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
  [ "$status" = "install ok installed" ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null ||
    fail "there is no sudo here: as root, run apt-get update && apt-get install ${missing[*]}, then this again"
  as_root=(sudo)
fi

# Turns apt's status lines, dlstatus|pmstatus:package:percent:what it does (README.progress-reporting of apt), into a
# line for each quarter that is done.
progress() {
  local kind percent told="downloaded 0"
  while IFS=: read -r kind _ percent _; do
    case $kind in
      dlstatus) kind=downloaded ;;
      pmstatus) kind=installed ;;
      *) continue ;;
    esac
    percent=$((${percent%.*} / 25 * 25))
    [ "$kind $percent" = "$told" ] || echo "  $kind: $percent %"
    told="$kind $percent"
  done
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
  if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" 2>"$log"; then
    cat "$log" >&2
    fail "apt-get could not install ${missing[*]}: mend what it says above, then run this again"
  fi
}

echo "setup: distribution packages: ${missing[*]}"
apt update
apt -o APT::Status-Fd=1 install -y --no-install-recommends "${missing[@]}" | progress
