# What the scripts beside this one share. To be sourced, not run: it goes to the repository's root and installs nothing
# until it is asked to.
# shellcheck shell=bash

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# What building and testing takes on Debian and Ubuntu.
PACKAGES=(netbase nftables iptables libnftnl-dev libmnl-dev pkg-config gcc libc6-dev make iproute2 iputils-ping conntrack
    util-linux wireguard-tools openssh-client openssh-server dnsmasq-base python3 nmap git ca-certificates
    bash-completion zsh fish graphviz)

# What building the package takes.
BUILD_PACKAGES=(libnftnl-dev libmnl-dev pkg-config gcc libc6-dev make git ca-certificates python3 dpkg-dev xz-utils)

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
else
    bold='' green='' red='' plain=''
fi

die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

note() {
    printf '%s\n' "$*" >&2
}

is_root() {
    [ "$(id -u)" = 0 ]
}

as_root() {
    if is_root; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "this needs root, and there is no sudo: $*"
    fi
}

# Runs a command silently, and shows what it said when it fails.
quietly() {
    local said
    said=$("$@" 2>&1 </dev/null) || {
        printf '%s\n' "$said" >&2
        die "this failed: $*"
    }
}

# Installs those of the packages named that are missing; touches nothing when none is.
install_packages() {
    local package missing=()
    if ! command -v dpkg-query >/dev/null; then
        note "This is neither Debian nor Ubuntu: what Debian calls ${*} must be here already."
        return
    fi
    for package; do
        [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    note "Installing ${missing[*]} ..."
    quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update
    # What Debian asks before it starts a daemon that it installs: the tests start what they need, in namespaces.
    local asked=/usr/sbin/policy-rc.d
    if [ -e "$asked" ]; then
        asked=
    else
        as_root sh -c "printf '#!/bin/sh\nexit 101\n' >$asked && chmod 755 $asked"
    fi
    quietly as_root env DEBIAN_FRONTEND=noninteractive sh -c '
        asked=$1; shift; status=0
        apt-get -qq install -y --no-install-recommends "$@" || status=$?
        [ -z "$asked" ] || rm -f "$asked"
        exit $status' sh "$asked" "${missing[@]}"
    # Debian enables sshd for the next boot, which whoever tests palisade did not ask for.
    case " ${missing[*]} " in
        *" openssh-server "*) as_root systemctl --quiet disable ssh.service ssh.socket >/dev/null 2>&1 || true ;;
    esac
}

# Whether there is a cargo, and it is new enough for this project.
has_cargo() {
    local needed=$1 found
    found=$(cargo --version 2>/dev/null | cut -d ' ' -f 2) && [ -n "$found" ] &&
        [ "$(printf '%s\n' "$needed" "${found%%-*}" | sort -V | head -n 1)" = "$needed" ]
}

# Sees to a Rust toolchain as new as Cargo.toml says.
install_cargo() {
    local needed
    needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    case ":$PATH:" in *":$HOME/.cargo/bin:"*) ;; *) PATH=$HOME/.cargo/bin:$PATH ;; esac
    if ! has_cargo "$needed"; then
        note "Installing Rust $needed or newer ..."
        if ! command -v rustup >/dev/null; then
            install_packages curl ca-certificates
            quietly sh -c "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal"
            hash -r
        fi
        quietly rustup toolchain install stable --profile minimal
        has_cargo "$needed" || export RUSTUP_TOOLCHAIN=stable
        has_cargo "$needed" || die "Rust $needed or newer is needed; see https://rustup.rs"
    fi
}

# The same, with formatter and linter.
install_rust() {
    install_cargo
    cargo fmt --version >/dev/null 2>&1 || install_component rustfmt rustfmt
    cargo clippy --version >/dev/null 2>&1 || install_component clippy rust-clippy
}

# install_component RUSTUPS_NAME DEBIANS_NAME
install_component() {
    if command -v rustup >/dev/null; then
        quietly rustup component add "$1"
    else
        install_packages "$2"
    fi
}

# The newest Docker that the tests were written for, taken where a mirror still has it.
NEWEST_DOCKER=28.5

