"""What a redirect does to a request: the rules of the library `requests` (contract section 6)."""

import pytest
from yarl import URL

from oase_agent.errors import Reason, SourceUnavailable
from oase_agent.sources.redirects import Hop, next_hop

HEADERS = {"Authorization": "a", "Cookie": "c", "Content-Type": "t", "X-Other": "x"}
POST = Hop("POST", URL("http://host.example/a/b?q=1"), HEADERS, b"body")
GET = Hop("GET", URL("http://host.example/a/b?q=1"), HEADERS)


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_post_goes_on_as_get_without_its_body(status: int) -> None:
    hop = next_hop(POST, status, "/c")
    assert (hop.method, hop.body) == ("GET", None)
    assert hop.headers == {"Authorization": "a", "Cookie": "c", "X-Other": "x"}


@pytest.mark.parametrize("status", [307, 308])
def test_a_post_is_repeated_unchanged(status: int) -> None:
    hop = next_hop(POST, status, "/c")
    assert (hop.method, hop.body, hop.headers) == ("POST", b"body", HEADERS)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("c", "http://host.example/a/c"),
        ("/c d?é", "http://host.example/c%20d?%C3%A9"),
        ("?x=1", "http://host.example/a/b?x=1"),
        ("//other.example/c", "http://other.example/c"),
        ("https://user:hidden@other.example/c#part", "https://other.example/c"),
    ],
)
def test_a_location_is_read_relative_to_the_request(location: str, expected: str) -> None:
    assert str(next_hop(GET, 302, location).url) == expected


@pytest.mark.parametrize(
    ("old", "new", "is_kept"),
    [
        ("http://h/", "http://h/x", True),
        ("http://h/", "http://h:80/x", True),
        ("http://h/", "https://h/x", True),
        ("https://h/", "http://h/x", False),
        ("http://h/", "http://h:8080/x", False),
        ("http://h:8080/", "https://h:8443/x", False),
        ("http://h/", "http://other/x", False),
        ("http://h/", "https://other/x", False),
        ("http://h/", "http://sub.h/x", False),
    ],
)
def test_credentials_stay_with_the_host_port_and_scheme(old: str, new: str, is_kept: bool) -> None:
    headers = next_hop(Hop("GET", URL(old), HEADERS), 302, new).headers
    assert ("Authorization" in headers, "Cookie" in headers) == (is_kept, is_kept)
    assert headers["X-Other"] == "x"


@pytest.mark.parametrize("location", ["ftp://h/", "file:///etc/passwd", "http://h:port/", "http://[::1/"])
def test_a_location_that_is_not_http_is_an_error_that_names_the_redirecting_host(location: str) -> None:
    with pytest.raises(SourceUnavailable, match=r"^host\.example:80 redirects") as caught:
        next_hop(GET, 302, location)
    assert caught.value.reason is Reason.REDIRECT
