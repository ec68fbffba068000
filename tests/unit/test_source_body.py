"""Bodies in memory and in files (promise C4)."""

import mmap
import os
import resource
from pathlib import Path

import pytest

from oase_agent.errors import Reason, SpoolUnavailable
from oase_agent.sources.body import Body, BodyTooLarge, BodyWriter, Fetched


def written(directory: Path, pieces: list[bytes], *, max_bytes: int = 100, memory_bytes: int = 10) -> Body:
    with BodyWriter(directory, max_bytes=max_bytes, memory_bytes=memory_bytes) as writer:
        for piece in pieces:
            writer.write(piece)
        return writer.finish()


def test_a_small_body_stays_in_memory(tmp_path: Path) -> None:
    with written(tmp_path / "missing", [b"12345", b"67890"]) as body:
        assert body.view() == b"1234567890"
        assert body.size_bytes == 10


def test_a_larger_body_goes_to_a_file_without_a_name(tmp_path: Path) -> None:
    with written(tmp_path, [b"12345", b"67890", b"x", b"y" * 50]) as body:
        view = body.view()
        assert isinstance(view, mmap.mmap)
        assert view[:] == b"1234567890x" + b"y" * 50
        assert body.size_bytes == 61
        assert list(tmp_path.iterdir()) == []


def test_a_body_of_exactly_the_limit_is_accepted_and_one_byte_more_is_not(tmp_path: Path) -> None:
    assert written(tmp_path, [b"x" * 20], max_bytes=20).size_bytes == 20
    with pytest.raises(BodyTooLarge) as caught:
        written(tmp_path, [b"x" * 20, b"y"], max_bytes=20)
    assert caught.value.limit_bytes == 20


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_no_descriptor_stays_open_after_a_body_is_closed_or_thrown_away(tmp_path: Path) -> None:
    before = open_descriptors()
    written(tmp_path, [b"x" * 50]).close()
    with BodyWriter(tmp_path, max_bytes=100, memory_bytes=10) as writer:
        writer.write(b"x" * 50)
    assert open_descriptors() == before


def test_a_body_may_be_closed_twice_and_while_somebody_looks_at_it(tmp_path: Path) -> None:
    body = written(tmp_path, [b"x" * 50])
    look = memoryview(body.view())
    body.close()
    body.close()
    assert bytes(look[:3]) == b"xxx"


def test_a_directory_that_cannot_be_written_is_trouble_of_the_volume(tmp_path: Path) -> None:
    with pytest.raises(SpoolUnavailable, match="SOURCE_MAX_BYTES") as caught:
        written(tmp_path / "missing", [b"x" * 50])
    assert caught.value.reason is Reason.DISK


def test_a_volume_that_takes_no_more_is_trouble_of_the_volume(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with BodyWriter(tmp_path, max_bytes=10**9, memory_bytes=10) as writer:
        # A limit on the size of files stands in for a full volume: the same call fails in the same way.
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        try:
            with pytest.raises(SpoolUnavailable, match="File too large") as caught:
                writer.write(b"x" * 1_000_000)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert caught.value.reason is Reason.DISK


def test_an_answer_describes_itself_without_its_content() -> None:
    assert Fetched(Body(b"<html>"), 0, 200, "text/html").describe() == "status 200, text/html, 6 bytes"
    assert Fetched(Body(b"x"), 0, 200).describe() == "status 200, no content type, 1 bytes"