# Puts the container engines that the tests drive into target/engines/SUITE: unpacked, never installed, so that no
# package starts a daemon on this machine, and the versions are the same whatever the machine runs.
install_engines() {
    local backend tool
    install_packages iptables conntrack debian-archive-keyring
    unpack bookworm docker.io containerd runc podman conmon netavark aardvark-dns golang-github-containers-common \
        golang-github-containers-image libgpgme11 libassuan0 libsubid4 libyajl2 libseccomp2 libdevmapper1.02.1 ufw
    unpack trixie docker.io docker-cli containerd
    unpack sid docker.io docker-cli containerd
    for backend in nft legacy; do
        mkdir -p "target/engines/iptables-$backend"
        for tool in {ip,ip6}tables{,-save,-restore}; do
            ln -sf "/usr/sbin/${tool%%tables*}tables-$backend${tool#*tables}" "target/engines/iptables-$backend/$tool"
        done
    done
    tell_engines
}

# The version of a program of a suite's unpacked packages.
version_of() {
    local libraries=target/engines/bookworm/usr/lib/$(uname -m)-linux-gnu
    LD_LIBRARY_PATH=$libraries:${libraries/usr\/} "$(find "target/engines/$1" -path "*bin/$2")" --version |
        sed -n 's/.*version \([0-9][0-9.]*[0-9]\).*/\1/p'
}

# Says which engines were unpacked.
tell_engines() {
    local newest
    newest=$(version_of sid dockerd)
    note "Docker $(version_of bookworm dockerd), $(version_of trixie dockerd) and $newest, Podman $(version_of bookworm podman)"
    case $newest in
        "$NEWEST_DOCKER".*) ;;
        *) note "Debian's sid and testing have no Docker $NEWEST_DOCKER any more: $newest takes its place." ;;
    esac
}

# The mirror of Debian that this machine uses, or else the one that debootstrap would; DEBIAN_MIRROR beats both.
debian_mirror() {
    local known=${DEBIAN_MIRROR:-}
    [ -n "$known" ] ||
        known=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' |
            head -n 1)
    if [ -z "$known" ]; then
        install_packages debootstrap
        known=$(sed -n 's/^DEF_MIRROR="\(.*\)"$/\1/p' /usr/sbin/debootstrap)
    fi
    [ -n "$known" ] || die "the engines are packages of Debian: set DEBIAN_MIRROR to the address of a mirror of it"
    printf '%s\n' "$known"
}

# persistently COMMAND...: up to three times, since mirrors have bad moments.
persistently() {
    local try
    for try in 1 2; do
        "$@" >/dev/null 2>&1 </dev/null && return
        note "Try $try of 3 failed: $*"
        sleep $((try * 5))
    done
    quietly "$@"
}

# Puts the trees of the machines that the tests boot into target/boot/SUITE: Debian 12 and 13, each with systemd and sshd,
# with what the package depends on, and with nft to look at what is loaded.
install_machines() {
    install_packages systemd-container mmdebstrap debian-archive-keyring dpkg-dev lintian man-db gnupg apt-utils
    local suite mirror packages=systemd,systemd-sysv,dbus,openssh-server,iproute2,nftables,netbase,libmnl0,libgcc-s1,python3-apt
    mirror=$(debian_mirror) || exit
    for suite in bookworm trixie; do
        [ "$(cat "target/boot/$suite.packages" 2>/dev/null)" != "$packages" ] || continue
        note "Unpacking a machine of $suite ..."
        rm -f "target/boot/$suite.packages"
        persistently unpack_machine "$suite" "$packages" "$mirror"
        echo "$packages" >"target/boot/$suite.packages"
    done
}

