"""Content codings, in steps of bounded size (promise C4)."""

import gzip
import itertools
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oase_agent.sources.content_coding import ContentCodingError, decoder_for

PLAIN = b'[{"id": 1}]' * 1000
BODIES = {
    "": PLAIN,
    "identity": PLAIN,
    "gzip": gzip.compress(PLAIN),
    "X-GZIP ": gzip.compress(PLAIN),
    "deflate": zlib.compress(PLAIN),
}


def decoded(coding: str, pieces: list[bytes]) -> bytes:
    decoder = decoder_for(coding)
    plain = b"".join(itertools.chain.from_iterable(decoder.decode(piece) for piece in pieces))
    decoder.finish()
    return plain


@pytest.mark.parametrize("step", [1, 7, 10**6])
@pytest.mark.parametrize("coding", BODIES)
def test_a_body_is_decoded_however_it_is_cut(coding: str, step: int) -> None:
    body = BODIES[coding]
    assert decoded(coding, [body[start : start + step] for start in range(0, len(body), step)]) == PLAIN


def test_deflate_without_the_zlib_header_is_understood() -> None:
    compressor = zlib.compressobj(wbits=-15)
    assert decoded("deflate", [compressor.compress(PLAIN) + compressor.flush()]) == PLAIN


@pytest.mark.parametrize("step", [1, 10**6])
def test_gzip_may_have_members_and_anything_after_them(step: int) -> None:
    body = gzip.compress(b"one ") + gzip.compress(b"") + gzip.compress(b"two") + b"\0\0 rest"
    assert decoded("gzip", [body[start : start + step] for start in range(0, len(body), step)]) == b"one two"


@given(st.binary(max_size=300_000), st.integers(1, 100_000))
def test_every_body_survives_every_cut(plain: bytes, step: int) -> None:
    body = gzip.compress(plain, 1)
    assert decoded("gzip", [body[start : start + step] for start in range(0, len(body), step)]) == plain


def test_lengths_around_the_size_of_a_piece_lose_nothing() -> None:
    # Without a checksum at the end, zlib may have taken all input while it still holds output.
    for length in range(65536 - 300, 65536 + 300, 7):
        compressor = zlib.compressobj(9, wbits=-15)
        body = compressor.compress(bytes(length)) + compressor.flush()
        assert len(decoded("deflate", [body])) == length


def test_a_bomb_comes_in_small_pieces() -> None:
    bomb = gzip.compress(bytes(20_000_000), 9)
    sizes = [len(piece) for piece in decoder_for("gzip").decode(bomb)]
    assert sum(sizes) == 20_000_000
    assert max(sizes) == 65536


def test_an_empty_body_is_complete_in_every_coding() -> None:
    for coding in ("", "gzip", "deflate"):
        assert decoded(coding, []) == b""


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_body_that_is_cut_off_is_noticed(coding: str) -> None:
    with pytest.raises(ContentCodingError, match="cut off"):
        decoded(coding, [BODIES[coding][:-9]])


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_damaged_body_is_noticed(coding: str) -> None:
    noise = random.Random(1).randbytes(1000)
    with pytest.raises(ContentCodingError, match="damaged"):
        decoded(coding, [b"\xff" + noise])


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, deflate"])
def test_an_unknown_coding_is_refused(coding: str) -> None:
    with pytest.raises(ContentCodingError, match="neither gzip nor deflate"):
        decoder_for(coding)
