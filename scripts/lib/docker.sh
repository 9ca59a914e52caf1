# shellcheck shell=bash
# A Docker engine that answers, whatever machine this is.
#
# Source this file and call `ensure_docker`. It leaves a running engine alone;
# otherwise it installs Debian's docker.io if there is no dockerd, starts the
# engine through the init system if there is one, and by hand if there is not
# (containers, CI sandboxes). A kernel that cannot make the default bridge gets
# an engine without one: cells have no network anyway, and builds use the host's.
#
# Environment:
#   FLOWCELL_DOCKER_WAIT_S   how long to wait for the engine to answer (60)

_docker_pid_file=/var/run/flowcell-dockerd.pid
_docker_log_file=/var/log/flowcell-dockerd.log

_docker_say() { printf '[docker] %s\n' "$*" >&2; }

_docker_answers() { timeout 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

_docker_as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null 2>&1; then
    sudo "$@"
  else
    _docker_say "this needs root: $*"
    return 1
  fi
}

# Installs Debian packages that are missing; refreshes the lists only if the first try fails.
apt_install() {
  if ! command -v apt-get >/dev/null 2>&1; then
    _docker_say "no apt-get here: install by hand: $*"
    return 1
  fi
  _docker_say "installing $*"
  local -a install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@")
  _docker_as_root "${install[@]}" >/dev/null 2>&1 && return 0
  _docker_as_root apt-get update -qq >&2
  _docker_as_root "${install[@]}" >&2
}

_docker_install() {
  local -a missing=()
  command -v dockerd >/dev/null 2>&1 || missing+=(docker.io)
  command -v iptables >/dev/null 2>&1 || missing+=(iptables)
  command -v crun >/dev/null 2>&1 || missing+=(crun)
  [ "${#missing[@]}" -eq 0 ] || apt_install "${missing[@]}"
  hash -r
  command -v docker >/dev/null 2>&1 || apt_install docker-cli
}

# The engine needs the controllers; an init system has mounted them, a bare sandbox may not have.
_docker_mount_cgroups() {
  if [ -f /sys/fs/cgroup/cgroup.controllers ] || [ -d /sys/fs/cgroup/memory ]; then
    return 0
  fi
  _docker_say "mounting cgroup v2"
  mount -t cgroup2 none /sys/fs/cgroup 2>/dev/null || _docker_say "could not mount cgroups; limits may be missing"
}

_docker_kernel_can_bridge() {
  local probe=fcprobe$$
  ip link add "$probe" type bridge 2>/dev/null || return 1
  ip link del "$probe" 2>/dev/null
  iptables -t nat -L -n >/dev/null 2>&1
}

# Starts dockerd in the background, detached from this shell; arguments are passed on.
_docker_spawn() {
  : >"$_docker_log_file"
  local -a command=(dockerd --pidfile "$_docker_pid_file")
  # crun starts a container with about a third less CPU than runc.
  if command -v crun >/dev/null 2>&1; then
    command+=(--add-runtime "crun=$(command -v crun)")
  fi
  setsid nohup "${command[@]}" "$@" >>"$_docker_log_file" 2>&1 </dev/null &
  disown
}

# True once the engine answers; false when it died or the time is over.
_docker_wait() {
  local seconds=${FLOWCELL_DOCKER_WAIT_S:-60} spawned=$1 i
  for ((i = 0; i < seconds * 2; i++)); do
    _docker_answers && return 0
    if ((i > 6)) && ! kill -0 "$spawned" 2>/dev/null; then
      return 1
    fi
    sleep 0.5
  done
  return 1
}

_docker_start_by_hand() {
  _docker_mount_cgroups
  local -a options=()
  if ! _docker_kernel_can_bridge; then
    _docker_say "no bridge or no iptables here: starting the engine without its own network"
    options=(--bridge=none --iptables=false)
  fi
  # A pid file whose process is gone would make dockerd refuse to start.
  if [ -f "$_docker_pid_file" ] && ! kill -0 "$(cat "$_docker_pid_file")" 2>/dev/null; then
    rm -f "$_docker_pid_file"
  fi
  _docker_spawn "${options[@]}"
  _docker_wait "$!" && return 0
  if [ "${#options[@]}" -eq 0 ] && grep -qiE 'iptables|bridge|network controller' "$_docker_log_file"; then
    _docker_say "the engine could not make its network: trying without"
    _docker_spawn --bridge=none --iptables=false
    _docker_wait "$!" && return 0
  fi
  return 1
}

# Succeeds with an engine that answers; prints what went wrong and the end of the log otherwise.
ensure_docker() {
  if command -v docker >/dev/null 2>&1 && _docker_answers; then
    return 0
  fi
  _docker_install || return 1
  if _docker_answers; then # installing the package may have started it
    return 0
  fi
  if [ -n "${DOCKER_HOST:-}" ]; then
    _docker_say "DOCKER_HOST is set to $DOCKER_HOST and nothing answers there"
    return 1
  fi
  if [ -d /run/systemd/system ]; then
    _docker_say "starting docker through systemd"
    _docker_as_root systemctl start docker
    _docker_wait "$$" && return 0
    _docker_as_root journalctl -u docker -n 20 --no-pager >&2 || true
    return 1
  fi
  if [ "$(id -u)" -ne 0 ]; then
    _docker_say "no engine answers and only root may start one"
    return 1
  fi
  _docker_say "starting dockerd by hand (log: $_docker_log_file)"
  if _docker_start_by_hand; then
    _docker_say "engine $(docker version --format '{{.Server.Version}}') answers"
    return 0
  fi
  _docker_say "the engine did not answer; the end of its log:"
  tail -n 20 "$_docker_log_file" >&2 || true
  return 1
}
