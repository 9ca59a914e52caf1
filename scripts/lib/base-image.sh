# shellcheck shell=bash
# The operating system under our images, with or without a registry.
#
# Source this file after docker.sh and call `ensure_base_image [name]`. An image
# of that name that is already here is used as it is. Otherwise a registry gets
# a short chance; where none answers, the same Debian release is bootstrapped
# from its package archive and imported under the same name, with a label that
# says so.
#
# Environment:
#   FLOWCELL_PULL_TIMEOUT_S   seconds a registry gets (15)

_base_say() { printf '[base] %s\n' "$*" >&2; }

_base_bootstrap() {
  local name=$1 suite=$2 work
  command -v mmdebstrap >/dev/null 2>&1 || apt_install mmdebstrap || return 1
  work=$(mktemp -d)
  _base_say "bootstrapping Debian $suite (about a minute)"
  # The documentation and the package lists are of no use in a container.
  if ! mmdebstrap --quiet --variant=minbase \
    --aptopt='Acquire::Languages "none"' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$suite" "$work/root.tar" >"$work/log" 2>&1; then
    _base_say "mmdebstrap failed:"
    tail -n 20 "$work/log" >&2
    rm -rf "$work"
    return 1
  fi
  docker import \
    --change 'CMD ["/bin/bash"]' \
    --change 'LABEL flowcell.base=mmdebstrap' \
    "$work/root.tar" "$name" >/dev/null
  rm -rf "$work"
}

# ensure_base_image [name]: the image exists locally when this succeeds.
ensure_base_image() {
  local name=${1:-debian:bookworm-slim} suite
  if docker image inspect "$name" >/dev/null 2>&1; then
    return 0
  fi
  _base_say "pulling $name"
  if timeout "${FLOWCELL_PULL_TIMEOUT_S:-15}" docker pull --quiet "$name" >/dev/null 2>&1; then
    return 0
  fi
  suite=${name##*:}
  suite=${suite%-slim}
  _base_say "no registry answered for $name"
  _base_bootstrap "$name" "$suite"
}
