"""The agent's form of a secret, written as the workspace writes it (contract 4.3).

Anyone who knows the two ids can read it back: it is an encoding, not a protection.
"""

import base64
import hashlib
import os
from functools import lru_cache

_SALT = bytes.fromhex("4a781001512ee6cad341e806abe69065")
_PBKDF2_ROUNDS = 50_000
_KEY_BYTES = 16
_BLOCK_BYTES = 16


@lru_cache(maxsize=64)
def secret_key(organization_id: str, workspace_id: str) -> bytes:
    """Return the 16-byte AES key of a workspace. Kept, because one derivation costs about 12 ms."""
    pass_phrase = f"{organization_id} {workspace_id}".encode()
    return hashlib.pbkdf2_hmac("sha256", pass_phrase, _SALT, _PBKDF2_ROUNDS, _KEY_BYTES)


def encrypt_secret(plaintext: str, organization_id: str, workspace_id: str, iv: bytes | None = None) -> str:
    """Return Base64 of IV and AES-128-CBC ciphertext with PKCS#7 padding.

    `iv` is 16 bytes, random when omitted, so that two calls differ as those of the workspace do.
    """
    # Imported here: only the settings endpoint needs it, and it costs several MiB.
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes  # noqa: PLC0415

    iv = os.urandom(_BLOCK_BYTES) if iv is None else iv
    data = plaintext.encode()
    missing = _BLOCK_BYTES - len(data) % _BLOCK_BYTES
    padded = data + bytes([missing]) * missing
    encryptor = Cipher(algorithms.AES(secret_key(organization_id, workspace_id)), modes.CBC(iv)).encryptor()
    return base64.b64encode(iv + encryptor.update(padded) + encryptor.finalize()).decode("ascii")
