# shellcheck shell=bash
# The containers in which parts of the census run: those of a cell, but for the filter.
#
# Source this file and call `census_prepare`; afterwards `census_parts` names the parts, and
# `census_container` prints what `docker create` needs for one of them.

census_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
census_root=$(cd "$census_dir/../.." && pwd)
census_image=${FLOWCELL_RUNNER_IMAGE:-flowcell/runner:lfx-1.13}
# shellcheck source=scripts/lib/docker.sh
. "$census_root/scripts/lib/docker.sh"
# shellcheck source=scripts/lib/uv.sh
. "$census_root/scripts/lib/uv.sh"

census_say() { printf '[census] %s\n' "$*" >&2; }

# census_prepare: an engine, the image, and a folder `$census_work` with what pytest needs beside it.
census_prepare() {
  ensure_docker
  if ! docker image inspect "$census_image" >/dev/null 2>&1; then
    census_say "$census_image is not there: run scripts/images"
    return 1
  fi
  ensure_uv
  census_work=$(mktemp -d)
  chmod 755 "$census_work"
  trap 'rm -rf "$census_work"' EXIT
  "$UV" export --quiet --project "$census_root/runner" --frozen --only-group dev --no-hashes \
    --output-file "$census_work/locked.txt" >/dev/null
  "$UV" pip install --quiet --python-version 3.11 --target "$census_work/pytest" \
    --constraint "$census_work/locked.txt" pytest pytest-asyncio hypothesis
}

# census_parts: `cells` is the runner's own test suite; the others are functions of the package `workload`.
census_parts() {
  cat "$census_dir"/workload/*.py | sed -n '/^@part$/{n;s/^def \([a-z_]*\).*/\1/p}'
  echo cells
}

# census_options: one option of `docker create` a line. As worker/src/sandbox/warm/body.rs has it.
census_options() {
  printf '%s\n' --interactive --network none --read-only --cap-drop ALL --user 65532:65532 \
    --security-opt no-new-privileges:true --memory 1g --memory-swap 1g --pids-limit 256 --shm-size 8m \
    --ulimit nofile=4096 --ulimit core=0 --log-driver none --hostname cell \
    --tmpfs /tmp:rw,noexec,nosuid,nodev,uid=65532,gid=65532,mode=0700,size=256m \
    --volume "$census_dir:/census:ro" --volume "$census_root/runner/tests:/tests:ro" \
    --volume "$census_work/pytest:/pytest:ro"
}

# census_command PART: one word a line.
census_command() {
  if [ "$1" = cells ]; then
    printf '%s\n' env PYTHONPATH=/pytest python -m pytest -q -p no:cacheprovider -o asyncio_mode=auto --rootdir /tmp \
      /tests/test_cell.py /tests/test_codec.py /tests/test_frames.py
  else
    printf '%s\n' env PYTHONPATH=/census python -m workload "$1"
  fi
}
