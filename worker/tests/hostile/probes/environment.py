"""Secrets lying about: environment, files, memory."""

from __future__ import annotations

import os
import re

from hostile_kit import pids, probe, read

#: What the runner and the image set; everything else came from outside.
_EXPECTED = re.compile(
    r"(PATH|HOME|TMPDIR|LANG|LC_\w+|TZ|PWD|SHLVL|_|HOSTNAME|SSL_CERT_\w+|PYTHON\w+|LANGFLOW_\w+|FLOWCELL_(SOCKET|WARM)"
    r"|LANGCHAIN_TRACING_V2|LANGSMITH_TRACING|ANONYMIZED_TELEMETRY|DO_NOT_TRACK|LOGNAME|HF_HUB_DISABLE_TELEMETRY"
    r"|OTEL_\w+|TOKENIZERS_PARALLELISM|\w+_NUM_THREADS|DATA_GYM_CACHE_DIR|KMP_\w+|JE_ARROW_MALLOC_CONF|MALLOC_\w+|GLIBC_TUNABLES|USER_AGENT"
    r"|(HTTPS?|ALL|NO)_PROXY|(https?|all|no)_proxy|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE)"
)
_SECRET = re.compile(r"KEY|SECRET|TOKEN|PASSW|CREDENTIAL|DATABASE_URL|DSN|NATS|DOCKER_|KUBERNETES|CANARY", re.IGNORECASE)


def _unexpected(names: list[str]) -> str | None:
    found = [name for name in names if not _EXPECTED.fullmatch(name)]
    return f"{sorted(found)[:6]}" if found else None


@probe("secrets in the environment (CDK, deepce: env)")
def secrets_in_the_environment() -> str | None:
    """A variable of the environment looks like a secret."""
    found = [name for name in os.environ if _SECRET.search(name) and name != "TOKENIZERS_PARALLELISM"]
    return f"{found[:6]}" if found else None


@probe("names left by an image or a host")
def unexpected_environment() -> str | None:
    """The environment has a variable that the runner did not set."""
    return _unexpected(list(os.environ))


@probe("/proc/<pid>/environ keeps what a process was started with")
def environment_of_processes() -> str | None:
    """A process of the cell was started with a variable that the image does not set."""
    for pid in pids():
        try:
            lines = read(f"/proc/{pid}/environ", 1 << 20).split(b"\0")
        except OSError:
            continue
        names = [line.split(b"=")[0].decode(errors="replace") for line in lines if b"=" in line]
        if found := _unexpected(names):
            return f"{pid}: {found}"
    return None


def _readable(*paths: str) -> str | None:
    last: OSError | None = None
    for path in paths:
        for expanded in {path.replace("~", home) for home in ("/root", os.environ.get("HOME", "/tmp"))}:
            try:
                if os.path.isdir(expanded):
                    if names := os.listdir(expanded):
                        return f"{expanded}: {names[:3]}"
                elif read(expanded, 64):
                    return expanded
            except OSError as error:
                last = error
    if last:
        raise last
    return None


@probe("CDK k8s-get-sa-token, deepce")
def kubernetes_token() -> str | None:
    """A Kubernetes service account's token can be read."""
    return _readable("/var/run/secrets/kubernetes.io/serviceaccount/token", "/run/secrets/kubernetes.io", "/run/secrets")


@probe("kubelet's and kubectl's credentials")
def kubernetes_configuration() -> str | None:
    """A configuration of Kubernetes can be read."""
    return _readable("~/.kube/config", "/etc/kubernetes", "/var/lib/kubelet")


@probe("cloud credentials in files")
def cloud_credentials() -> str | None:
    """Credentials of a cloud can be read."""
    return _readable("~/.aws/credentials", "~/.config/gcloud", "~/.azure", "~/.oci/config")


@probe("credentials of registries and of git")
def registry_credentials() -> str | None:
    """Credentials of a registry, a package index or git can be read."""
    return _readable("~/.docker/config.json", "~/.git-credentials", "~/.netrc", "~/.pypirc", "~/.config/pip/pip.conf")


@probe("SSH keys and agents")
def ssh_keys() -> str | None:
    """An SSH key can be read."""
    return _readable("~/.ssh", "/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_rsa_key")


@probe("/etc/shadow")
def password_hashes() -> str | None:
    """Hashes of passwords can be read."""
    return _readable("/etc/shadow", "/etc/gshadow", "/etc/shadow-")


@probe("histories of shells")
def histories() -> str | None:
    """A history of a shell can be read."""
    return _readable("~/.bash_history", "~/.python_history", "~/.zsh_history", "~/.psql_history")


@probe("the platform's own settings and keys")
def platform_secrets() -> str | None:
    """Flowcell's settings, keys or sources of settings can be read."""
    return _readable("/etc/flowcell", "/var/lib/flowcell", "/flowcell.toml", "/app/.env", "/.env", "/run/flowcell/master.key")


@probe("standard input is the lifeline: reading it would cut it")
def standard_input() -> str | None:
    """Standard input is something that can be read from."""
    target = os.readlink("/proc/self/fd/0")
    return f"standard input is {target}" if target != "/dev/null" else None


@probe("a forked cell inherits its ancestor's heap", seconds=30)
def secrets_of_others_in_memory(scene) -> str | None:  # noqa: ANN001
    """The secret of an earlier cell of another tenant is in this process's memory."""
    first, second = (half.encode() for half in scene.secret)
    memory = os.open("/proc/self/mem", os.O_RDONLY)
    for line in read("/proc/self/maps", 1 << 22).decode().splitlines():
        area, mode = line.split()[:2]
        if not mode.startswith("rw") or "[v" in line:
            continue
        start, end = (int(part, 16) for part in area.split("-"))
        for at in range(start, end, 1 << 22):
            try:
                piece = os.pread(memory, min(1 << 22, end - at) + 256, at)
            except OSError:
                continue
            found = piece.find(first)
            while found >= 0:
                if piece[found + len(first) :].startswith(second):
                    return f"at {at + found:#x}"
                found = piece.find(first, found + 1)
    return None


@probe("the caller's words: a task's own secrets are in its frame only")
def secrets_on_disk(scene) -> str | None:  # noqa: ANN001
    """A file that can be written by the cell holds another tenant's secret."""
    first, second = (half.encode() for half in scene.secret)
    for top in ("/tmp", "/dev/shm", "/run", "/var/tmp", "/var/lock"):
        for folder, _, names in os.walk(top):
            for name in names:
                try:
                    text = read(os.path.join(folder, name), 1 << 20) if os.path.isfile(os.path.join(folder, name)) else b""
                except OSError:
                    continue
                if any(piece.startswith(second) for piece in text.split(first)[1:]):
                    return os.path.join(folder, name)
    return None


@probe("the host's name tells where one is")
def names_of_the_host() -> str | None:
    """/etc/hosts or /etc/resolv.conf tells of the host's network."""
    found = []
    for path in ("/etc/hosts", "/etc/resolv.conf"):
        if not os.path.exists(path):
            continue
        for line in read(path, 65536).decode(errors="replace").splitlines():
            words = line.split("#")[0].split()
            if len(words) > 1 and words[0] not in ("127.0.0.1", "::1", "127.0.1.1", "options") and words[0][:2] not in ("fe", "ff"):
                found.append(line.strip())
    return f"{found[:4]}" if found else None
