# What the scripts beside this one share. To be sourced, not run: it goes to the repository's root and installs nothing
# until it is asked to.
# shellcheck shell=bash

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# What building and testing takes on Debian and Ubuntu.
PACKAGES=(netbase nftables iptables libnftnl-dev libmnl-dev pkg-config gcc libc6-dev make iproute2 iputils-ping conntrack
    util-linux python3 git ca-certificates)

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
    quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}"
}

# Whether there is a cargo, and it is new enough for this project.
has_cargo() {
    local needed=$1 found
    found=$(cargo --version 2>/dev/null | cut -d ' ' -f 2) && [ -n "$found" ] &&
        [ "$(printf '%s\n' "$needed" "${found%%-*}" | sort -V | head -n 1)" = "$needed" ]
}

# Sees to a Rust toolchain as new as Cargo.toml says, formatter and linter included.
install_rust() {
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

# Puts the container engines that the tests drive into target/engines/SUITE: unpacked, never installed, so that no
# package starts a daemon on this machine, and the versions are the same whatever the machine runs.
install_engines() {
    install_packages iptables conntrack debian-archive-keyring
    unpack bookworm docker.io containerd runc podman conmon netavark aardvark-dns golang-github-containers-common \
        golang-github-containers-image libgpgme11 libassuan0 libsubid4 libyajl2 libseccomp2 libdevmapper1.02.1 ufw
    unpack trixie docker.io docker-cli containerd
    unpack sid docker.io docker-cli containerd
    local backend tool
    for backend in nft legacy; do
        mkdir -p "target/engines/iptables-$backend"
        for tool in {ip,ip6}tables{,-save,-restore}; do
            ln -sf "/usr/sbin/${tool%%tables*}tables-$backend${tool#*tables}" "target/engines/iptables-$backend/$tool"
        done
    done
}

# Where this machine's apt has Debian from; nothing where it has none.
debian_mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1
}

# Puts the trees of the machines that the tests boot into target/boot/SUITE: Debian 12 and 13, each with systemd and sshd,
# with what the package depends on, and with nft to look at what is loaded.
install_machines() {
    install_packages systemd-container mmdebstrap debian-archive-keyring dpkg-dev
    local suite mirror packages=systemd,systemd-sysv,dbus,openssh-server,iproute2,nftables,netbase,libmnl0,libgcc-s1
    mirror=$(debian_mirror)
    for suite in bookworm trixie; do
        [ "$(cat "target/boot/$suite.packages" 2>/dev/null)" != "$packages" ] || continue
        note "Unpacking a machine of $suite ..."
        rm -rf "target/boot/$suite" "target/boot/$suite.packages"
        mkdir -p target/boot
        # Without a mirror named it takes Debian's own.
        quietly mmdebstrap --mode=root --variant=minbase --aptopt='Acquire::Languages "none"' --include="$packages" \
            "$suite" "target/boot/$suite" ${mirror:+"$mirror"}
        echo "$packages" >"target/boot/$suite.packages"
    done
}

# Installs Vagrant, libvirt and an emulator, and what vagrant/box/build takes. No service of theirs is started.
install_vagrant() {
    local packages=(mmdebstrap debian-archive-keyring fdisk e2fsprogs grub-pc-bin openssh-client qemu-system-x86 qemu-utils
        ipxe-qemu vagrant vagrant-libvirt libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients dnsmasq-base iptables)
    local release sources=() policy=/usr/sbin/policy-rc.d
    dpkg-query --show "${packages[@]}" >/dev/null 2>&1 && return
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
    [ -e $policy ] || {
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod 755 $policy
        trap "rm -f $policy" EXIT
    }
    quietly apt-get "${sources[@]}" -qq update
    quietly env DEBIAN_FRONTEND=noninteractive apt-get "${sources[@]}" -qq install -y --no-install-recommends "${packages[@]}"
    rm -rf target/vm/sources
}

# unpack SUITE PACKAGE...: packages of a Debian suite into target/engines/SUITE, unless they are there already. They come
# from the mirror that this machine uses, with lists and a cache of their own: its apt does not notice.
unpack() {
    local suite=$1 folder=target/engines/$1 mirror scratch package
    shift
    [ "$(cat "$folder/.packages" 2>/dev/null)" = "$*" ] && return
    note "Unpacking $* of $suite ..."
    mirror=$(debian_mirror)
    [ -n "$mirror" ] || die "the engines are packages of Debian, and this machine's apt knows no mirror of it"
    scratch=$(mktemp -d)
    mkdir -p "$scratch"/{sources,lists/partial,cache/archives/partial,packages}
    : >"$scratch/status"
    cat >"$scratch/sources/engines.sources" <<EOF
Types: deb
URIs: $mirror
Suites: $suite
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
EOF
    cat >"$scratch/apt.conf" <<EOF
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$scratch/sources";
Dir::State::status "$scratch/status";
Dir::State::lists "$scratch/lists";
Dir::Cache "$scratch/cache";
APT::Sandbox::User "root";
EOF
    quietly env APT_CONFIG="$scratch/apt.conf" apt-get -qq update
    (cd "$scratch/packages" && quietly env APT_CONFIG="$scratch/apt.conf" apt-get -qq download "$@")
    rm -rf "$folder"
    mkdir -p "$folder"
    for package in "$scratch"/packages/*.deb; do
        quietly dpkg-deb --extract "$package" "$folder"
    done
    printf '%s\n' "$*" >"$folder/.packages"
    rm -rf "$scratch"
}

# Goes on, as root, in a fresh network namespace that vanishes with the script, with a state of palisade's own: runs the
# script again with PALISADE_OUTSIDE set. Neither the machine's rules nor what an installed palisade keeps is in reach.
enter_namespace() {
    PALISADE_OUTSIDE=$(readlink /proc/self/ns/net)
    as_root env PALISADE_OUTSIDE="$PALISADE_OUTSIDE" PALISADE="$PALISADE" TERM="${TERM:-dumb}" \
        unshare --net --mount --propagation private -- "$PWD/scripts/$(basename "$0")" "$@"
}

# The first thing to do there.
begin_in_namespace() {
    [ "$(readlink /proc/self/ns/net)" != "$PALISADE_OUTSIDE" ] || die "this is not a namespace of its own"
    mkdir -p /var/lib/palisade /run/palisade
    mount -t tmpfs tmpfs /var/lib/palisade
    mount -t tmpfs tmpfs /run/palisade
    ip link set lo up
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
