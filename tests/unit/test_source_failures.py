"""Foreign errors and statuses as ours, the pure parts; test_source_http_failures provokes the real errors."""

import socket

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from oase_agent.errors import Reason
from oase_agent.sources.failures import failure, status_failure

NOW_S = 784111777.0
LIMITS_S = {"timeout_s": 30.0, "connect_timeout_s": 12.0}


@pytest.mark.parametrize(
    ("status", "reason", "remedy"),
    [
        (401, Reason.HTTP_STATUS, "credentials of the setting"),
        (403, Reason.HTTP_STATUS, "credentials of the setting"),
        (404, Reason.HTTP_STATUS, "status 404"),
        (407, Reason.PROXY, "PROXY"),
        (429, Reason.RATE_LIMITED, "status 429"),
        (503, Reason.HTTP_STATUS, "status 503"),
    ],
)
def test_a_status_becomes_a_reason_and_a_remedy(status: int, reason: Reason, remedy: str) -> None:
    error = status_failure("host.example:80", status, {"Retry-After": "7"}, NOW_S)
    assert error.reason is reason
    assert remedy in str(error)
    assert str(error).startswith(f"host.example:80 answered with status {status}")
    assert error.retry_after_s == 7.0


@pytest.mark.parametrize(
    ("is_tls", "remedy"), [(True, "client_cert_file in SOURCE_OPTIONS_FILE"), (False, "status 400")]
)
def test_400_over_tls_may_be_about_a_client_certificate(is_tls: bool, remedy: str) -> None:
    error = status_failure("host.example:443", 400, {}, NOW_S, is_tls=is_tls)
    assert str(error).endswith(remedy)


def test_403_for_too_many_requests_is_not_about_credentials() -> None:
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "60"}
    error = status_failure("host.example:80", 403, headers, NOW_S)
    assert error.reason is Reason.RATE_LIMITED
    assert "SOURCE_REQUESTS_PER_MINUTE" in str(error)
    assert error.retry_after_s == 60.0


def test_a_name_that_cannot_be_resolved_is_named() -> None:
    key = ConnectionKey("host.example", 80, False, True, None, None, None, None)
    cause = aiohttp.ClientConnectorDNSError(key, socket.gaierror(-2, "Name or service not known"))
    error = failure(cause, "host.example:80", LIMITS_S)
    assert str(error) == "the host name of host.example:80 cannot be resolved (Name or service not known)"
    assert error.reason is Reason.UNREACHABLE
    assert error.__cause__ is cause


@pytest.mark.parametrize(
    "cause",
    [
        aiohttp.InvalidURL("http://h/?token=hidden"),
        aiohttp.ClientOSError(32, "Can not write request body for http://h/?token=hidden"),
        aiohttp.ServerDisconnectedError("hidden"),
        aiohttp.ClientPayloadError("hidden"),
        aiohttp.ConnectionTimeoutError("hidden"),
    ],
)
def test_an_error_that_may_quote_something_is_not_kept_as_cause(cause: Exception) -> None:
    error = failure(cause, "h:80", LIMITS_S)
    assert error.__cause__ is None
    assert error.__suppress_context__
    assert "hidden" not in str(error)
