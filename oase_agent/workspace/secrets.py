"""Decrypt the secrets of the event collection settings (contract 4.3).

The workspace encrypts `AUTH_TOKEN`, `PASSWORD` and `SECRET_ACCESS_KEY` with a key that follows from the ids of
organization and workspace: AES-128-CBC, PKCS#7 padding, Base64 of IV and ciphertext, no integrity check. Whoever
knows the two ids can decrypt, so the text counts as encoded, not as protected.
"""

import base64
import binascii
import hashlib
from functools import cached_property

from oase_agent.errors import Reason, SettingRejected
from oase_agent.model import Secret

_SALT = bytes.fromhex("4a781001512ee6cad341e806abe69065")
_ROUNDS = 50_000
_KEY_BYTES = 16
_BLOCK_BYTES = 16
_BLOCK_BITS = 8 * _BLOCK_BYTES
_FEWEST_BLOCKS = 2  # the IV, and one block even for an empty text


class SecretUnreadable(SettingRejected):
    """An encrypted text that does not decrypt; the message tells the kind of fault and nothing of the content."""

    def __init__(self, message: str) -> None:
        super().__init__(message, Reason.INVALID_SETTING)


class SecretBox:
    """Decrypts the secrets of one workspace. The key costs about 12 ms and is derived once, at the first use."""

    def __init__(self, organization_id: str, workspace_id: str) -> None:
        self._pass_phrase = f"{organization_id} {workspace_id}".encode()

    def decrypt(self, text: object) -> Secret:
        """Return the secret behind `text`, a column of a settings row; raises SecretUnreadable."""
        block = _ciphertext(text)
        plain = self._decrypted(block[:_BLOCK_BYTES], block[_BLOCK_BYTES:])
        try:
            return Secret(plain.decode())
        except UnicodeDecodeError:
            # The cause would print the bytes it could not decode, so it is left out.
            raise _wrong_key() from None

    @cached_property
    def _key(self) -> bytes:
        return hashlib.pbkdf2_hmac("sha256", self._pass_phrase, _SALT, _ROUNDS, _KEY_BYTES)

    def _decrypted(self, iv: bytes, ciphertext: bytes) -> bytes:
        # Imported here: costs memory that an agent without the settings' secrets never needs.
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes  # noqa: PLC0415
        from cryptography.hazmat.primitives.padding import PKCS7  # noqa: PLC0415

        decryptor = Cipher(algorithms.AES(self._key), modes.CBC(iv)).decryptor()
        unpadder = PKCS7(_BLOCK_BITS).unpadder()
        try:
            return unpadder.update(decryptor.update(ciphertext) + decryptor.finalize()) + unpadder.finalize()
        except ValueError as error:
            raise _wrong_key() from error


def _ciphertext(text: object) -> bytes:
    """Return IV and ciphertext in one piece, of a length that AES-CBC can have."""
    if not isinstance(text, str):
        raise SecretUnreadable("the encrypted secret is missing or not a text")
    try:
        block = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SecretUnreadable("the encrypted secret is not Base64") from error
    if len(block) < _FEWEST_BLOCKS * _BLOCK_BYTES or len(block) % _BLOCK_BYTES:
        raise SecretUnreadable("the encrypted secret has a length that no encrypted secret has")
    return block


def _wrong_key() -> SecretUnreadable:
    return SecretUnreadable(
        "the secret was encrypted for another organization or workspace: "
        "check EXASTRO_ORGANIZATION_ID and EXASTRO_WORKSPACE_ID"
    )