# Installs Vagrant, libvirt and an emulator, and what vagrant/box/build takes. No service of theirs is started.
install_vagrant() {
    local packages=(mmdebstrap debian-archive-keyring fdisk e2fsprogs grub-pc-bin openssh-client qemu-system-x86 qemu-utils
        ipxe-qemu vagrant vagrant-libvirt libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients dnsmasq-base iptables)
    local release sources=() policy=/usr/sbin/policy-rc.d
    [ "$(dpkg-query --show --showformat='${db:Status-Status}\n' "${packages[@]}" 2>&1 | sort -u)" != installed ] || return 0
    # Who has one part of qemu from backports can have the others from nowhere else.
    if [[ $(dpkg-query --show --showformat='${Version}' qemu-utils 2>/dev/null) == *~bpo* ]]; then
        release=$(. /etc/os-release && echo "$VERSION_CODENAME-backports")
        cp -r /etc/apt/sources.list.d target/vm/sources
        cat >target/vm/sources/backports.sources <<EOF
Types: deb
URIs: $(debian_mirror)
Suites: $release
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
EOF
        sources=(-o "Dir::Etc::sourceparts=$PWD/target/vm/sources")
        packages+=({qemu-system-x86,qemu-system-common,qemu-system-data,qemu-utils,seabios}/"$release")
    fi
    note "Installing Vagrant, libvirt and qemu ..."
    (
        [ -e $policy ] || {
            trap 'rm -f $policy' EXIT
            printf '#!/bin/sh\nexit 101\n' >$policy
            chmod 755 $policy
        }
        quietly apt-get "${sources[@]}" -qq update
        quietly env DEBIAN_FRONTEND=noninteractive \
            apt-get "${sources[@]}" -qq install -y --no-install-recommends "${packages[@]}"
    ) || exit
    rm -rf target/vm/sources
}

# unpack_machine SUITE PACKAGES MIRROR
unpack_machine() {
    rm -rf "target/boot/$1"
    mkdir -p target/boot
    mmdebstrap --mode=root --variant=minbase --aptopt='Acquire::Languages "none"' --include="$2" "$1" "target/boot/$1" "$3"
}

# unpack SUITE PACKAGE...: packages of a Debian suite into target/engines/SUITE, unless they are there already.
unpack() {
    unpack_into "target/engines/$1" "$@"
}

