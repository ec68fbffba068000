"""What an accepted POST means for each setting in it (contract 3.2, design section 6)."""

import pytest

from oase_agent.deliver.verdicts import (
    Delivered,
    Fenced,
    Sent,
    SettingRefused,
    Unclear,
    Verdict,
    judge,
    position_in,
)
from oase_agent.errors import Reason
from oase_agent.spool.batch_file import FileName
from oase_agent.spool.outgoing import Outgoing
from oase_agent.workspace.refusals import (
    DiscardedSetting,
    InvalidSetting,
    NotLatest,
    Refusal,
    UnknownText,
)


def sent(name: str, setting_id: str, *times: int) -> Sent:
    batches = [
        Outgoing(number, time, b"[{}]", 0, 1, 1, FileName(1, 1, 1), 0) for number, time in enumerate(times, 1)
    ]
    return Sent(name, setting_id, batches)


A = sent("a", "id-a", 10, 11, 12)
B = sent("b", "id-b", 10, 20)
NAMELESS = sent("c", "", 10, 30)

UNKNOWN = SettingRefused(Reason.UNKNOWN_SETTING, "the workspace knows no setting of this name")
DISCARDED = SettingRefused(Reason.DISCARDED_SETTING, "the setting has been discarded in the workspace")


@pytest.mark.parametrize(
    ("settings", "refusals", "verdicts"),
    [
        pytest.param([A], [], [Delivered()], id="nothing refused"),
        pytest.param([A, B], [], [Delivered(), Delivered()], id="nothing refused of two"),
        pytest.param([A], [NotLatest("id-a", 10, 10)], [Fenced(1, 10)], id="the oldest was too old"),
        pytest.param(
            [A],
            [NotLatest("id-a", 12, 12), NotLatest("id-a", 10, 12), NotLatest("id-a", 11, 12)],
            [Fenced(3, 12)],
            id="all too old, in any order",
        ),
        pytest.param([A], [NotLatest("id-a", 10, 99)], [Fenced(3, 99)], id="the latest time decides"),
        pytest.param(
            [A, B],
            [NotLatest("id-b", 10, 15)],
            [Delivered(), Fenced(1, 15)],
            id="same time, told apart by id",
        ),
        pytest.param([A], [InvalidSetting("a")], [UNKNOWN], id="unknown"),
        pytest.param([A, B], [InvalidSetting("b")], [Delivered(), UNKNOWN], id="another one unknown"),
        pytest.param([A, B], [DiscardedSetting("a")], [DISCARDED, Delivered()], id="discarded"),
        pytest.param(
            [A, B],
            [DiscardedSetting("a"), NotLatest("id-b", 10, 10)],
            [DISCARDED, Fenced(1, 10)],
            id="each has its own text",
        ),
        pytest.param([A], [UnknownText("?")], [Unclear("?")], id="unknown text about the only one"),
        pytest.param(
            [A, B], [UnknownText("on id-b")], [Delivered(), Unclear("on id-b")], id="unknown text with an id"
        ),
        pytest.param(
            [A, B],
            [UnknownText("what of 'b'?")],
            [Delivered(), Unclear("what of 'b'?")],
            id="a short name that is part of another word is not named",
        ),
        pytest.param(
            [A, B], [UnknownText("??")], [Unclear("??"), Unclear("??")], id="unknown text about anyone"
        ),
        pytest.param([NAMELESS], [NotLatest("id-x", 10, 10)], [Fenced(1, 10)], id="id never learned"),
        pytest.param(
            [NAMELESS, B],
            [NotLatest("id-b", 10, 10)],
            [Delivered(), Fenced(1, 10)],
            id="id never learned, another's refusal",
        ),
        pytest.param(
            [A, NAMELESS],
            [NotLatest("id-x", 10, 10)],
            [Delivered(), Fenced(1, 10)],
            id="an id that is not ours concerns who has none, not who has another",
        ),
    ],
)
def test_an_answer_is_sorted_by_setting(
    settings: list[Sent], refusals: list[Refusal], verdicts: list[Verdict]
) -> None:
    assert judge(settings, refusals) == verdicts


def test_a_refusal_that_names_a_time_below_all_of_ours_makes_no_sense_and_is_unclear() -> None:
    [verdict] = judge([A], [NotLatest("id-a", 10, 5)])

    assert isinstance(verdict, Unclear)


@pytest.mark.parametrize(
    ("setting", "refusals", "position"),
    [
        pytest.param(A, [], None, id="no history"),
        pytest.param(A, [NotLatest("id-a", 1, 77)], 77, id="a history"),
        pytest.param(A, [NotLatest("id-b", 1, 88), NotLatest("id-a", 1, 77)], 77, id="among others"),
        pytest.param(A, [NotLatest("id-b", 1, 88)], None, id="only another has a history"),
        pytest.param(A, [InvalidSetting("a")], UNKNOWN, id="unknown"),
        pytest.param(A, [InvalidSetting("b"), NotLatest("id-a", 1, 77)], 77, id="another one unknown"),
        pytest.param(A, [DiscardedSetting("a")], DISCARDED, id="discarded"),
        pytest.param(A, [UnknownText("?")], Unclear("?"), id="unreadable"),
        pytest.param(A, [UnknownText("?"), NotLatest("id-a", 1, 77)], 77, id="unreadable for another"),
        pytest.param(NAMELESS, [NotLatest("id-x", 1, 77)], 77, id="asked alone without an id"),
    ],
)
def test_a_probe_tells_a_position(
    setting: Sent, refusals: list[Refusal], position: int | Verdict | None
) -> None:
    assert position_in(setting, refusals) == position
