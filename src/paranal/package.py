"""``paranal package``: build paranal.deb, all that a node or a post installs beside Debian's own.

The package holds this source without the lab, and the pure-Python ``vici`` client, which Debian
does not ship. Its version ends in a digest of what is in it, so that an unchanged source is never
built twice and a changed one never passes for it; the same source gives the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from paranal import __version__
from paranal.messages import Refusal

HERE = Path(__file__).parent
OUTPUT = HERE.parents[1] / ".build"
EPOCH = 1514764800
"""The time of every file in the package (2018-01-01): the same source gives the same bytes."""

MODULES = "usr/lib/python3/dist-packages"
WITHOUT = {"lab", "member", "ppk", "__pycache__"}

DEPENDS = (
    "python3 (>= 3.11)",
    "python3-cryptography",
    "python3-httpx",
    "python3-jsonschema",
    "python3-msgspec",
    "python3-yaml",
)
"""What a post needs to ask, and everything needs to start."""

RECOMMENDS = (
    "python3-asyncpg",
    "python3-httptools",
    "python3-joserfc",
    "python3-rich",
    "python3-starlette",
    "python3-uvicorn",
    "python3-uvloop",
)
"""What a gateway with its query server needs besides; role ``base`` installs them on a node."""

COMMAND = """\
#!/usr/bin/python3
import sys

from paranal.cli import main

sys.exit(main())
"""

POSTINST = """\
#!/bin/sh
set -e
if [ "$1" = configure ] && command -v py3compile >/dev/null; then
    py3compile -p paranal
fi
"""

PRERM = """\
#!/bin/sh
set -e
if command -v py3clean >/dev/null; then
    py3clean -p paranal
fi
"""

COPYRIGHT = """\
paranal: Apache-2.0 (/usr/share/common-licenses/Apache-2.0), the Paranal founders.
vici {version}: {license}, Copyright (C) the strongSwan project.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``paranal package``."""
    parser.add_argument("--output", type=Path, default=OUTPUT, help="directory (default: .build)")


def run(args: argparse.Namespace) -> int:
    """Build the package and print its path; raises ``Refusal`` PAR-0580."""
    sys.stdout.write(f"{build(args.output)}\n")
    return 0


def build(directory: Path = OUTPUT) -> Path:
    """Return the path of the package below ``directory``, building it unless it stands there.

    Raises ``Refusal`` PAR-0580 when dpkg-deb or the vici package is missing, or the build fails.
    """
    tree = _tree()
    version = f"{__version__}+{_digest(tree)[:12]}"
    package = directory / f"paranal_{version}_all.deb"
    if package.exists():
        return package
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory) as scratch:
            _write(tree | _control(version), Path(scratch, "root"))
            _pack(Path(scratch, "root"), Path(scratch, "package"))
            Path(scratch, "package").replace(package)
    except OSError as error:
        raise Refusal("PAR-0580", reason=error) from None
    return package


def _tree() -> dict[str, bytes]:
    """Return the package's files, path in the target to content."""
    try:
        vici = distribution("vici")  # the installed one, never another vici.py on the path
    except PackageNotFoundError:
        raise Refusal("PAR-0580", reason="vici: not found") from None
    about = vici.metadata
    legal = COPYRIGHT.format(version=about["Version"], license=about["License"] or "MIT")
    return {
        **dict(_sources(HERE, "paranal")),
        **dict(_sources(Path(str(vici.locate_file("vici"))), "vici")),
        "usr/bin/paranal": COMMAND.encode(),
        "usr/share/doc/paranal/copyright": legal.encode(),
    }


def _sources(folder: Path, name: str) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and not WITHOUT & set(inside.parts):
            yield f"{MODULES}/{name}/{inside}", path.read_bytes()


def _control(version: str) -> dict[str, bytes]:
    fields = {
        "Package": "paranal",
        "Version": version,
        "Architecture": "all",
        "Section": "net",
        "Priority": "optional",
        "Maintainer": "The Paranal founders <founders@paranal.example>",
        "Depends": ", ".join(DEPENDS),
        "Recommends": ", ".join(RECOMMENDS),
        "Description": "real-time border queries between sovereign states",
    }
    control = "".join(f"{key}: {value}\n" for key, value in fields.items())
    return {
        "DEBIAN/control": control.encode(),
        "DEBIAN/postinst": POSTINST.encode(),
        "DEBIAN/prerm": PRERM.encode(),
    }


def _digest(tree: dict[str, bytes]) -> str:
    """Return a digest of everything in the package, this recipe included (it is in the tree)."""
    digest = hashlib.sha256()
    for path, content in sorted(tree.items()):
        digest.update(f"{path}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _write(tree: dict[str, bytes], root: Path) -> None:
    for name, content in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        is_program = content.startswith(b"#!") and not name.startswith(MODULES)
        path.chmod(0o755 if is_program else 0o644)
    for path in (root, *root.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
        os.utime(path, (EPOCH, EPOCH))


def _pack(root: Path, package: Path) -> None:
    program = shutil.which("dpkg-deb")
    if program is None:
        raise Refusal("PAR-0580", reason="dpkg-deb: not found")
    # gzip: every dpkg reads it, and its bytes do not depend on the number of threads.
    done = subprocess.run(  # noqa: S603 - fixed words and our own paths
        [program, "--root-owner-group", "-Zgzip", "--build", str(root), str(package)],
        env={**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Refusal("PAR-0580", reason=(done.stderr.strip().splitlines() or ["?"])[-1])
