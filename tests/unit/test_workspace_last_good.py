"""What survives a restart without the workspace: written once, newest whole generation wins, mode 0600."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

import pytest

from oase_agent.model import Secret
from oase_agent.workspace.last_good import LastGoodSettings, StoredRefreshToken

ROWS: list[object] = [
    {"EVENT_COLLECTION_SETTINGS_NAME": "名前", "AUTH_TOKEN": "AAAA", "TTL": 10, "PORT": None}
]


class RealFiles:
    """The write-once rule on real files, as small as it can be."""

    def write_new(self, directory: Path, name: str, chunks: Iterable[bytes], *, mode: int = 0o600) -> None:
        if (directory / name).exists():
            raise FileExistsError(name)
        temporary = directory / f"tmp.{name}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(directory / name)

    def names(self, directory: Path) -> list[str]:
        return os.listdir(directory)

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def unlink(self, path: Path) -> None:
        path.unlink()


class FullDisk(RealFiles):
    def write_new(self, directory: Path, name: str, chunks: Iterable[bytes], *, mode: int = 0o600) -> None:
        raise OSError(28, "No space left on device")


def settings_in(directory: Path, disk: RealFiles | None = None) -> LastGoodSettings:
    return LastGoodSettings(disk or RealFiles(), directory)


def token_in(directory: Path, configured: str, disk: RealFiles | None = None) -> StoredRefreshToken:
    return StoredRefreshToken(disk or RealFiles(), directory, Secret(configured))


def test_rows_come_back_after_a_restart(tmp_path: Path) -> None:
    settings_in(tmp_path).save(ROWS)
    assert settings_in(tmp_path).load() == ROWS


def test_there_is_nothing_before_the_first_save(tmp_path: Path) -> None:
    assert settings_in(tmp_path).load() is None
    assert settings_in(tmp_path / "missing").load() is None


def test_an_empty_answer_is_an_answer(tmp_path: Path) -> None:
    settings_in(tmp_path).save([])
    assert settings_in(tmp_path).load() == []


def test_files_are_generations_of_which_the_newest_two_stay(tmp_path: Path) -> None:
    for ttl_s in range(10, 14):
        settings_in(tmp_path).save([{"TTL": ttl_s}])
    assert sorted(os.listdir(tmp_path)) == ["settings.0000000003.json", "settings.0000000004.json"]
    assert settings_in(tmp_path).load() == [{"TTL": 13}]


def test_only_the_owner_may_read_what_is_kept(tmp_path: Path) -> None:
    settings_in(tmp_path).save(ROWS)
    token_in(tmp_path, "configured").save(Secret("rotated"))
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\x00" * 64,
        b'{"crc32":"00000000","content":[]}\n',
        b'{"crc32":"zzzzzzzz","content":[]}\n',
        b"not json",
    ],
)
def test_a_damaged_generation_gives_way_to_the_one_before_it(tmp_path: Path, damage: bytes) -> None:
    settings_in(tmp_path).save([{"TTL": 10}])
    settings_in(tmp_path).save([{"TTL": 11}])
    (tmp_path / "settings.0000000002.json").write_bytes(damage)
    assert settings_in(tmp_path).load() == [{"TTL": 10}]


def test_no_changed_byte_and_no_cut_goes_unnoticed(tmp_path: Path) -> None:
    settings_in(tmp_path).save(ROWS)
    path = tmp_path / "settings.0000000001.json"
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        assert settings_in(tmp_path).load() is None
        path.write_bytes(whole[:position])
        assert settings_in(tmp_path).load() is None


def test_the_number_goes_on_above_a_damaged_generation(tmp_path: Path) -> None:
    (tmp_path / "settings.0000000007.json").write_bytes(b"damaged")
    settings_in(tmp_path).save(ROWS)
    assert (tmp_path / "settings.0000000008.json").exists()
    assert settings_in(tmp_path).load() == ROWS


def test_files_of_others_are_neither_read_nor_removed(tmp_path: Path) -> None:
    others = [
        "settings.1.json",
        "state.0000000009.json",
        "tmp.settings.0000000001.json",
        "settings.0000000001.json.x",
    ]
    for name in others:
        (tmp_path / name).write_bytes(b"[]")
    for _ in range(3):
        settings_in(tmp_path).save(ROWS)
    assert set(others) < set(os.listdir(tmp_path))


def test_a_number_that_another_replica_took_is_left_to_it(tmp_path: Path) -> None:
    class Raced(RealFiles):
        def names(self, directory: Path) -> list[str]:
            listed = super().names(directory)
            if not listed:  # the other one writes right after our look
                RealFiles().write_new(directory, "settings.0000000001.json", [b"other"])
            return listed

    settings_in(tmp_path, Raced()).save(ROWS)
    assert (tmp_path / "settings.0000000001.json").read_bytes() == b"other"
    assert settings_in(tmp_path).load() == ROWS


def test_a_generation_that_another_replica_removed_meanwhile_is_passed_over(tmp_path: Path) -> None:
    class Raced(RealFiles):
        def read(self, path: Path) -> bytes:
            if path.name == "settings.0000000002.json":
                path.unlink()
            return super().read(path)

    settings_in(tmp_path).save([1])
    settings_in(tmp_path).save([2])
    assert settings_in(tmp_path, Raced()).load() == [1]


def test_a_failed_save_keeps_what_was_there(tmp_path: Path) -> None:
    settings_in(tmp_path).save(ROWS)
    with pytest.raises(OSError, match="No space left"):
        settings_in(tmp_path, FullDisk()).save([])
    assert settings_in(tmp_path).load() == ROWS


def test_an_old_generation_that_cannot_be_removed_harms_nothing(tmp_path: Path) -> None:
    class Sticky(RealFiles):
        def unlink(self, path: Path) -> None:
            raise PermissionError(path)

    for ttl_s in range(4):
        settings_in(tmp_path, Sticky()).save([ttl_s])
    assert settings_in(tmp_path).load() == [3]
    settings_in(tmp_path).save([4])
    assert len(os.listdir(tmp_path)) == 2


def test_a_volume_that_cannot_be_read_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    class Broken(RealFiles):
        def read(self, path: Path) -> bytes:
            raise OSError(5, "Input/output error")

    token_in(tmp_path, "configured").save(Secret("rotated"))
    with pytest.raises(OSError, match="Input/output"):
        token_in(tmp_path, "configured", Broken()).current()


def test_the_configured_token_is_used_until_it_is_rotated(tmp_path: Path) -> None:
    assert token_in(tmp_path, "configured").current() == Secret("configured")
    token_in(tmp_path, "configured").save(Secret("rotated-1"))
    token_in(tmp_path, "configured").save(Secret("rotated-2"))
    assert token_in(tmp_path, "configured").current() == Secret("rotated-2")


def test_a_newly_configured_token_wins_over_the_stored_one(tmp_path: Path) -> None:
    token_in(tmp_path, "old").save(Secret("rotated"))
    assert token_in(tmp_path, "new").current() == Secret("new")
    token_in(tmp_path, "new").save(Secret("rotated-new"))
    assert token_in(tmp_path, "new").current() == Secret("rotated-new")
    # Going back does not bring back a token from before, which has been replaced since.
    assert token_in(tmp_path, "old").current() == Secret("old")


def test_a_damaged_token_file_falls_back_to_the_one_before_it(tmp_path: Path) -> None:
    token_in(tmp_path, "configured").save(Secret("rotated-1"))
    token_in(tmp_path, "configured").save(Secret("rotated-2"))
    (tmp_path / "token.0000000002.json").write_bytes(b"")
    assert token_in(tmp_path, "configured").current() == Secret("rotated-1")


def test_the_configured_token_is_remembered_as_a_hash_only(tmp_path: Path) -> None:
    token_in(tmp_path, "canary-configured").save(Secret("rotated"))
    (path,) = tmp_path.iterdir()
    assert b"canary" not in path.read_bytes()
