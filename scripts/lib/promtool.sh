# shellcheck shell=bash
# promtool, which reads alert rules and queries as Prometheus does.
#
# Source this file and call `ensure_promtool`; afterwards `$FLOWCELL_PROMTOOL` is
# the program. One that is named by that variable or is on PATH is used; otherwise
# it is taken out of Debian's package, without installing the server in it.
#
# Environment:
#   FLOWCELL_PROMTOOL   a promtool to use
#   FLOWCELL_TOOLS      where tools are kept (${XDG_CACHE_HOME:-~/.cache}/flowcell/tools)

_promtool_say() { printf '[promtool] %s\n' "$*" >&2; }

# Unpacks the program into the file $1.
_promtool_fetch() {
  local target=$1 work status=0
  work=$(mktemp -d) || return 1
  _promtool_say "fetching Debian's prometheus"
  # The archive's own user downloads, so the folder is not only ours.
  chmod 755 "$work"
  (cd "$work" && apt-get download -q prometheus) >"$work/log" 2>&1 || status=1
  if [ "$status" -eq 0 ] && dpkg-deb --extract "$work"/prometheus_*.deb "$work/unpacked"; then
    mkdir -p "$(dirname "$target")"
    install -m 0755 "$work/unpacked/usr/bin/promtool" "$target.$$" && mv -f "$target.$$" "$target"
  else
    status=1
    tail -n 5 "$work/log" >&2
    _promtool_say "could not be fetched; install Debian's package prometheus, or set FLOWCELL_PROMTOOL"
  fi
  rm -rf "$work"
  return "$status"
}

# ensure_promtool: sets and exports FLOWCELL_PROMTOOL.
ensure_promtool() {
  local cached=${FLOWCELL_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/flowcell/tools}/promtool
  if [ -z "${FLOWCELL_PROMTOOL:-}" ]; then
    FLOWCELL_PROMTOOL=$(command -v promtool) || FLOWCELL_PROMTOOL=$cached
  fi
  [ -x "$FLOWCELL_PROMTOOL" ] || _promtool_fetch "$FLOWCELL_PROMTOOL" || return 1
  export FLOWCELL_PROMTOOL
}
