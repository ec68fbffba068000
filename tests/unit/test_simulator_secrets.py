"""The simulator's own encryption against the vectors of contract 4.3; no code of the agent takes part."""

import base64

import pytest

from oase_agent.simulators.secrets import encrypt_secret, secret_key

ROW_1_KEY = "720635704cf7e371814678881d28e711"


@pytest.mark.parametrize(
    ("organization_id", "workspace_id", "key"),
    [
        ("org001", "ws01", ROW_1_KEY),
        ("org-1", "ws_2", "8ae30900814e222b0f044b8b9b0896e8"),
        ("テナント", "ws01", "9d64bc92061e7b060c1ce92c118bcb6f"),
    ],
)
def test_the_key_is_derived_from_both_ids(organization_id: str, workspace_id: str, key: str) -> None:
    assert secret_key(organization_id, workspace_id).hex() == key


@pytest.mark.parametrize(
    ("organization_id", "workspace_id", "iv", "plaintext", "expected"),
    [
        ("org001", "ws01", "00" * 16, "", "AAAAAAAAAAAAAAAAAAAAAMsXlsOtHqzA5NsfCITO0vc="),
        (
            "org001",
            "ws01",
            "000102030405060708090a0b0c0d0e0f",
            "secret-token",
            "AAECAwQFBgcICQoLDA0OD0k7TmhbF6SH1aFXTJV4KYo=",
        ),
        (
            "org-1",
            "ws_2",
            "ff" * 16,
            "0123456789abcdef",
            "/////////////////////3NIRkD83owglaSUdpneqFeK5kKJ1xfjKBX8YUGhv2Hb",
        ),
        (
            "org001",
            "ws01",
            "101112131415161718191a1b1c1d1e1f",
            "パスワード",
            "EBESExQVFhcYGRobHB0eHwfkDyilhztxPg49xa2aFpI=",
        ),
    ],
)
def test_a_secret_is_encrypted_as_the_workspace_does_it(
    organization_id: str, workspace_id: str, iv: str, plaintext: str, expected: str
) -> None:
    assert encrypt_secret(plaintext, organization_id, workspace_id, bytes.fromhex(iv)) == expected


@pytest.mark.parametrize(
    "captured",
    ["8FscQJNca7EplhmCLibzjdoa6W0+tGnGfuP+5e0oUP4=", "w7i0wyZOyf+sru42X78WoTy9jzhGIPlTLR+wS2DGxJc="],
)
def test_the_initial_vector_is_the_head_of_the_text(captured: str) -> None:
    iv = base64.b64decode(captured)[:16]
    assert encrypt_secret("secret-token", "org001", "ws01", iv) == captured


def test_the_same_secret_looks_different_each_time() -> None:
    assert encrypt_secret("a", "org001", "ws01") != encrypt_secret("a", "org001", "ws01")
