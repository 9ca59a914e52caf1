"""The installer's own part: what it asks uv for, and what it makes of the answers."""

import io
import json
import subprocess
import sys
import tarfile

import pytest

from flowcell_builder import __main__ as program
from flowcell_builder import packages
from flowcell_builder.packages import Order, PackageError, install, resolve

HASHES = ["--hash=sha256:" + digit * 64 for digit in "ab"]


def order(*requirements, lock=None, index="https://index.example/simple", source_builds=False):
    return Order(list(requirements), index, source_builds, lock)


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.setattr(packages, "WORK", tmp_path)
    monkeypatch.setattr(packages, "_WHEELS", tmp_path / "none")
    return tmp_path


@pytest.fixture
def asked(monkeypatch):
    """What uv was asked, with an answer for `compile`."""
    calls = []

    def uv(*arguments):
        calls.append(arguments)
        continued = f"six==1.17.0 \\\n    {HASHES[0]} \\\n    {HASHES[1]}\n"
        return f"{continued}lfx==9.9 \\\n    {HASHES[0]}\n" if "compile" in arguments else ""

    monkeypatch.setattr(packages, "_uv", uv)
    monkeypatch.setattr(packages, "installed", lambda: {"lfx": "9.9"})
    return calls


def test_a_lock_has_what_the_runtime_lacks(work, asked):
    assert resolve(order("six>=1")) == f"six==1.17.0 {' '.join(HASHES)}\n"
    assert (work / "constraints.txt").read_text() == "lfx==9.9\n"
    assert "--only-binary" in asked[0]
    assert asked[0][asked[0].index("--default-index") + 1] == "https://index.example/simple"


def test_asked_hashes_are_the_only_ones(work, asked):
    assert resolve(order(f"six==1.17.0 {HASHES[1]}")) == f"six==1.17.0 {HASHES[1]}\n"
    assert (work / "requirements.in").read_text() == "six==1.17.0\n"
    with pytest.raises(PackageError, match="no file of six with the hash"):
        resolve(order("six==1.17.0 --hash=sha256:" + "c" * 64))


def test_without_an_index_only_the_folder_counts(work, asked, monkeypatch):
    (work / "wheels").mkdir()
    monkeypatch.setattr(packages, "_WHEELS", work / "wheels")
    resolve(order("six", index=None, source_builds=True))
    assert "--no-index" in asked[0]
    assert "--find-links" in asked[0]
    assert "--default-index" not in asked[0]
    assert "--only-binary" not in asked[0]


def test_files_are_packed_in_order_and_nothing_else(work, monkeypatch):
    def uv(*arguments):
        target = work / "packages"
        assert str(target) in arguments
        (target / "pkg").mkdir()
        (target / "pkg" / "b.py").write_text("x = 1\n")
        (target / "pkg" / "a.txt").write_text("a")
        (target / "pkg" / "link").symlink_to("/etc/passwd")
        (target / ".lock").write_text("")
        return ""

    monkeypatch.setattr(packages, "_uv", uv)
    out = io.BytesIO()
    install(order("pkg", lock=f"pkg==1 {HASHES[0]}\n"), out)
    out.seek(0)
    with tarfile.open(fileobj=out, mode="r|") as archive:
        names = [entry.name for entry in archive]
    assert names == ["pkg/__pycache__/b.cpython-311.pyc", "pkg/a.txt", "pkg/b.py"]


def test_a_lock_of_nothing_installs_nothing(work, monkeypatch):
    monkeypatch.setattr(packages, "_uv", lambda *_: pytest.fail("uv was asked"))
    out = io.BytesIO()
    install(order("lfx", lock=""), out)
    out.seek(0)
    with tarfile.open(fileobj=out) as archive:
        assert archive.getnames() == []


def test_the_installers_words_are_the_error(work, monkeypatch):
    monkeypatch.setattr(packages, "UV", sys.executable)
    with pytest.raises(PackageError, match="can't open file"):
        packages._uv("/no/such/file.py")


def test_the_program_says_why_it_fails(work, monkeypatch, capfd):
    told = work / "build.json"
    told.write_text(json.dumps({"requirements": ["six"], "index": None, "source_builds": False, "lock": None}))
    monkeypatch.setattr(program, "_ORDER", told)
    monkeypatch.setattr(program, "_SOCKET", work / "none")
    monkeypatch.setattr(program.lifeline, "hold", lambda: None)

    def uv(*_):
        raise PackageError("there is no six")

    monkeypatch.setattr(packages, "_uv", uv)
    assert program.main() == 1
    assert capfd.readouterr().err.endswith("there is no six\n")


def test_it_is_a_program():
    found = subprocess.run([sys.executable, "-c", "import flowcell_builder.__main__"], check=False)
    assert found.returncode == 0
