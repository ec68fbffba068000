"""What `check` shows and records holds no secret, in whatever notation a source sends it back (promise S3)."""

import html
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from oase_agent.cli.checks.bookmark import describe_bookmark
from oase_agent.cli.checks.masking import Masker
from oase_agent.model import MASK, Secret

SECRET = "canary-p/+=\"&<\\ 'ö秘😀9"

NOTATIONS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in upper case": str.upper,
    "in a JSON text": json.dumps,
    "in a JSON text with letters": lambda text: json.dumps(text, ensure_ascii=False),
    "in JSON of PHP": lambda text: json.dumps(text).replace("/", "\\/"),
    "in JSON that escapes as .NET does": lambda text: "".join(
        letter if letter.isalnum() and letter.isascii() else json.dumps(f"ö{letter}")[7:-1] for letter in text
    ).replace("+", "\\u002B"),
    "in JSON within JSON": lambda text: json.dumps(json.dumps(text)),
    "in JSON within JSON within JSON": lambda text: json.dumps(json.dumps(json.dumps(text))),
    "in a URL": lambda text: quote(text, safe=""),
    "in a URL in lower case": lambda text: quote(text, safe="").lower(),
    "in a form": quote_plus,
    "in a URL within a URL": lambda text: quote(quote(text, safe=""), safe=""),
    "in HTML": html.escape,
    "in HTML with numbers": lambda text: "".join(
        letter if letter.isalnum() and letter.isascii() else f"&#{ord(letter)};" for letter in text
    ),
    "in HTML within a URL": lambda text: quote(html.escape(text), safe=""),
    "in HTML within JSON": lambda text: json.dumps(html.escape(text)),
}


@pytest.mark.parametrize("notation", NOTATIONS)
def test_s3_a_secret_is_hidden_in_every_notation(notation: str) -> None:
    written = NOTATIONS[notation](SECRET)
    masked = Masker([Secret(SECRET)]).mask(f"before {written} after")
    assert MASK in masked
    assert masked.startswith("before ")
    assert masked.endswith(" after")
    assert "canary" not in masked.lower()
    assert not any(letter in masked for letter in "ö秘😀9")


@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode])
@pytest.mark.parametrize("before", [b"", b"u:", b"user:"])
def test_s3_a_secret_is_hidden_within_base64(encode: Callable[[bytes], bytes], before: bytes) -> None:
    encoded = encode(before + SECRET.encode()).decode()
    masked = Masker([Secret(SECRET)]).mask(encoded)
    assert MASK in masked
    # What is left holds a part of one character at most.
    assert not any(encoded[at : at + 6] in masked for at in range(len(before) * 4 // 3 + 1, len(encoded) - 6))


def test_a_document_with_a_hidden_secret_is_still_the_document() -> None:
    document = {"text": f'\n{SECRET}\\ and "more"', "number": 1234567, "list": [SECRET, None, True]}
    masker = Masker([Secret(SECRET), Secret("123456")])
    for text in (json.dumps(document), json.dumps(document, ensure_ascii=False)):
        masked = json.loads(b"".join(masker.masked(text.encode())))
        assert masked["text"] == f'\n{MASK}\\ and "more"'
        assert masked["list"] == [MASK, None, True]
        assert "123456" not in str(masked["number"])


def test_of_two_secrets_the_longer_one_is_hidden_as_a_whole() -> None:
    masker = Masker([Secret("canary"), Secret("canary-and-more")])
    assert masker.mask("canary-and-more, canary") == f"{MASK}, {MASK}"


def test_a_large_document_comes_in_pieces_and_nothing_else_of_it_changes() -> None:
    filler = b"x" * 1_000_000
    pieces = list(Masker([Secret("canary")]).masked(filler + b"canary" + filler))
    assert max(map(len, pieces)) <= 256 * 1024
    assert b"".join(pieces) == filler + MASK.encode() + filler


def test_a_masker_that_learns_more_hides_what_it_knew_before() -> None:
    masker = Masker([Secret("canary-1")]).and_also([Secret("canary-2"), Secret("canary-1")])
    assert masker.mask("canary-1 canary-2") == f"{MASK} {MASK}"


def test_secrets_too_short_to_be_told_from_words_hide_nothing() -> None:
    assert Masker([Secret(""), Secret("abc")]).mask("abcabc") == "abcabc"


@pytest.mark.parametrize(
    ("bookmark", "words"),
    [
        (
            '{"mailbox":"a0b1","port":143,"uid_validity":7,"uid":12,"since":null}',
            "port 143, uid_validity 7, uid 12",
        ),
        (
            '{"type":"pages","identity":"a0b1","marks":["c2"],"pages":2,"number":3}',
            "type pages, pages 2, number 3",
        ),
        ('{"pages":2,"token":"canary-token"}', f"pages 2, token {MASK}"),
        ('{"url":"https://user:canary@host:1/canary?key=canary"}', "url https://host:1/…"),
        ('{"tried":{"mail":[1,2]},"done":true}', "tried.mail 1 2, done true"),
        ('{"note":"canary-known"}', f"note {MASK}"),
        ("canary", "6 characters that only the source understands"),
        ("{}", "empty"),
    ],
)
def test_a_bookmark_is_shown_without_what_could_let_somebody_in(bookmark: str, words: str) -> None:
    assert describe_bookmark(bookmark, Masker([Secret("canary-known")])) == words
