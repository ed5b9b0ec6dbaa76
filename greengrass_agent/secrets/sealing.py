"""Encryption of secrets on disk: AES-256-GCM under a key in a file of its own, which only its owner may read."""

from __future__ import annotations

import base64
import binascii
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hitless.files import StateError, write_atomic

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
"""NIST SP 800-38D, 8.2.2: drawn at random, good for 2^32 values under one key."""


class SealingKey:
    """The key that a node's secrets are encrypted with."""

    def __init__(self, path: Path, key: bytes) -> None:
        self._path = path
        self._cipher = AESGCM(key)

    @classmethod
    def load(cls, path: Path) -> SealingKey | None:
        """The key in a file; None: there is no file. Raises StateError."""
        try:
            mode = path.stat().st_mode
            text = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateError(f"{path}: {error.strerror}: the node's secrets cannot be read") from error
        if mode & 0o077:
            raise StateError(f"{path}: others than its owner may read it: chmod 600 it, and replace the secrets")
        try:
            key = base64.b64decode(text.strip(), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != KEY_BYTES:
            raise StateError(f"{path}: expected a key of {KEY_BYTES} bytes in base64: put back the one that was here")
        return cls(path, key)

    @classmethod
    def make(cls, path: Path) -> SealingKey:
        """Make a key, and keep it in a file. Raises StateError."""
        key = secrets.token_bytes(KEY_BYTES)
        try:
            write_atomic(path, base64.b64encode(key) + b"\n", mode=0o600)
        except OSError as error:
            raise StateError(f"{path}: {error.strerror}: let the key of the secrets be written there") from error
        return cls(path, key)

    def seal(self, value: bytes, label: bytes) -> str:
        """Encrypt a value; it opens only with the same label."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, value, label)).decode()

    def open(self, sealed: str, label: bytes) -> bytes:
        """Decrypt a value. Raises StateError."""
        try:
            raw = base64.b64decode(sealed, validate=True)
            return self._cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], label)
        except (InvalidTag, binascii.Error, ValueError):
            problem = "a secret was encrypted with another key, or has been changed on disk: put the secret again"
            raise StateError(f"{self._path}: {problem}") from None
