"""`nft` comes from the machine, or from the distribution's packages without root."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbook_lib.lab.build import nftables
from runbook_lib.lab.foundation.errors import LabError


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without nft, with an empty cache and a folder of programs to fill."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(nftables, "_SYSTEM", str(tmp_path / "sbin"))
    (tmp_path / "bin").mkdir()
    return tmp_path


def script(path: Path, *lines: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)


def test_the_machines_own_is_found_where_an_ordinary_users_path_does_not_lead(bare: Path) -> None:
    assert nftables.find_nft() is None
    script(bare / "sbin/nft")
    assert nftables.find_nft() == bare / "sbin/nft"


def test_without_apt_the_package_is_named(bare: Path) -> None:
    assert not (bare / "a cache").exists()
    with pytest.raises(LabError, match="needs the program nft") as error:
        nftables.fetch_nft()
    assert "the package is called nftables" in error.value.remedy


def test_what_apt_says_is_told_where_it_fails(bare: Path) -> None:
    script(bare / "bin/apt-get", "echo 'E: Temporary failure resolving' >&2", "exit 100")
    script(bare / "bin/dpkg-deb")
    with pytest.raises(LabError, match=r"apt-get .* failed: E: Temporary failure") as error:
        nftables.fetch_nft()
    assert "the package is called nftables" in error.value.remedy
    assert nftables.find_nft() is None


def test_the_packages_are_unpacked_into_the_cache_and_found_there(bare: Path) -> None:
    """apt and dpkg are played: they make what the real ones make."""
    script(
        bare / "bin/apt-get",
        'case "$*" in',
        "*--simulate*) echo 'Inst libmnl0 (1)'; echo 'Inst nftables (1)' ;;",
        "*download*) /usr/bin/touch libmnl0_1.deb nftables_1.deb ;;",
        "esac",
    )
    script(
        bare / "bin/dpkg-deb",
        '/bin/mkdir -p "$3/usr/sbin" "$3/usr/lib"',
        'echo "#!/bin/sh" > "$3/usr/sbin/nft"',
        "echo 'echo $LD_LIBRARY_PATH' >> \"$3/usr/sbin/nft\"",
        '/bin/chmod 755 "$3/usr/sbin/nft"',
        '/usr/bin/touch "$3/usr/lib/libmnl.so.0"',
    )
    fetched = nftables.fetch_nft()
    assert nftables.find_nft() == fetched
    said = nftables._run([str(fetched)], bare).strip()
    assert said == str(fetched.parent / "root/usr/lib")
