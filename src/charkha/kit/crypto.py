"""Keys of the installation and what is derived from them: peppered hashes, per-workspace keys, sealed secrets.

Boundary: the only reader of `secrets/master.key` and `secrets/pepper.key` (32 random bytes each, mode 0600).
"""

import hashlib
import hmac
import os
from pathlib import Path
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from charkha.core.errors import Misconfigured
from charkha.core.mac import Mac

_BYTES = 32


class Secrets:
    """The master key and the pepper, and everything that is derived from them."""

    def __init__(self, master: bytes, pepper: bytes) -> None:
        self._master, self._peppered = master, Mac(pepper)

    @classmethod
    def load(cls, directory: Path) -> "Secrets":
        """Read both keys from `directory`, making them on first use."""
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        return cls(_key_file(directory / "master.key"), _key_file(directory / "pepper.key"))

    def derive(self, purpose: str, workspace_id: UUID | None = None) -> bytes:
        """A 32-byte key for one purpose, and one workspace if given (HMAC-SHA-256 of the master key)."""
        scope = workspace_id.bytes if workspace_id else b""
        return hmac.digest(self._master, purpose.encode() + b"\0" + scope, hashlib.sha256)

    def hash_token(self, token: str) -> bytes:
        """What is stored of an API key: HMAC-SHA-256 under the pepper."""
        return self._peppered(token.encode())

    def seal(self, plaintext: bytes, *, context: str) -> bytes:
        """Encrypt with AES-256-GCM; `context` (workspace, row, column) must be the same to open it again."""
        nonce = os.urandom(12)
        return nonce + AESGCM(self.derive("seal")).encrypt(nonce, plaintext, context.encode())

    def open(self, sealed: bytes, *, context: str) -> bytes:
        """Decrypt what `seal` made; raises cryptography's InvalidTag if it or its context was changed."""
        return AESGCM(self.derive("seal")).decrypt(sealed[:12], sealed[12:], context.encode())


def _key_file(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _checked(path)
    with os.fdopen(descriptor, "wb") as file:
        file.write(os.urandom(_BYTES))
        file.flush()
        os.fsync(file.fileno())
    return path.read_bytes()


def _checked(path: Path) -> bytes:
    key = path.read_bytes()
    if len(key) != _BYTES:
        raise Misconfigured(
            f"{path} holds {len(key)} bytes where a key has {_BYTES}.", remedy="Restore it from a backup."
        )
    if path.stat().st_mode & 0o077:
        raise Misconfigured(f"{path} can be read by others.", remedy=f"Run: chmod 600 {path}")
    return key
