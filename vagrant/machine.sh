#!/bin/bash
# What each machine of the lab gets: machine.sh NAME ADDRESS/LENGTH...
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
name=$1
shift
hostname "$name"
echo "$name" >/etc/hostname
sed -i "/^127.0.1.1 /d" /etc/hosts
echo "127.0.1.1 $name" >>/etc/hosts

# Those of the lab's own box are there already.
mapfile -t packages </tmp/lab/packages
dpkg-query --show "${packages[@]}" >/dev/null 2>&1 || {
    apt-get -qq update
    apt-get -qq install -y --no-install-recommends "${packages[@]}"
}

# The lab's network is the one that is not the default route's.
management=$(ip -4 route show default | sed -n '1s/.* dev \([^ ]*\).*/\1/p')
lab=$(ls /sys/class/net | grep -vxE "lo|docker.*|br-.*|veth.*|$management" | head -n 1)
{
    printf '[Match]\nName=%s\n[Network]\nIPv6AcceptRA=no\n' "$lab"
    printf 'Address=%s\n' "$@"
} >/etc/systemd/network/05-lab.network
networkctl reload
networkctl reconfigure "$lab"
install -m 755 /tmp/lab/peer.py /usr/local/bin/lab-peer
