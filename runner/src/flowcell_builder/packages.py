"""What uv is asked to do, and what is made of its answers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import IO

UV = "/opt/uv/uv"
#: Left by uv in the folder that it installs into.
_UV_LOCK = ".lock"
#: Where the packages are in the image that is made of them.
PREFIX = "opt/packages"
#: The only place to write.
WORK = Path("/tmp")  # noqa: S108
_CERTIFICATES = Path("/run/flowcell/ca.crt")
_WHEELS = Path("/srv/wheels")
_LOCKED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(\[[^\]]*\])?==(\S+)")
_HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")


class PackageError(Exception):
    """The requirements cannot be had; the text says why."""


@dataclass(frozen=True)
class Order:
    """What the worker wants."""

    requirements: list[str]
    #: The operator's index; none when there is only a folder of wheels.
    index: str | None
    #: Whether packages without a wheel may be built, which runs their code in this container.
    source_builds: bool
    #: What was resolved before; `None` to resolve.
    lock: str | None


def normalised(name: str) -> str:
    """Return the name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed() -> dict[str, str]:
    """Return the versions of the runtime's own packages, by normalised name."""
    return {normalised(found.name): found.version for found in distributions()}


def resolve(order: Order) -> str:
    """Return exact versions and hashes of all that has to be added to the runtime."""
    own = installed()
    asked = WORK / "requirements.in"
    asked.write_text("".join(f"{_HASH.sub('', line).strip()}\n" for line in order.requirements))
    constraints = WORK / "constraints.txt"
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in sorted(own.items())))
    lines = _uv(
        *("pip", "compile", "--quiet", "--generate-hashes", "--no-annotate", "--no-header"),
        *("--constraints", str(constraints), *_source(order), str(asked)),
    )
    wanted = {name: hashes for name, hashes in map(_asked_hashes, order.requirements) if hashes}
    locked = [_kept(entry, wanted) for entry in _entries(lines) if _name(entry) not in own]
    return "".join(f"{entry}\n" for entry in sorted(locked))


def install(order: Order, out: IO[bytes]) -> None:
    """Write the packages of the lock, byte-compiled, as a tar archive."""
    lock = WORK / "lock.txt"
    lock.write_text(order.lock or "")
    target = WORK / "packages"
    target.mkdir()
    if order.lock:
        # Everything is named by the lock with its hash, so nothing is looked for beyond it.
        _uv(
            *("pip", "install", "--quiet", "--no-deps", "--require-hashes", "--target", str(target)),
            *(*_source(order), "--requirements", str(lock)),
        )
    # A file that is no Python of this version is the package's affair, not ours.
    names = ("-s", str(target), "-p", f"/{PREFIX}")
    command = [sys.executable, "-m", "compileall", "-qq", *names, "--invalidation-mode", "unchecked-hash", str(target)]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=False)  # noqa: S603  our own interpreter
    _pack(target, out)


def _pack(target: Path, out: IO[bytes]) -> None:
    """Write files in order of their names, the same bytes for the same packages."""
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.GNU_FORMAT) as archive:
        for path in sorted(target.rglob("*")):
            # A wheel has nothing but files; what else is there was made by a package's own build.
            if path.is_symlink() or not path.is_file() or path == target / _UV_LOCK:
                continue
            entry = tarfile.TarInfo(str(path.relative_to(target)))
            entry.size = path.stat().st_size
            with path.open("rb") as content:
                archive.addfile(entry, content)


def _entries(lines: str) -> list[str]:
    """Return one line for each package of what uv wrote, without continuations."""
    joined = lines.replace("\\\n", " ")
    return [" ".join(line.split()) for line in joined.splitlines() if _LOCKED.match(line)]


def _name(entry: str) -> str:
    found = _LOCKED.match(entry)
    return normalised(found.group(1)) if found else ""


def _asked_hashes(line: str) -> tuple[str, set[str]]:
    found = _LOCKED.match(line)
    return (normalised(found.group(1)) if found else line), set(_HASH.findall(line))


def _kept(entry: str, wanted: dict[str, set[str]]) -> str:
    """Return the entry with no hash but those that were asked for, where any were."""
    name = _name(entry)
    if name not in wanted:
        return entry
    hashes = [f"--hash={found}" for found in _HASH.findall(entry) if found in wanted[name]]
    if not hashes:
        message = f"the index has no file of {name} with the hash that is required"
        raise PackageError(message)
    return " ".join([_HASH.sub("", entry).strip(), *hashes])


def _source(order: Order) -> list[str]:
    """Return where packages may come from, and in which form."""
    arguments = ["--python", sys.executable, "--no-cache", "--no-config"]
    if order.index is None:
        arguments.append("--no-index")
    else:
        arguments += ["--default-index", order.index]
    if _WHEELS.is_dir():
        arguments += ["--find-links", str(_WHEELS)]
    if not order.source_builds:
        arguments += ["--only-binary", ":all:"]
    return arguments


def _uv(*arguments: str) -> str:
    """Return what uv writes to standard output; its errors become ours."""
    environment = dict(os.environ) | {"HOME": str(WORK), "TMPDIR": str(WORK), "UV_NO_PROGRESS": "1"}
    environment |= {"UV_PYTHON_DOWNLOADS": "never", "UV_CONCURRENT_DOWNLOADS": "8", "UV_LINK_MODE": "copy"}
    if _CERTIFICATES.exists():
        environment["SSL_CERT_FILE"] = str(_CERTIFICATES)
    done = subprocess.run([UV, *arguments], env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise PackageError(done.stderr.strip() or f"uv ended with exit code {done.returncode}")
    return done.stdout
