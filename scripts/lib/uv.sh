# shellcheck shell=bash
# uv, from wherever this machine can get it.
#
# Source this file and call `ensure_uv`; afterwards `$UV` is the program. One
# on PATH is used; otherwise it is installed from PyPI into a folder of its own,
# so that no Python environment of the machine changes.
#
# Environment:
#   FLOWCELL_TOOLS   where tools are kept (${XDG_CACHE_HOME:-~/.cache}/flowcell/tools)

_uv_say() { printf '[uv] %s\n' "$*" >&2; }

# ensure_uv: sets and exports UV.
ensure_uv() {
  local home=${FLOWCELL_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/flowcell/tools}/uv
  if command -v uv >/dev/null 2>&1; then
    UV=$(command -v uv)
  elif [ -x "$home/bin/uv" ]; then
    UV=$home/bin/uv
  else
    _uv_say "installing uv into $home"
    if ! python3 -m venv "$home" >/dev/null 2>&1; then
      _uv_say "python3 -m venv does not work here (Debian: apt install python3-venv)"
      return 1
    fi
    "$home/bin/pip" install --quiet --disable-pip-version-check uv || return 1
    UV=$home/bin/uv
  fi
  export UV
}
