"""What one page says: how many elements it has, and where the next one is."""

import json
import math
from dataclasses import dataclass, field
from mmap import mmap
from typing import Any, Final
from urllib.parse import urljoin

from yarl import URL

from oase_agent.errors import Reason, SettingRejected, SourceUnavailable
from oase_agent.sources.body import AnswerHead
from oase_agent.sources.options import PageStyle
from oase_agent.sources.pagination.bookmark import Place, Position
from oase_agent.sources.pagination.dotted import count_elements, is_one_of, text_at
from oase_agent.sources.pagination.guards import digest_of
from oase_agent.sources.pagination.link_header import next_link
from oase_agent.sources.pagination.plan import Plan
from oase_agent.sources.redirects import Hop, keeps_credentials
from oase_agent.sources.urls import origin_of, wire_url

# A bookmark is written with every page. Longer URLs are refused by most servers.
MAX_POSITION_BYTES: Final = 8 * 1024
_ERROR_MEMBERS: Final = ("error", "errors")


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its digest, the next position or None, and what the list in it is like.

    `elements` is None where they cannot be counted. `lacks_list` tells that the list is missing or null.
    """

    digest: str
    position: Position | None = field(repr=False)
    elements: int | None
    lacks_list: bool = False


def read_page(content: bytes | mmap, head: AnswerHead | None, plan: Plan, hop: Hop, place: Place) -> Page:
    """Read the page at `place`, which the request `hop` brought.

    May take as long as reading the page once: call it from a thread. Raises SourceUnavailable for a page that cannot
    be read or leads where it should not, SettingRejected for options that do not fit to what the source sends.
    """
    elements, lacks_list = _list_in(content, plan)
    # What the first page is like is for the rules of extraction. Later, an error must not look like the end.
    if place.pages and plan.list_path is not None and not elements and _tells_error(content):
        raise SourceUnavailable(
            f"Page {place.pages + 1} of {origin_of(hop.url)} tells of an error instead of the list of events",
            Reason.MALFORMED,
        )
    following: Position | None
    match plan.style:
        case PageStyle.PAGE | PageStyle.OFFSET:
            following = _counted(plan, elements, place.position)
        case PageStyle.LINK_HEADER:
            link = next_link(head.links) if head else None
            following = None if link is None else _next_url(link, hop, head)
        case _:
            following = _value_at(content, plan)
            if following is not None and plan.style is PageStyle.NEXT_URL:
                following = _next_url(str(following), hop, head)
    return Page(digest_of(content), following, elements, lacks_list)


def _list_in(content: bytes | mmap, plan: Plan) -> tuple[int | None, bool]:
    if plan.list_path is None:
        return None, False
    with text_at(content, plan.list_path) as text:
        if text is None or is_one_of(text, b"null"):
            return 0, True
        return count_elements(text), False


def _tells_error(content: bytes | mmap) -> bool:
    """Tell whether the answer is an error in clothes of success, as JSON-RPC and JSON:API write it."""
    for name in _ERROR_MEMBERS:
        with text_at(content, (name,)) as text:
            if text is not None and not is_one_of(text, b"null", b"[]", b"{}", b'""', b"false"):
                return True
    return False


def _counted(plan: Plan, elements: int | None, position: Position | None) -> int | None:
    if elements is None:
        raise SettingRejected(
            "pagination.path of the setting in SOURCE_OPTIONS_FILE, or RESPONSE_KEY where that is empty, selects "
            "something that is no list: its elements tell which page is the last one.",
            Reason.INVALID_SETTING,
        )
    if elements == 0 or (plan.options.size is not None and elements < plan.options.size):
        return None
    here = plan.options.first if position is None else int(position)
    return here + (1 if plan.style is PageStyle.PAGE else elements)


def _value_at(content: bytes | mmap, plan: Plan) -> Position | None:
    """Return the text or number at the path; None for nothing, null, false and an empty text."""
    with text_at(content, plan.path) as text:
        if text is None or is_one_of(text, b"null", b"false", b'""'):
            return None
        if len(text) > MAX_POSITION_BYTES:
            raise _too_long()
        value = _scalar(text.tobytes())
    if value is not None:
        return value
    raise SettingRejected(
        "pagination.path of the setting in SOURCE_OPTIONS_FILE selects neither a text nor a number: name the place "
        "of the next URL or token.",
        Reason.INVALID_SETTING,
    )


def _scalar(text: bytes) -> Position | None:
    """Return a text or number that can be kept and sent; None for anything else."""
    try:
        value: Any = json.loads(text)
        str(value).encode()
    except ValueError:  # half of a surrogate pair, or thousands of digits
        return None
    if isinstance(value, int) and abs(value) >= 2**63:
        return str(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if is_number or isinstance(value, str) else None


def _next_url(link: str, hop: Hop, head: AnswerHead | None) -> str:
    """Return the URL of the next page, which stays where the setting, or a redirect of the source, leads."""
    here = URL(head.url, encoded=True) if head else hop.url
    try:
        url = wire_url(urljoin(str(here), link.strip()))
    except (SettingRejected, ValueError) as error:
        raise SourceUnavailable(
            f"{origin_of(hop.url)} names something as the next page that is not an http or https URL",
            Reason.PAGINATION,
        ) from error
    if len(str(url)) > MAX_POSITION_BYTES:
        raise _too_long()
    # Behind a proxy that ends TLS, many a server takes itself for one without: what is private stays with TLS.
    if (
        here.scheme == "https"
        and url.scheme == "http"
        and url.host == here.host
        and url.port in {80, here.port}
    ):
        url = url.with_scheme("https").with_port(here.explicit_port)
    if not (keeps_credentials(hop.url, url) or keeps_credentials(here, url)):
        raise SourceUnavailable(
            f"{origin_of(hop.url)} names a next page at {origin_of(url)}: another host, port or scheme is not "
            "asked. Let the source build its links from its public address, or page by token, page or offset "
            "(pagination.style in SOURCE_OPTIONS_FILE)",
            Reason.PAGINATION,
        )
    return str(url)


def _too_long() -> SourceUnavailable:
    return SourceUnavailable(
        f"The place of the next page has more than {MAX_POSITION_BYTES} bytes: check pagination.path in "
        "SOURCE_OPTIONS_FILE",
        Reason.PAGINATION,
    )
