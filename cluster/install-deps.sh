#!/usr/bin/env bash
# Installs what building (`run`) or testing (`test`) needs and is not there yet. It is quiet, and touches
# neither the network nor the package database, when nothing is missing.
#
#   cluster/install-deps.sh run     native libraries to build and run the programs, python3 for the sample
#   cluster/install-deps.sh test    also etcdctl 3.4, h2load, a C compiler and .venv (etcd 3.5.1, pytest, etcd3)
#
# For Debian 12, as root or with sudo. The Swift toolchain itself is not installed here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

level=${1:-run}
packages=(git ca-certificates pkg-config librocksdb-dev libnghttp2-dev libssl-dev libsystemd-dev python3)
case $level in
run) ;;
test) packages+=(make gcc libc6-dev etcd-client nghttp2-client python3-venv) ;;
*)
    echo "usage: cluster/install-deps.sh run|test" >&2
    exit 2
    ;;
esac

die() {
    echo "install-deps: $*" >&2
    exit 1
}

command -v swift >/dev/null || die "no swift in PATH; install a Swift 6.2 or newer toolchain (https://swift.org/install) and try again"

is_installed() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "needs root to run: $* (neither root nor sudo is at hand)"
    fi
}

install_packages() {
    local missing=() package
    for package in "${packages[@]}"; do
        # git and make may come from elsewhere than a package, which is as good.
        is_installed "$package" || { [[ $package =~ ^(git|make)$ ]] && command -v "$package" >/dev/null; } ||
            missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || die "no apt-get here; install these Debian packages' equivalents: ${missing[*]}"
    echo "installing ${missing[*]}"
    # A list of some third party that cannot be fetched must not stop us: the install decides.
    as_root apt-get -qq -o Acquire::Retries=3 update || echo "apt-get update did not succeed for every source" >&2
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Acquire::Retries=3 install \
        --no-install-recommends "${missing[@]}" </dev/null >/dev/null ||
        die "apt-get could not install: ${missing[*]}"
}

# The stamp is a copy of the requirements the environment was made from; it is written last.
install_venv() {
    local requirements=Tests/EndToEnd/requirements.txt stamp=.venv/requirements.installed
    cmp -s "$requirements" "$stamp" && [ -x .venv/bin/python ] && return 0
    echo "making .venv from $requirements"
    rm -rf .venv
    /usr/bin/python3 -m venv .venv
    .venv/bin/pip install --quiet --disable-pip-version-check --retries 5 -r "$requirements" </dev/null ||
        die "pip could not install $requirements into .venv"
    cp "$requirements" "$stamp"
}

install_packages
if [ "$level" = test ]; then install_venv; fi
