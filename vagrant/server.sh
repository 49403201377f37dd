#!/bin/bash
# Makes the server of the lab: a web server and a listener of its own, containers with published ports, palisade.
#
#   80, 8080        nginx                        policies/docker-host.yaml: all; nobody
#   4444            listens from early in the boot on                       nobody
#   5432            stands for a database                                   containers
#   443             container web                                           all
#   9000, 9100      container dashboard, its port 9000                      office; nobody
#   9400/udp        container dashboard                                     nobody
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive

cat >/etc/nginx/sites-available/default <<'EOF'
server {
    listen 80;
    listen [::]:80;
    listen 8080;
    listen [::]:8080;
    return 200 "nginx\n";
}
EOF
systemctl enable --quiet nginx
systemctl restart nginx

# listen PORT: systemd itself listens, before any network is there.
listen() {
    cat >"/etc/systemd/system/lab-$1.socket" <<EOF
[Unit]
DefaultDependencies=no
[Socket]
ListenStream=[::]:$1
BindIPv6Only=both
Accept=yes
MaxConnections=1000
TriggerLimitIntervalSec=0
[Install]
WantedBy=sysinit.target
EOF
    printf '[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/cat\nStandardInput=socket\n' \
        >"/etc/systemd/system/lab-$1@.service"
    systemctl enable --quiet "lab-$1.socket"
    systemctl restart "lab-$1.socket"
}
listen 4444
listen 5432

# An image of one static program, from no registry.
systemctl enable --quiet --now docker
if ! docker image inspect lab >/dev/null 2>&1; then
    image=$(mktemp -d)
    mkdir -p "$image"/{bin,etc,tmp}
    cp "$(command -v busybox)" "$image/bin/busybox"
    for applet in sh cat head nc tcpsvd udpsvd; do ln -s busybox "$image/bin/$applet"; done
    tar -C "$image" -c . | docker import --change 'STOPSIGNAL SIGKILL' - lab >/dev/null
    rm -rf "$image"
fi
docker inspect web >/dev/null 2>&1 ||
    docker run --detach --name web --restart always --publish 443:8443 lab tcpsvd :: 8443 cat >/dev/null
docker inspect dashboard >/dev/null 2>&1 ||
    docker run --detach --name dashboard --restart always --publish 9000:9000 --publish 9100:9000 --publish 9400:9400/udp \
        lab sh -c 'udpsvd 0 9400 head -c 4 & exec tcpsvd :: 9000 cat' >/dev/null

# Whoever runs the lab comes from the gateway of Vagrant's own network.
apt-get -qq install -y --no-install-recommends /tmp/lab/palisade.deb
gateway=$(ip -4 route show default | sed -n '1s/.* via \([^ ]*\).*/\1/p')
sed "s/^services:/&\n  vagrant: { ports: 22\/tcp, from: $gateway }    # only in the lab/" /tmp/lab/policy.yaml \
    >/etc/palisade/policy.yaml
palisade apply
systemctl enable --quiet palisade
