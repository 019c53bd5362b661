"""By what the code of a sweep's runs is known again, committed or not."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("base", "config", "data_loader", "model", "trainer", "utils")  # by which a result comes about


def digest_of_code(root: Path = ROOT) -> str:
    """Of the names and contents of the scripts and of all that these folders hold."""
    found = [*root.glob("*.py"), *(path for folder in FOLDERS for path in (root / folder).rglob("*.py"))]
    digest = blake2b(digest_size=16)
    for path in sorted(found):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()
