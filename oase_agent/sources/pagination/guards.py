"""What ends a collection that would go round in circles: the same next place, or the same page, a second time.

Within one run the latest pages are remembered. Beside them there is one mark, which goes into the bookmark: the 1st
page, then the 2nd, 4th, 8th … one. A circle is found by it, too, however long it is and however many runs it takes
(Brent's algorithm), because the source goes round and the mark stays for ever longer.
"""

from collections import OrderedDict
from hashlib import blake2b
from mmap import mmap

from oase_agent.errors import Reason, SourceUnavailable
from oase_agent.sources.pagination.bookmark import Place, Position

_DIGEST_BYTES = 8
# Some 100 bytes each, while a setting is collected. Circles of sources are short.
_REMEMBERED = 4096


def digest_of(content: bytes | mmap) -> str:
    """Return what stands for a page: of two pages with the same one, the second tells nothing new."""
    return blake2b(content, digest_size=_DIGEST_BYTES).hexdigest()


def digest_of_position(position: Position) -> str:
    """Return what stands for a place."""
    return "@" + digest_of(repr(position).encode("utf-8", "backslashreplace"))


class Guards:
    """Remembers the latest pages and places of one run."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, None] = OrderedDict()

    def note(self, digest: str, place: Place) -> bool:
        """Take in a page or a place at `place`; return whether it was there before."""
        is_repeated = digest in self._seen or digest in place.marks
        self._seen[digest] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return is_repeated


def place_after(place: Place, position: Position, page: str) -> Place:
    """Return the place that follows; `page` is the digest of the page that led to it."""
    pages = place.pages + 1
    is_mark = pages & (pages - 1) == 0
    marks = (page, digest_of_position(position)) if is_mark else place.marks
    return Place(position, pages, marks)


def same_place(setting_name: str, page: int) -> SourceUnavailable:
    """Return the error for a page that leads to a place where the collection has been."""
    return SourceUnavailable(
        f"Page {page} of setting {setting_name!r} leads to a page that was there before: this would never end. What "
        "came was kept, and the next collection starts at the first page. Check pagination.style and pagination.path "
        "in SOURCE_OPTIONS_FILE against what the source documents.",
        Reason.PAGINATION,
    )


def same_page(setting_name: str, page: int) -> SourceUnavailable:
    """Return the error for a page with the content of an earlier one."""
    return SourceUnavailable(
        f"Page {page} of setting {setting_name!r} is the same as one before it: the source seems to ignore where it "
        "is asked to go on. What came was kept, and the next collection starts at the first page. Check "
        "pagination.style and pagination.parameter in SOURCE_OPTIONS_FILE against what the source documents.",
        Reason.PAGINATION,
    )
