"""The format of `out` files: what is written is read back, and no damage passes."""

import zlib
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oase_agent.disk import Disk
from oase_agent.model import Cursor
from oase_agent.spool.batch_file import (
    Damage,
    FileName,
    Footer,
    NewerFormat,
    batch_line,
    claimed_count,
    footer_line,
    footer_pieces,
    lines_of,
    parse_batch,
    parse_footer,
    read_footer,
    refused_line,
    whole_batch,
)

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_EVENTS = st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), _JSON, max_size=4)
_NUMBERS = st.integers(0, 2**62)
_IDS = st.lists(st.tuples(st.integers(0, 2**32 - 1), st.just("AAAAAAAAAAAAAAAAAAAAAA==")), max_size=3)


@given(seq=_NUMBERS, group_time=_NUMBERS, events=st.lists(_EVENTS, min_size=1, max_size=5))
def test_a_batch_is_read_back_byte_for_byte(
    seq: int, group_time: int, events: list[dict[str, object]]
) -> None:
    texts = [orjson.dumps(event) for event in events]

    line = batch_line(seq, group_time, texts)

    batch = parse_batch(line)
    assert (batch.seq, batch.group_time, batch.count, batch.is_refused) == (
        seq,
        group_time,
        len(events),
        False,
    )
    assert batch.events == b"[" + b",".join(texts) + b"]"
    assert line.count(b"\n") == 1
    assert orjson.loads(line)["ev"] == events


@given(
    seq=_NUMBERS, refused=st.lists(st.tuples(st.text(), st.text(st.characters(codec="utf-8"))), min_size=1)
)
def test_refused_events_are_read_back_with_their_reasons(seq: int, refused: list[tuple[str, str]]) -> None:
    refused = [(why.encode("utf-8", "replace").decode(), text) for why, text in refused]

    batch = parse_batch(refused_line(seq, refused))

    assert batch.is_refused
    assert (batch.seq, batch.count) == (seq, len(refused))
    assert orjson.loads(batch.events) == [{"why": why, "event": text} for why, text in refused]


@given(
    first=st.integers(1, 2**40),
    more=st.integers(0, 1000),
    numbers=st.tuples(_NUMBERS, _NUMBERS, _NUMBERS, _NUMBERS),
    time=_NUMBERS,
    event=st.none() | _EVENTS,
    ids=_IDS,
)
def test_a_footer_is_read_back(
    first: int,
    more: int,
    numbers: tuple[int, int, int, int],
    time: int,
    event: dict[str, object] | None,
    ids: list[tuple[int, str]],
) -> None:
    text = None if event is None else orjson.dumps(event)
    events, size, group_time, collected = numbers
    footer = Footer(first, first + more, events, size, group_time, collected, Cursor(time, text), tuple(ids))

    assert parse_footer(footer_line(footer)) == footer


@given(event=st.dictionaries(st.text(st.characters(codec="utf-8")), st.floats(allow_nan=False) | _JSON))
def test_the_last_event_in_a_footer_keeps_the_bytes_in_which_it_is_posted(event: dict[str, object]) -> None:
    # Templates see it as EXASTRO_LAST_FETCHED_EVENT, and a restart must not change what they see.
    text = orjson.dumps(event)
    footer = Footer(1, 1, 1, 10, 5, 1, Cursor(5, text))

    assert parse_footer(footer_line(footer)).cursor.last_event == text


@given(first=st.integers(0, 2**62), last=st.integers(0, 2**62), epoch=st.integers(0, 2**40))
def test_a_name_is_read_back(first: int, last: int, epoch: int) -> None:
    name = FileName(first, last, epoch)

    assert FileName.parse(str(name)) == name


@pytest.mark.parametrize(
    "name",
    [
        "out.1-2.1.jsonl",
        "out.0000000001-0000000002.000001.jsonl.tmp",
        "xout.0000000001-0000000002.000001.jsonl",
        "out.0000000001-0000000002.000001.json",
        "out.0000000001.000001.jsonl",
        ".nfs0000000000001234",
        "out.0000000001-0000000002.000001.jsonl\n",
    ],
)
def test_names_of_another_kind_are_not_ours(name: str) -> None:
    assert FileName.parse(name) is None


def small_file(directory: Path) -> tuple[Path, FileName]:
    events = [b'{"id":"1"}', b'{"id":"2"}']
    lines = [
        batch_line(5, 1_700_000_010, events),
        refused_line(6, [("NUL", "x")]),
        batch_line(7, 1_700_000_011, events * 8, compress=True),
    ]
    assert b'"z":' in lines[2]
    size = sum(map(len, lines))
    footer = Footer(5, 7, 19, size, 1_700_000_011, 42, Cursor(1_700_000_009, b'{"id":"2"}'), ((1, "AAAA"),))
    name = FileName(5, 7, 1)
    path = directory / str(name)
    path.write_bytes(b"".join([*lines, footer_line(footer)]))
    return path, name


