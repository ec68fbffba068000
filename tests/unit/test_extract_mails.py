"""From pages of mail to events: labels without an id, known Message-IDs, and the two keys (contract section 8)."""

import json
from collections.abc import Sequence
from typing import Any

from oase_agent.collect.extract import ExtractedSlice, ExtractionRules, Labels, extract_events
from oase_agent.model import ConnectionMethod, RequestMethod, Setting

LABELS = Labels("m", "id-m", 1_700_000_000, 1_700_000_060)
PLUS_4 = {
    "_exastro_event_collection_settings_name": "m",
    "_exastro_event_collection_settings_id": "id-m",
    "_exastro_fetched_time": 1_700_000_000,
    "_exastro_end_time": 1_700_000_060,
}


def mail(message_id: str, **fields: Any) -> dict[str, Any]:
    return {"date": 1, "lastchange": 1.0, "message_id": message_id, "subject": "s"} | fields


class Known:
    """Ids that are known, and those that were asked for."""

    def __init__(self, *ids: str) -> None:
        self.ids = set(ids)
        self.asked: list[str] = []

    def are_new(self, ids: Sequence[str]) -> list[bool]:
        self.asked += ids
        return [event_id not in self.ids for event_id in ids]


def slices(
    mails: list[dict[str, Any]], known: Known | None = None, *, max_bytes: int = 1000, **columns: Any
) -> list[ExtractedSlice]:
    setting = Setting(
        id="id-m",
        name="m",
        connection_method=ConnectionMethod.IMAP,
        request_method=RequestMethod.IMAP_TLS,
        url="mail.test",
        ttl_s=60,
        response_is_list=True,
        **columns,
    )
    return list(
        extract_events(
            json.dumps(mails).encode(),
            ExtractionRules.for_setting(setting),
            LABELS,
            first_serial=7,
            is_new=lambda _id: False,
            are_new=(known or Known()).are_new,
            whole_document_max_bytes=max_bytes,
        )
    )


def extracted(
    mails: list[dict[str, Any]], known: Known | None = None, **columns: Any
) -> list[dict[str, Any]]:
    return [json.loads(event) for piece in slices(mails, known, **columns) for event in piece.events]


def test_a_mail_gets_the_four_labels_and_no_event_id() -> None:
    (event,) = extracted([mail("<1@test>")])
    assert event == mail("<1@test>") | PLUS_4
    assert list(event) == [*mail(""), *PLUS_4]


def test_a_mail_whose_message_id_is_known_is_dropped() -> None:
    known = Known("<2@test>")
    events = extracted([mail("<1@test>"), mail("<2@test>"), mail("<3@test>")], known)
    assert [event["message_id"] for event in events] == ["<1@test>", "<3@test>"]
    assert known.asked == ["<1@test>", "<2@test>", "<3@test>"]


def test_a_made_up_id_is_known_together_with_the_mail_it_stands_for() -> None:
    mails = [mail("m_1.0", subject="one"), mail("m_1.0", subject="two")]
    known = Known()
    assert len(extracted(mails, known)) == 2
    again = Known(*known.asked[:1])
    assert [event["subject"] for event in extracted(mails, again)] == ["two"]


def test_the_last_mail_is_the_newest_whatever_its_id() -> None:
    (piece,) = slices([mail("<9@test>"), mail("<1@test>")])
    assert piece.newest is not None
    assert json.loads(piece.newest.data)["message_id"] == "<1@test>"


def test_a_mail_of_any_size_is_an_event() -> None:
    assert len(extracted([mail("<1@test>", body="x" * 400_000)] * 3, max_bytes=1000)) == 3
    chosen = extracted(
        [mail("<1@test>", body="x" * 400_000)] * 3, max_bytes=1000, response_key="[?subject=='s']"
    )
    assert len(chosen) == 3


def test_response_key_selects_among_the_new_mails() -> None:
    mails = [
        mail("<1@test>", subject="down"),
        mail("<2@test>", subject="up"),
        mail("<3@test>", subject="down"),
    ]
    known = Known("<3@test>")
    (event,) = extracted(mails, known, response_key="[?subject=='down']")
    assert event["message_id"] == "<1@test>"
    # What is left of a mail may have no Message-ID any more: known ones do not come back.
    texts = extracted(mails, known, response_key="[].subject")
    assert [event["_exastro_raw_data"] for event in texts] == ["down", "up"]
    assert "_exastro_oase_event_id" not in texts[0]


def test_keys_that_select_nothing_flag_every_mail() -> None:
    mails = [mail("<1@test>"), mail("<2@test>")]
    flags = [event["_exastro_not_available"] for event in extracted(mails, response_key="nowhere")]
    assert flags == ["RESPONSE_KEY not found"] * 2
    flags = [event["_exastro_not_available"] for event in extracted(mails, event_id_key="nowhere")]
    assert flags == ["EVENT_ID_KEY not found"] * 2
    assert extracted([], response_key="nowhere") == []


def test_event_id_key_neither_labels_a_mail_nor_makes_it_known() -> None:
    known = Known("s")
    events = extracted([mail("<1@test>"), mail("<2@test>")], known, event_id_key="subject")
    assert events == [mail("<1@test>") | PLUS_4, mail("<2@test>") | PLUS_4]


def test_an_empty_mailbox_makes_no_event() -> None:
    assert extracted([]) == []
