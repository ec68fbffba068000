"""Which mails of a real mailbox are collected, and when: numbers, times, moves, and a server that numbers anew."""

import asyncio
from dataclasses import replace
from pathlib import Path

from oase_agent.errors import Reason
from oase_agent.model import Secret, Setting
from oase_agent.sources.exchange import SourceLimits
from tests.mail.dovecot import Dovecot, Mailbox, needs_dovecot
from tests.mail.mail_stage import DAY_S, HOUR_S, NOW_S, MailLife, a_mail

pytestmark = needs_dovecot


async def test_the_first_collection_takes_mail_from_the_start_time_on(
    mailbox: Mailbox, setting: Setting, place: Path
) -> None:
    mailbox.deliver(a_mail("a day before"), arrived_s=NOW_S - DAY_S)
    mailbox.deliver(a_mail("just before"), arrived_s=NOW_S - 1)
    mailbox.deliver(a_mail("at the start"), arrived_s=NOW_S)
    mailbox.deliver(a_mail("later"), arrived_s=NOW_S + 5)
    life = MailLife(place, setting)
    assert await life.collect_well() == ["at the start", "later"]


async def test_an_empty_mailbox_is_collected_and_what_comes_later_arrives(
    mailbox: Mailbox, setting: Setting, place: Path
) -> None:
    life = MailLife(place, setting)
    assert await life.collect_well() == []
    mailbox.deliver(a_mail("one"), arrived_s=NOW_S + 5)
    assert await life.collect_well() == ["one"]
    assert await life.collect_well() == ["one"]


async def test_d8_a_mail_that_arrives_long_after_its_date_is_collected(
    mailbox: Mailbox, setting: Setting, place: Path
) -> None:
    life = MailLife(place, setting)
    await life.collect()
    life.now_s += HOUR_S
    await life.collect()
    old = "Mon, 13 Nov 2023 10:00:00 +0000"
    mailbox.deliver(a_mail("late", date=old), arrived_s=NOW_S + HOUR_S)
    # Even the time of arrival may lie: the number decides.
    mailbox.deliver(a_mail("later", date=old), arrived_s=NOW_S - 10 * DAY_S)
    assert sorted(await life.collect_well()) == ["late", "later"]


async def test_d31_mails_are_read_once_and_nothing_is_marked(
    dovecot: Dovecot, mailbox: Mailbox, setting: Setting, place: Path
) -> None:
    for number in range(3):
        mailbox.deliver(a_mail(number), arrived_s=NOW_S)
    life = MailLife(place, setting)
    for _ in range(3):
        await life.collect_well()
    assert mailbox.flags() == set()
    while len(sessions := [line for line in dovecot.log_of(mailbox.user) if "Logged out" in line]) < 3:
        await asyncio.sleep(0.02)  # the server writes it down after it has said goodbye
    assert ["body_count=3" in session for session in sessions] == [True, False, False]
    assert ["body_count=0" in session for session in sessions] == [False, True, True]


async def test_a_deleted_mail_leaves_a_gap_that_harms_nothing(
    mailbox: Mailbox, setting: Setting, place: Path
) -> None:
    mails = [mailbox.deliver(a_mail(number), arrived_s=NOW_S) for number in range(5)]
    life = MailLife(place, setting)
    await life.collect_well()
    for mail in mails[1:]:
        mailbox.delete(mail)
    assert len(await life.collect_well()) == 5
    mailbox.deliver(a_mail("new"), arrived_s=NOW_S)
    assert (await life.collect_well())[5:] == ["new"]


async def test_a_mail_that_is_moved_away_and_back_is_collected_once(
    mailbox: Mailbox, setting: Setting, place: Path
) -> None:
    mail = mailbox.deliver(a_mail("moved"), arrived_s=NOW_S)
    life = MailLife(place, setting)
    await life.collect_well()
    mail = mailbox.move(mail, ".Archive")
    await life.collect_well()
    mailbox.move(mail, "")
    assert await life.collect_well() == ["moved"]


async def test_a_mail_that_is_moved_into_the_mailbox_is_new_there(
    mailbox: Mailbox, setting: Setting, place: Path
) -> None:
    mail = mailbox.deliver(a_mail("from elsewhere"), arrived_s=NOW_S - 10 * DAY_S, folder=".Elsewhere")
    mailbox.deliver(a_mail("first"), arrived_s=NOW_S)
    life = MailLife(place, setting)
    await life.collect_well()
    mailbox.move(mail, "")
    assert await life.collect_well() == ["first", "from elsewhere"]


async def test_another_folder_may_have_a_japanese_name(
    mailbox: Mailbox, setting: Setting, place: Path
) -> None:
    mailbox.deliver(a_mail("in the folder"), arrived_s=NOW_S, folder=".&lpxbszDhMPww6w-")
    life = MailLife(place, replace(setting, mailbox_name="障害メール"))
    assert await life.collect_well() == ["in the folder"]


