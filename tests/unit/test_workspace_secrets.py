"""Decryption of the settings' secrets against the vectors of contract 4.3."""

import base64
import traceback

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from oase_agent.errors import SettingRejected
from oase_agent.model import Secret
from oase_agent.workspace.secrets import SecretBox, SecretUnreadable

VECTORS = [
    ("org001", "ws01", "", "AAAAAAAAAAAAAAAAAAAAAMsXlsOtHqzA5NsfCITO0vc="),
    ("org001", "ws01", "secret-token", "AAECAwQFBgcICQoLDA0OD0k7TmhbF6SH1aFXTJV4KYo="),
    (
        "org-1",
        "ws_2",
        "0123456789abcdef",
        "/////////////////////3NIRkD83owglaSUdpneqFeK5kKJ1xfjKBX8YUGhv2Hb",
    ),
    ("org001", "ws01", "パスワード", "EBESExQVFhcYGRobHB0eHwfkDyilhztxPg49xa2aFpI="),
    ("org001", "ws01", "secret-token", "8FscQJNca7EplhmCLibzjdoa6W0+tGnGfuP+5e0oUP4="),
    ("org001", "ws01", "secret-token", "w7i0wyZOyf+sru42X78WoTy9jzhGIPlTLR+wS2DGxJc="),
]
SECRET_TOKEN = VECTORS[1][3]


@pytest.mark.parametrize(("organization", "workspace", "plain", "text"), VECTORS)
def test_a_vector_of_the_contract_decrypts(organization: str, workspace: str, plain: str, text: str) -> None:
    assert SecretBox(organization, workspace).decrypt(text) == Secret(plain)


@pytest.mark.parametrize(
    ("organization", "workspace", "key"),
    [
        ("org001", "ws01", "720635704cf7e371814678881d28e711"),
        ("org-1", "ws_2", "8ae30900814e222b0f044b8b9b0896e8"),
        ("テナント", "ws01", "9d64bc92061e7b060c1ce92c118bcb6f"),
    ],
)
def test_the_key_follows_from_the_pass_phrase(organization: str, workspace: str, key: str) -> None:
    assert SecretBox(organization, workspace).decrypt(encrypted(b"canary", bytes.fromhex(key))) == Secret(
        "canary"
    )


def test_one_box_decrypts_many_texts() -> None:
    box = SecretBox("org001", "ws01")
    assert [box.decrypt(VECTORS[i][3]).reveal() for i in (0, 1, 3)] == ["", "secret-token", "パスワード"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "missing"),
        (7, "not a text"),
        ("", "length"),
        ("%%%not-base64%%%", "not Base64"),
        ("パスワード", "not Base64"),
        (base64.b64encode(bytes(16)).decode(), "length"),
        (base64.b64encode(bytes(33)).decode(), "length"),
    ],
)
def test_what_no_secret_can_be_is_refused(text: object, says: str) -> None:
    with pytest.raises(SecretUnreadable, match=says):
        SecretBox("org001", "ws01").decrypt(text)


def test_another_workspace_cannot_decrypt_and_the_message_names_the_remedy() -> None:
    with pytest.raises(SecretUnreadable, match="EXASTRO_ORGANIZATION_ID") as caught:
        SecretBox("org001", "other").decrypt(SECRET_TOKEN)
    assert isinstance(caught.value, SettingRejected)


def test_plain_text_that_is_no_utf8_is_refused_without_a_trace_of_it() -> None:
    text = encrypted(b"canary-\xff\xfe", bytes.fromhex("720635704cf7e371814678881d28e711"))
    with pytest.raises(SecretUnreadable) as caught:
        SecretBox("org001", "ws01").decrypt(text)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__cause__)
    assert "canary" not in shown
    assert "canary" not in repr(SecretBox("org001", "ws01").decrypt(SECRET_TOKEN))


def encrypted(plain: bytes, key: bytes) -> str:
    iv = bytes(range(16))
    padding = 16 - len(plain) % 16
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return base64.b64encode(iv + encryptor.update(plain + bytes([padding]) * padding)).decode()
