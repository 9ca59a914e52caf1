# shellcheck shell=bash
# moto_server, which answers as S3 does, for the tests of object storage.
#
# Source this file and call `ensure_moto`; it needs `$UV` (see uv.sh). Afterwards
# `$FLOWCELL_MOTO_SERVER` is the program.
#
# Environment:
#   FLOWCELL_MOTO_SERVER   a moto_server to use
#   FLOWCELL_TOOLS         where tools are kept (${XDG_CACHE_HOME:-~/.cache}/flowcell/tools)

MOTO_VERSION=5.2.5

# ensure_moto: sets and exports FLOWCELL_MOTO_SERVER.
ensure_moto() {
  local home=${FLOWCELL_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/flowcell/tools}/moto
  if [ -z "${FLOWCELL_MOTO_SERVER:-}" ]; then
    if [ ! -x "$home/bin/moto_server" ]; then
      printf '[moto] installing moto %s into %s\n' "$MOTO_VERSION" "$home" >&2
      "$UV" venv --quiet --clear "$home" || return 1
      "$UV" pip install --quiet --python "$home/bin/python" "moto[s3,server]==$MOTO_VERSION" || return 1
    fi
    FLOWCELL_MOTO_SERVER=$home/bin/moto_server
  fi
  export FLOWCELL_MOTO_SERVER
}