# unpack_into FOLDER SUITE PACKAGE...: packages of a Debian suite into a folder, unless they are there already. They come
# from a mirror, with lists and a cache of their own: the machine's apt does not notice. What sid has left behind may be in
# testing for some time yet. linux-image-amd64, which is empty, stands for the kernel that it depends on.
unpack_into() {
    local folder=$1 suite=$2 suites=$2 mirror scratch package
    shift 2
    [ "$(cat "$folder/.packages" 2>/dev/null)" != "$*" ] || return 0
    note "Unpacking $* of $suite ..."
    [ "$suite" != sid ] || suites="sid testing"
    mirror=$(debian_mirror) || exit
    # With what a run that was broken off has left.
    rm -rf "$folder" "$folder.new"
    scratch=$PWD/$folder.new/.apt
    mkdir -p "$scratch"/{sources,lists/partial,cache/archives/partial,packages}
    : >"$scratch/status"
    cat >"$scratch/sources/engines.sources" <<EOF
Types: deb
URIs: $mirror
Suites: $suites
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
EOF
    cat >"$scratch/preferences" <<EOF
Package: docker.io docker-cli
Pin: version $NEWEST_DOCKER.*
Pin-Priority: 1001
EOF
    cat >"$scratch/apt.conf" <<EOF
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$scratch/sources";
Dir::Etc::preferences "$scratch/preferences";
Dir::Etc::preferencesparts "/dev/null";
Dir::State::status "$scratch/status";
Dir::State::lists "$scratch/lists";
Dir::Cache "$scratch/cache";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::Retries "3";
EOF
    persistently env APT_CONFIG="$scratch/apt.conf" apt-get -qq update
    for package; do
        [ "$package" != linux-image-amd64 ] ||
            package=$(APT_CONFIG="$scratch/apt.conf" apt-cache show "$package" |
                sed -n 's/^Depends: \(linux-image-[^ ,]*\).*/\1/p' | head -n 1)
        (cd "$scratch/packages" && persistently env APT_CONFIG="$scratch/apt.conf" apt-get -qq download "$package") || exit
    done
    for package in "$scratch"/packages/*.deb; do
        quietly dpkg-deb --extract "$package" "$folder.new"
    done
    rm -rf "$scratch"
    printf '%s\n' "$*" >"$folder.new/.packages"
    mv "$folder.new" "$folder"
}

# Puts the Docker that this machine's own apt knows into target/engines/own, unless it is there already: unpacked, never
# installed, so that no daemon starts here.
unpack_own() {
    local folder=target/engines/own package packages=()
    [ ! -e "$folder/.packages" ] || return 0
    apt-cache show docker.io >/dev/null 2>&1 || quietly as_root apt-get -qq update
    for package in docker.io docker-cli containerd runc libdevmapper1.02.1 libseccomp2; do
        ! apt-cache show "$package" >/dev/null 2>&1 || packages+=("$package")
    done
    note "Unpacking ${packages[*]} ..."
    rm -rf "$folder" "$folder.new"
    mkdir -p "$folder.new/.apt"
    (cd "$folder.new/.apt" && persistently apt-get -qq download "${packages[@]}") || exit
    for package in "$folder.new/.apt"/*.deb; do
        quietly dpkg-deb --extract "$package" "$folder.new"
    done
    rm -r "$folder.new/.apt"
    printf '%s\n' "${packages[*]}" >"$folder.new/.packages"
    mv "$folder.new" "$folder"
}

# unpack_here FOLDER FILE PACKAGE...: packages that this machine's own apt knows into a folder, unless the file is there already:
# unpacked, never installed.
unpack_here() {
    local folder=$1 file=$2 package
    shift 2
    [ ! -e "$folder/$file" ] || return 0
    apt-cache show "$@" >/dev/null 2>&1 || quietly as_root apt-get -qq update
    note "Unpacking $* ..."
    rm -rf "$folder" "$folder.new"
    mkdir -p "$folder.new/.apt"
    (cd "$folder.new/.apt" && persistently apt-get -qq download "$@") || exit
    for package in "$folder.new/.apt"/*.deb; do
        quietly dpkg-deb --extract "$package" "$folder.new"
    done
    rm -r "$folder.new/.apt"
    mv "$folder.new" "$folder"
}

# Puts Hetzner's client as Debian has it into target/clients/hcloud-cli.
unpack_hcloud() {
    unpack_here target/clients/hcloud-cli usr/bin/hcloud hcloud-cli
}

# Puts promtool and node_exporter as Debian has them into target/clients/prometheus. No service of theirs is started.
unpack_prometheus() {
    unpack_here target/clients/prometheus usr/bin/prometheus-node-exporter prometheus prometheus-node-exporter
}

# Puts the Python libraries of Hetzner and of DigitalOcean into target/clients/cloud, unless they are there already. They are on
# PyPI alone, which not every machine reaches: where they can't be had, their tests are left out, and this says so.
install_cloud_libraries() {
    install_python cloud hcloud==2.27.0 pydo==0.44.0 ||
        note "The Python libraries hcloud and pydo can't be had here: the tests of what they send are left out"
}

# Puts Ansible and its linter into target/clients/ansible, and the Ansible of Debian 12 into target/clients/ansible-2.14, unless
# they are there already. They are on PyPI alone, which not every machine reaches: where they can't be had, their tests are left
# out, and this says so.
install_ansible() {
    install_python ansible 'ansible-core>=2.16,<2.22' 'ansible-lint<27' && install_python ansible-2.14 'ansible-core==2.14.*' ||
        note "Ansible can't be had here: the tests of its collection are left out"
}

# install_python NAME REQUIREMENT...: an environment of Python below target/clients, unless it is there already.
install_python() {
    local folder=target/clients/$1
    [ ! -e "$folder" ] || return 0
    rm -rf "$folder.new"
    mkdir -p "$(dirname "$folder")"
    # An environment can't be moved; it counts from its link on.
    python3 -m venv "$folder.new" >/dev/null 2>&1 && "$folder.new/bin/pip" -q install "${@:2}" >/dev/null 2>&1 &&
        ln -s "$1.new" "$folder"
}

# What ansible-test looks at.
SANITY=(ansible-doc import pep8 runtime-metadata shebang validate-modules yamllint)

# Lints the collection of ansible/ in a copy of its own: the linters want the path that collections have. ansible-test keeps its
# environments below target/clients.
lint_collection() {
    local bin scratch home status=0 tests=() test
    bin=$PWD/target/clients/ansible/bin home=$PWD/target/clients/ansible-home
    for test in "${SANITY[@]}"; do tests+=(--test "$test"); done
    [ -e "$bin" ] || return 0
    scratch=$(mktemp -d)
    mkdir -p "$scratch/ansible_collections/palisade" "$home/.ansible/test/cache"
    for test in 24_2 25_2; do cp scripts/get-pip.py "$home/.ansible/test/cache/get_pip_$test.py"; done
    cp -r ansible "$scratch/ansible_collections/palisade/palisade"
    (
        export PATH=$bin:$PATH ANSIBLE_COLLECTIONS_PATH=$scratch ANSIBLE_HOME=$scratch/home
        # Whatever fails, the next is not run.
        cd "$scratch/ansible_collections/palisade/palisade" && git init -q . && git add -A && ansible-lint --offline &&
            ansible-doc palisade.palisade.palisade palisade.palisade.palisade_info >/dev/null &&
            ansible-doc -t role palisade.palisade.palisade >/dev/null &&
            HOME=$home ansible-test sanity "${tests[@]}" --python "$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
    ) || status=$?
    rm -rf "$scratch"
    return $status
}

# Puts the ufw that this machine's own apt knows into target/engines/ufw.
unpack_ufw() {
    unpack_here target/engines/ufw usr/sbin/ufw ufw
}

# Puts the firewalld that this machine's own apt knows into target/engines/firewalld, with the libraries that it loads, unless
# it is there already: unpacked, never installed, so that no daemon starts here.
unpack_firewalld() {
    local folder=target/engines/firewalld package
    [ ! -e "$folder/usr/sbin/firewalld" ] || return 0
    apt-cache show firewalld >/dev/null 2>&1 || quietly as_root apt-get -qq update
    note "Unpacking firewalld ..."
    rm -rf "$folder" "$folder.new"
    mkdir -p "$folder.new/.apt"
    (cd "$folder.new/.apt" && persistently apt-get -qq download firewalld python3-firewall python3-nftables libnftables1 \
        python3-gi python3-dbus gir1.2-glib-2.0 libgirepository-1.0-1 libdbus-1-3 libdbus-glib-1-2 python3-cap-ng libcap-ng0) ||
        exit
    for package in "$folder.new"/.apt/*.deb; do
        quietly dpkg-deb --extract "$package" "$folder.new"
    done
    rm -r "$folder.new/.apt"
    mv "$folder.new" "$folder"
}

# Builds target/try/echo.tar, an image with one static program that echoes.
build_image() {
    mkdir -p target/try/root
    quietly rustc --edition 2024 -C target-feature=+crt-static -C strip=symbols -o target/try/root/server \
        tests/support/engine/server.rs
    tar -C target/try/root -cf target/try/echo.tar .
}

# Goes on, as root, in a fresh network namespace that vanishes with the script, with a state of palisade's own: runs the
# script again with PALISADE_OUTSIDE set. Neither the machine's rules nor what an installed palisade keeps is in reach.
enter_namespace() {
    PALISADE_OUTSIDE=$(readlink /proc/self/ns/net)
    as_root env PALISADE_OUTSIDE="$PALISADE_OUTSIDE" PALISADE="$PALISADE" PALISADE_DOCKER="${PALISADE_DOCKER:-}" \
        TERM="${TERM:-dumb}" \
        unshare --net --mount --propagation private -- "$PWD/scripts/$(basename "$0")" "$@"
}

# The first thing to do there.
begin_in_namespace() {
    [ "$(readlink /proc/self/ns/net)" != "$PALISADE_OUTSIDE" ] || die "this is not a namespace of its own"
    mkdir -p /var/lib/palisade /run/palisade
    mount -t tmpfs -o mode=700 tmpfs /var/lib/palisade
    mount -t tmpfs -o mode=700 tmpfs /run/palisade
    ip link set lo up
}

# another_namespace VARIABLE: a further network namespace. The process that holds it goes into the variable, and into `started`.
another_namespace() {
    unshare --net sleep infinity &
    started+=("$!")
    while [ "$(readlink "/proc/$!/ns/net")" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
    nsenter --net="/proc/$!/ns/net" ip link set lo up
    printf -v "$1" %s "$!"
}

# A folder that root alone can write to, as palisade wants it, with a policy in it and the files that this one names.
# Prints the copy's path.
copy_policy() {
    local policy=$1 folder=$2 file
    cp "$policy" "$folder/"
    sed -n 's/^[^#]*file: *"\{0,1\}\([^] "},#]*\).*/\1/p' "$policy" | while read -r file; do
        cp "$(dirname "$policy")/$file" "$folder/"
    done
    printf '%s/%s\n' "$folder" "$(basename "$policy")"
}
