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

# They listen before any network is there.
cat >/etc/systemd/system/lab-listen.service <<'EOF'
[Unit]
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target
[Service]
ExecStart=/usr/local/bin/lab-peer listen 0.0.0.0 ::
StandardInput=data
StandardInputText=allow 4444/tcp -
StandardInputText=allow 5432/tcp -
[Install]
WantedBy=sysinit.target
EOF
systemctl enable --quiet lab-listen
systemctl restart lab-listen

# An image from no registry: empty but for links into the server's /usr, which its containers see.
systemctl enable --quiet --now docker
if ! docker image inspect lab >/dev/null 2>&1; then
    image=$(mktemp -d)
    mkdir "$image/usr" "$image/etc" "$image/tmp"
    for folder in bin lib lib64; do ln -s "usr/$folder" "$image/$folder"; done
    tar -C "$image" -c . | docker import --change 'STOPSIGNAL SIGKILL' - lab >/dev/null
    rm -r "$image"
fi
# container NAME PORT,... PUBLISHED...: it echoes on the ports.
container() {
    local name=$1 ports=${2//,/ }
    shift 2
    docker inspect "$name" >/dev/null 2>&1 ||
        docker run --detach --name "$name" --restart always --volume /usr:/usr:ro "${@/#/--publish=}" \
            lab sh -c "printf 'allow %s -\n' $ports | lab-peer listen 0.0.0.0" >/dev/null
}
container web 8443/tcp 443:8443
container dashboard 9000/tcp,9400/udp 9000:9000 9100:9000 9400:9400/udp

# Whoever runs the lab comes from the gateway of Vagrant's own network.
apt-get -qq install -y --no-install-recommends /tmp/lab/palisade.deb >/dev/null
gateway=$(ip -4 route show default | sed -n '1s/.* via \([^ ]*\).*/\1/p')
sed "s/^services:/&\n  vagrant: { ports: 22\/tcp, from: $gateway }    # only in the lab/" /tmp/lab/policy.yaml \
    >/etc/palisade/policy.yaml
palisade apply
systemctl enable --quiet palisade
