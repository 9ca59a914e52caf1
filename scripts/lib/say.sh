# shellcheck shell=bash
# Progress lines that tell what happens and how long it took.

_say_started=$SECONDS

# step TEXT: what begins now, with the minutes and seconds since the script began.
step() {
  local elapsed=$((SECONDS - _say_started))
  printf '\n\033[1m[%02d:%02d] %s\033[0m\n' $((elapsed / 60)) $((elapsed % 60)) "$*"
}

# note TEXT: something to know.
note() { printf '        %s\n' "$*"; }

# die TEXT…: why this ends, and what to do.
die() {
  printf '\nerror: %s\n' "$1" >&2
  shift
  for line in "$@"; do printf '  %s\n' "$line" >&2; done
  exit 1
}
