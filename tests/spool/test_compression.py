"""Compressed batches: what is posted stays the same byte for byte, and no damage passes."""

import base64
import json
import tracemalloc
import zlib
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oase_agent.app.build import build_spool
from oase_agent.config.load import load_config
from oase_agent.disk import Disk
from oase_agent.model import Cursor
from oase_agent.spool.batch_file import Damage, batch_line, claimed_count, parse_batch, whole_batch
from oase_agent.spool.collection_file import BatchLimits, CollectionFile, Start
from oase_agent.spool.compression import MAX_INFLATED_BYTES, Compression, CompressionMode
from oase_agent.spool.queue import SettingQueue
from oase_agent.telemetry import Telemetry
from tests.spool.queue_stage import (
    ENOUGH_BYTES,
    SETTING,
    Clock,
    account_of,
    collect,
    dead_ids,
    event_text,
    figures_of,
    files_in,
    flip,
    ids_in,
    open_queue,
    waiting_ids,
)

ALWAYS = Compression(CompressionMode.ALWAYS)
OFF = Compression(CompressionMode.OFF)
MIB = 1024 * 1024
IDS = [str(number) for number in range(100, 140)]


def is_compressed(line: bytes) -> bool:
    return "z" in json.loads(line)


def sealed(line: bytes) -> bytes:
    return b'%b,"crc":"%08x"}\n' % (line, zlib.crc32(line))


def line_of(stream: bytes, raw_bytes: int) -> bytes:
    """Return a compressed batch of one event as a wrong hand would have written it: its checksum is right."""
    text = base64.b64encode(stream)
    return sealed(b'{"seq":1,"ft":5,"n":1,"raw":%d,"z":"%b"' % (raw_bytes, text))


# -- a line -------------------------------------------------------------------------------------------------


@given(
    seq=st.integers(0, 2**62),
    event=st.dictionaries(
        st.text(st.characters(codec="utf-8"), max_size=8), st.text(st.characters(codec="utf-8"))
    ),
    count=st.integers(50, 200),
)
def test_a_compressed_batch_is_read_back_byte_for_byte(seq: int, event: dict[str, str], count: int) -> None:
    texts = [orjson.dumps({"number": number, **event}) for number in range(count)]

    line = batch_line(seq, 1_700_000_000, texts, compress=True)

    batch = parse_batch(line)
    assert (batch.seq, batch.group_time, batch.count, batch.is_refused) == (seq, 1_700_000_000, count, False)
    assert batch.events == b"[" + b",".join(texts) + b"]"
    assert is_compressed(line)
    assert line.count(b"\n") == 1
    assert json.loads(line)["raw"] == len(batch.events)
    assert claimed_count(line) == count
    assert len(line) < len(batch_line(seq, 1_700_000_000, texts))


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([b'{"id":"1"}'], id="small"),
        pytest.param([b'{"id":"%b"}' % base64.b64encode(bytes(range(256)) * 4)[:300]], id="nothing-repeats"),
        pytest.param([b'{"text":"%b"}' % (b"x" * MAX_INFLATED_BYTES)], id="larger-than-what-is-inflated"),
    ],
)
def test_what_gains_nothing_or_is_too_large_stays_plain(events: list[bytes]) -> None:
    line = batch_line(1, 5, events, compress=True)

    assert line == batch_line(1, 5, events)


RAW = b"[%b]" % b",".join([b'{"id":"1","text":"the same again"}'] * 100)
STREAM = zlib.compress(RAW, 1)