async def test_after_a_change_of_numbers_nothing_is_missing_and_nothing_comes_twice(
    mailbox: Mailbox, setting: Setting, place: Path
) -> None:
    mailbox.deliver(a_mail("never"), arrived_s=NOW_S - 3 * DAY_S)
    mailbox.deliver(a_mail("known"), arrived_s=NOW_S)
    mailbox.deliver(b"Subject: without id\r\n\r\nx\r\n", arrived_s=NOW_S)
    life = MailLife(place, setting)
    assert sorted(await life.collect_well()) == ["known", "without id"]
    mailbox.forget_numbers()
    # The server's clock is behind ours by an hour.
    mailbox.deliver(a_mail("new"), arrived_s=NOW_S - HOUR_S)
    life.now_s += 10
    assert sorted(await life.collect_well()) == ["known", "new", "without id"]
    mailbox.deliver(a_mail("newer"), arrived_s=NOW_S)
    assert (await life.collect_well())[3:] == ["newer"]


async def test_two_mails_of_one_second_without_an_id_are_two_events(
    mailbox: Mailbox, setting: Setting, place: Path
) -> None:
    life = MailLife(place, setting)
    for subject in ("one", "two"):
        date = "Tue, 14 Nov 2023 22:13:30 +0000"
        mailbox.deliver(f"Subject: {subject}\r\nDate: {date}\r\n\r\nx\r\n", arrived_s=NOW_S)
        await life.collect_well()
    assert life.subjects == ["one", "two"]
    assert {event["message_id"] for event in life.events} == {"mail_1700000010.0"}


async def test_another_mailbox_begins_anew_at_the_time_of_the_cursor(
    mailbox: Mailbox, setting: Setting, place: Path
) -> None:
    for number in range(3):
        mailbox.deliver(a_mail(number), arrived_s=NOW_S)
    mailbox.deliver(a_mail("old"), arrived_s=NOW_S - 1, folder=".Other")
    mailbox.deliver(a_mail("new"), arrived_s=NOW_S, folder=".Other")
    life = MailLife(place, setting)
    await life.collect_well()
    life.change(mailbox_name="Other")
    assert (await life.collect_well())[3:] == ["new"]


async def test_d9_a_refused_login_leaves_the_cursor_where_it_was(
    mailbox: Mailbox, setting: Setting, place: Path
) -> None:
    life = MailLife(place, replace(setting, password=Secret("wrong")))
    before = life.spool.queue("mail").read_cursor()
    life.now_s += HOUR_S
    await life.collect()
    assert life.failure.reason is Reason.LOGIN_REFUSED
    assert "refused the login (AUTHENTICATIONFAILED): check USERNAME and PASSWORD" in str(life.failure)
    assert "wrong" not in str(life.failure)
    assert life.spool.queue("mail").read_cursor() == before
    mailbox.deliver(a_mail("meanwhile"), arrived_s=NOW_S + 60)
    life.change(password=setting.password)
    await life.collect()
    assert life.subjects == ["meanwhile"]


async def test_a_mailbox_that_does_not_exist_is_named_by_its_option(setting: Setting, place: Path) -> None:
    life = MailLife(place, replace(setting, mailbox_name="Nowhere"))
    await life.collect()
    assert life.failure.reason is Reason.UNKNOWN_ANSWER
    assert "does not open the mailbox: check MAILBOXNAME" in str(life.failure)


async def test_a_mailbox_is_read_in_pages_and_a_kill_between_them_loses_nothing(
    mailbox: Mailbox, setting: Setting, place: Path
) -> None:
    for number in range(350):
        mailbox.deliver(a_mail(number), arrived_s=NOW_S)
    for kills in range(3):
        life = MailLife(place, setting)
        await life.collect_until_waiting(100 * kills + 1)
        life.spool.close()
    assert 300 <= len(life.events) < 350
    life = MailLife(place, setting)
    assert sorted(map(int, await life.collect_well())) == list(range(350))


async def test_a_kill_while_mails_are_chosen_by_time_takes_none_that_is_older(
    mailbox: Mailbox, setting: Setting, place: Path
) -> None:
    for number in range(300):
        is_old = number % 2
        mailbox.deliver(a_mail(number), arrived_s=NOW_S - DAY_S if is_old else NOW_S)
    life = MailLife(place, setting)
    await life.collect_until_waiting(1)
    life.spool.close()
    assert len(life.events) == 100
    life = MailLife(place, setting)
    assert sorted(map(int, await life.collect_well())) == list(range(0, 300, 2))


async def test_what_is_too_much_for_one_collection_is_collected_by_several(
    mailbox: Mailbox, setting: Setting, place: Path
) -> None:
    for number in range(250):
        mailbox.deliver(a_mail(number), arrived_s=NOW_S)
    life: MailLife | None = None

    def slow_clock() -> float:
        # Every hundred mails take 12 of the 20 seconds.
        return 0.0 if life is None else len(life.events) * 0.12

    life = MailLife(place, setting, monotonic=slow_clock)
    life.now_s += HOUR_S
    assert len(await life.collect_well()) == 100
    assert life.spool.queue("mail").read_cursor().last_fetched_time == NOW_S
    assert len(await life.collect_well()) == 200
    assert sorted(map(int, await life.collect_well())) == list(range(250))
    assert life.spool.queue("mail").read_cursor().last_fetched_time == NOW_S + HOUR_S


async def test_a_page_is_no_larger_than_an_answer_may_be(
    mailbox: Mailbox, setting: Setting, place: Path
) -> None:
    for number in range(50):
        mailbox.deliver(a_mail(number, body="x" * 20_000), arrived_s=NOW_S)
    life = MailLife(place, setting, limits=SourceLimits(timeout_s=20, max_bytes=64 * 1024))
    await life.collect_until_waiting(1)
    assert 1 <= len(life.events) <= 4