def is_wholly_read(path: Path, name: FileName, expected: bytes) -> bool:
    """Tell whether a reader would take everything of a file as it is."""
    disk = Disk()
    try:
        footer = read_footer(disk, path, name)
        read = [line for _, line in lines_of(disk, path, 0, footer.size)]
        seqs = [parse_batch(line).seq for line in read]
    except (Damage, NewerFormat):
        return False
    assert seqs == [5, 6, 7]
    return b"".join([*read, footer_line(footer)]) == expected


def test_every_flipped_bit_of_a_file_is_detected(tmp_path: Path) -> None:
    path, name = small_file(tmp_path)
    content = path.read_bytes()
    assert is_wholly_read(path, name, content)

    undetected = []
    for offset in range(len(content)):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[offset] ^= 1 << bit
            path.write_bytes(damaged)
            if is_wholly_read(path, name, content):
                undetected.append((offset, bit))

    assert undetected == []


def test_every_cut_and_every_zeroed_block_of_a_file_is_detected(tmp_path: Path) -> None:
    path, name = small_file(tmp_path)
    content = path.read_bytes()

    undetected = []
    for offset in range(len(content)):
        for damaged in (
            content[:offset],
            content[:offset] + bytes(16) + content[offset + 16 :],
            content + b"\n",
        ):
            path.write_bytes(damaged)
            if is_wholly_read(path, name, content):
                undetected.append(offset)

    assert undetected == []


@pytest.mark.parametrize("order", [[1, 0, 2, 3], [0, 0, 1, 2, 3], [0, 2, 3], [0, 1, 3]])
def test_lines_that_are_missing_or_repeated_are_told_by_the_footer(tmp_path: Path, order: list[int]) -> None:
    path, name = small_file(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[place] for place in order))

    if sorted(order) == [0, 1, 2, 3]:
        # The same lines in another order: the length is right, and only the numbers tell.
        footer = read_footer(Disk(), path, name)
        read = [parse_batch(line).seq for _, line in lines_of(Disk(), path, 0, footer.size)]
        assert read == [6, 5, 7]
    else:
        with pytest.raises(Damage, match="another length"):
            read_footer(Disk(), path, name)


def test_a_file_under_another_name_is_detected(tmp_path: Path) -> None:
    path, _ = small_file(tmp_path)

    with pytest.raises(Damage, match="other numbers"):
        read_footer(Disk(), path, FileName(5, 8, 1))


@settings(max_examples=20, deadline=None)
@given(length=st.integers(0, 70_000))
def test_a_footer_of_any_length_is_found(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    directory = tmp_path_factory.mktemp("footer")
    line = batch_line(1, 5, [b"{}"])
    event = orjson.dumps({"text": "x" * length})
    footer = Footer(1, 1, 1, len(line), 5, 1, Cursor(5, event))
    path = directory / str(FileName(1, 1, 1))
    path.write_bytes(line + footer_line(footer))

    assert read_footer(Disk(), path, FileName(1, 1, 1)) == footer


def test_a_footer_of_a_newer_version_is_told_apart_from_damage() -> None:
    line = footer_line(Footer(1, 1, 1, 10, 5, 1, Cursor(5)))
    from_the_future = line[: line.index(b',"crc"')].replace(b'{"v":1,', b'{"v":2,')

    sealed = b'%b,"crc":"%08x"}\n' % (from_the_future, zlib.crc32(from_the_future))

    with pytest.raises(NewerFormat, match="format 2"):
        parse_footer(sealed)


def test_what_a_damaged_line_still_tells() -> None:
    line = batch_line(9, 5, [b'{"a":1}', b'{"a":2}'])
    damaged = line.replace(b'"a":2', b'"a":3')

    whole = whole_batch(line)
    assert whole is not None
    assert whole.seq == 9
    assert whole_batch(damaged) is None
    assert claimed_count(damaged) == 2
    assert claimed_count(b"\0" * 100) == 0


def test_a_footer_with_very_many_ids_is_written_in_pieces_and_read_back_whole() -> None:
    ids = tuple((number, "A" * 1000) for number in range(1000))
    footer = Footer(1, 1, 1, 10, 5, 1, Cursor(5), ids=ids)

    pieces = list(footer_pieces(footer))

    assert len(pieces) > 5
    assert max(map(len, pieces)) < 128 * 1024
    assert parse_footer(b"".join(pieces)) == footer