def test_the_form_that_the_wrong_lines_below_are_made_of_is_read() -> None:
    assert parse_batch(line_of(STREAM, len(RAW))).events == RAW


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(line_of(STREAM, len(RAW) - 1), id="tells-less"),
        pytest.param(line_of(STREAM, len(RAW) + 1), id="tells-more"),
        pytest.param(line_of(STREAM, 0), id="tells-nothing"),
        pytest.param(line_of(STREAM[:-1], len(RAW)), id="ends-early"),
        pytest.param(line_of(STREAM + b"x", len(RAW)), id="goes-on"),
        pytest.param(line_of(b"", 0), id="empty"),
        pytest.param(line_of(RAW, len(RAW)), id="not-deflate"),
        pytest.param(line_of(STREAM[:-1] + b"\0", len(RAW)), id="wrong-sum"),
        pytest.param(line_of(zlib.compress(bytes(2 * MIB)), 2 * MIB), id="too-large"),
        pytest.param(
            sealed(b'{"seq":1,"ft":5,"n":1,"raw":%d,"z":"!!!!%b"' % (len(RAW), base64.b64encode(STREAM))),
            id="more-than-base64",
        ),
        pytest.param(sealed(b'{"seq":1,"ft":5,"n":1,"raw":9,"z":"!!!!"'), id="not-base64"),
        pytest.param(sealed(b'{"seq":1,"ft":5,"n":1,"raw":9,"z":"ab"'), id="cut-base64"),
        pytest.param(sealed(b'{"seq":1,"ft":5,"n":1,"raw":9,"z":"\xff\xff"'), id="not-ascii"),
        pytest.param(sealed(b'{"seq":1,"ft":5,"n":1,"raw":%b,"z":""' % (b"9" * 5000)), id="endless-number"),
    ],
)
def test_p6_a_compressed_batch_that_is_not_what_it_says_is_damage(line: bytes) -> None:
    with pytest.raises(Damage):
        parse_batch(line)
    assert whole_batch(line) is None


