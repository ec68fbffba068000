"""Rendezvous hashing: everybody comes to the same answer, and little moves when members come and go."""

from hypothesis import given
from hypothesis import strategies as st

from oase_agent.coordination.rendezvous import winner

MEMBERS = st.sets(st.text(alphabet="abcdef0123456789", min_size=1, max_size=8), min_size=1, max_size=6)
SETTINGS = st.lists(st.text(max_size=20), min_size=1, max_size=50, unique=True)


def test_without_members_nobody_should_own_a_setting() -> None:
    assert winner("web", ()) is None


@given(MEMBERS, SETTINGS)
def test_the_order_of_members_does_not_matter(members: set[str], settings: list[str]) -> None:
    for name in settings:
        assert winner(name, sorted(members)) == winner(name, sorted(members, reverse=True))


@given(MEMBERS, SETTINGS, st.data())
def test_who_leaves_takes_only_its_own_settings_along(
    members: set[str], settings: list[str], data: st.DataObject
) -> None:
    gone = data.draw(st.sampled_from(sorted(members)))
    for name in settings:
        before, after = winner(name, members), winner(name, members - {gone})
        assert before in (after, gone)


@given(MEMBERS, SETTINGS)
def test_who_joins_takes_settings_and_nothing_else_moves(members: set[str], settings: list[str]) -> None:
    for name in settings:
        before, after = winner(name, members), winner(name, members | {"newcomer"})
        assert after in {before, "newcomer"}


def test_shares_are_about_even() -> None:
    members = [f"agent-{number}" for number in range(3)]
    owners = [winner(f"setting {number}", members) for number in range(3_000)]
    assert all(850 < owners.count(member) < 1_150 for member in members)
