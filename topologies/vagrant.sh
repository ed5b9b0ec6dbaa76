#!/usr/bin/env bash
# Provision an Ubuntu 24.04 machine with BMv2 and p4c from p4lang's own packages. Runs any number of times.
set -euo pipefail

keyring=/etc/apt/keyrings/p4lang.asc
source_list=/etc/apt/sources.list.d/p4lang.list
# shellcheck source=/dev/null
. /etc/os-release
repository="https://download.opensuse.org/repositories/home:/p4lang/xUbuntu_${VERSION_ID}"

export DEBIAN_FRONTEND=noninteractive
if [ ! -s "$keyring" ]; then
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends ca-certificates curl make >/dev/null
  install -d -m 0755 "$(dirname "$keyring")"
  curl -fsSL "$repository/Release.key" -o "$keyring.new"
  mv "$keyring.new" "$keyring"
fi
line="deb [signed-by=$keyring] $repository/ /"
if [ "$(cat "$source_list" 2>/dev/null)" != "$line" ]; then
  echo "$line" >"$source_list"
  apt-get update -qq
fi
for package in p4lang-bmv2 p4lang-p4c; do
  status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
  [ "$status" = "install ok installed" ] || apt-get install -y -qq --no-install-recommends "$package" >/dev/null
done

make -C /vagrant setup
simple_switch_grpc --version
p4c-bm2-ss --version