@pytest.mark.parametrize("raw_bytes", [0, 1000, MIB])
def test_a_bomb_takes_no_more_memory_than_it_admits_to(raw_bytes: int) -> None:
    bomb = line_of(zlib.compress(bytes(100 * MIB)), raw_bytes)

    tracemalloc.start()
    try:
        with pytest.raises(Damage, match="another length"):
            parse_batch(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 8 * MIB


# -- a collection -------------------------------------------------------------------------------------------


def lines_written(
    directory: Path, limits: BatchLimits, *, waiting_bytes: int = 0, events: int = 100
) -> list[bytes]:
    """Publish a collection with so much waiting before it; return the lines of its batches."""
    directory.mkdir(exist_ok=True)
    file = CollectionFile(Disk(), directory, Start(1, 5, 1, waiting_bytes), limits)
    file.add(event_text(str(number), text="much the same") for number in range(events))
    file.flush()
    name, _ = file.publish(Cursor(5), events)
    return (directory / str(name)).read_bytes().splitlines(keepends=True)[:-1]


@pytest.mark.parametrize(
    ("mode", "waiting_bytes", "expected"),
    [
        (CompressionMode.AUTO, 0, False),
        (CompressionMode.AUTO, 4 * MIB - 1, False),
        (CompressionMode.AUTO, 4 * MIB, True),
        (CompressionMode.ALWAYS, 0, True),
        (CompressionMode.OFF, 10**12, False),
    ],
)
def test_batches_are_compressed_always_never_or_with_a_backlog(
    tmp_path: Path, mode: CompressionMode, waiting_bytes: int, expected: bool
) -> None:
    limits = BatchLimits(compression=Compression(mode))

    [line] = lines_written(tmp_path, limits, waiting_bytes=waiting_bytes)

    assert is_compressed(line) == expected


def test_a_small_batch_stays_plain(tmp_path: Path) -> None:
    [small] = lines_written(tmp_path / "small", BatchLimits(compression=ALWAYS), events=10)
    [large] = lines_written(tmp_path / "large", BatchLimits(compression=ALWAYS), events=20)

    assert len(small) < 1024 < len(parse_batch(large).events)
    assert (is_compressed(small), is_compressed(large)) == (False, True)


def test_the_limits_of_a_batch_are_those_of_what_is_posted(tmp_path: Path) -> None:
    plain = lines_written(tmp_path / "plain", BatchLimits(size_bytes=5_000, compression=OFF), events=500)
    packed = lines_written(tmp_path / "packed", BatchLimits(size_bytes=5_000, compression=ALWAYS), events=500)

    assert len(plain) > 5
    assert all(map(is_compressed, packed[:-1]))
    assert [parse_batch(line) for line in packed] == [parse_batch(line) for line in plain]


# -- a queue ------------------------------------------------------------------------------------------------


def compressing(directory: Path, compression: Compression = ALWAYS, batch_events: int = 1000) -> SettingQueue:
    return open_queue(directory, Clock(), compression=compression, batch_events=batch_events)


def test_a_queue_reads_what_it_finds_whatever_is_configured(tmp_path: Path) -> None:
    collect(compressing(tmp_path), *IDS, text="much the same")
    collect(compressing(tmp_path, OFF), "plain")
    compressed, plain = files_in(tmp_path, "out")
    assert b'"z":' in compressed.read_bytes()
    assert b'"ev":' in plain.read_bytes()

    for compression in (ALWAYS, OFF):
        assert waiting_ids(compressing(tmp_path, compression)) == [*IDS, "plain"]


def test_a_post_is_measured_by_what_it_sends_and_the_volume_by_what_it_holds(tmp_path: Path) -> None:
    queue = compressing(tmp_path, batch_events=20)
    collect(queue, *IDS, text="much the same")
    first, second = queue.peek(ENOUGH_BYTES)

    assert ids_in(queue.peek(len(first.events) + len(second.events) - 1)) == IDS[:20]
    assert figures_of(queue).waiting_bytes < len(first.events)


def test_parts_and_dead_letters_of_a_compressed_batch_are_those_of_its_events(tmp_path: Path) -> None:
    queue = compressing(tmp_path)
    collect(queue, *IDS, text="much the same")

    [whole] = queue.peek(ENOUGH_BYTES)
    queue.narrow(whole, 1)
    queue.bury(queue.peek(ENOUGH_BYTES)[0], "content_refused", answer="no", attempts=1)

    assert dead_ids(tmp_path) == IDS[:1]
    assert waiting_ids(compressing(tmp_path, OFF)) == IDS[1:]
    assert account_of(queue) == (40, 0, 39, 1)


def test_a_queue_begins_to_compress_when_enough_waits_and_stops_when_it_has_drained(tmp_path: Path) -> None:
    queue = compressing(tmp_path, Compression(above_waiting_bytes=3_000))
    for number in range(4):
        collect(queue, *(f"{number}-{one}" for one in range(20)), text="much the same")
    assert [b'"z":' in path.read_bytes() for path in files_in(tmp_path, "out")] == [False, False, True, True]

    queue.settle(queue.peek(ENOUGH_BYTES))
    collect(queue, *IDS, text="much the same")

    assert b'"ev":' in files_in(tmp_path, "out")[-1].read_bytes()


def test_a_damaged_compressed_batch_is_set_aside_alone(tmp_path: Path) -> None:
    queue = compressing(tmp_path, batch_events=20)
    collect(queue, *IDS, text="much the same")
    [path] = files_in(tmp_path, "out")
    flip(path, path.read_bytes().index(b'"z":"') + 50)

    again = compressing(tmp_path, OFF)

    assert waiting_ids(again) == IDS[20:]
    assert account_of(again) == (40, 0, 20, 20)


def test_compressed_batches_are_packed_as_they_are(tmp_path: Path) -> None:
    queue = compressing(tmp_path)
    for number in range(300):
        collect(queue, *(f"{number}-{one}" for one in range(20)), text="much the same")
    before = queue.peek(ENOUGH_BYTES)

    assert queue.pack()

    assert len(files_in(tmp_path, "out")) < 20
    assert [(batch.seq, batch.events) for batch in queue.peek(ENOUGH_BYTES)] == [
        (batch.seq, batch.events) for batch in before
    ]


@pytest.mark.parametrize(("text", "expected"), [("always", b'"z":'), ("off", b'"ev":'), ("auto", b'"ev":')])
def test_the_option_reaches_the_files(tmp_path: Path, text: str, expected: bytes) -> None:
    config, _ = load_config(
        {
            "EXASTRO_URL": "http://127.0.0.1",
            "EXASTRO_ORGANIZATION_ID": "org",
            "EXASTRO_WORKSPACE_ID": "ws",
            "EXASTRO_REFRESH_TOKEN": "token",
            "EVENT_COLLECTION_SETTINGS_NAMES": SETTING,
            "STORAGE_PATH": str(tmp_path),
            "SPOOL_COMPRESSION": text,
        }
    )
    spool = build_spool(config, Telemetry())

    collect(spool.queue(SETTING), *IDS, text="much the same")

    [path] = tmp_path.rglob("out.*")
    assert expected in path.read_bytes()
