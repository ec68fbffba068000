"""The options about sources: what one may cost, where requests may go, and how mail is fetched."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import NoDecode

from oase_agent.config import values
from oase_agent.config.options import Bounds, ByteBounds, OptionGroup, file_option, option
from oase_agent.config.values import GIB, KIB, ByteCount, Networks, ReadableFile, from_text

# Where clouds hand out credentials to whoever asks from inside: AWS, Azure, Google, Oracle and others; AWS ECS tasks
# and EKS pods; Azure's wire server; Tencent; Alibaba; AWS, EKS and Google over IPv6. Not all of 169.254.0.0/16: some
# management controllers of servers answer there, and they are sources.
CLOUD_METADATA = (
    "169.254.169.254/32, 169.254.170.2/32, 169.254.170.23/32, 168.63.129.16/32, 169.254.0.23/32, 100.100.100.200/32, "
    "fd00:ec2::254/128, fd00:ec2::23/128, fd20:ce::254/128"
)
# Their names (Google, AWS, Tencent), because a proxy resolves a name where the agent cannot see the address.
CLOUD_METADATA_NAMES = (
    "metadata, metadata.google.internal, metadata.goog, instance-data, instance-data.ec2.internal, "
    "metadata.tencentyun.com"
)


class SourceDefaults(OptionGroup):
    """Sources: what one may cost, unless SOURCE_OPTIONS_FILE tells otherwise for a setting."""

    timeout_s: Annotated[float, Field(allow_inf_nan=False), Bounds(1, 3600)] = option(
        "SOURCE_TIMEOUT_S",
        "Seconds that one collection may take.",
        must_be="a number",
        default="30",
        new=True,
    )
    max_bytes: Annotated[ByteCount, ByteBounds(64 * KIB, 16 * GIB)] = option(
        "SOURCE_MAX_BYTES",
        "Largest answer of a source.",
        must_be="a number of bytes",
        default="256 MiB",
        new=True,
    )
    document_max_bytes: Annotated[ByteCount, ByteBounds(64 * KIB, 1 * GIB)] = option(
        "SOURCE_DOCUMENT_MAX_BYTES",
        "Largest answer that may be read as a whole document, which expressions beyond a dotted path need. "
        "It takes several times its size in memory.",
        must_be="a number of bytes",
        default="8 MiB",
        new=True,
    )
    concurrency: Annotated[int, Bounds(1, 1024)] = option(
        "SOURCE_CONCURRENCY",
        "Collections at the same time.",
        must_be="a whole number",
        default="128",
        new=True,
    )
    ca_file: ReadableFile | None = file_option(
        "SOURCE_CA_FILE", "Certificates of authorities to trust beside the system's, in PEM."
    )
    insecure_hosts: Annotated[tuple[str, ...], NoDecode, from_text(values.hosts)] = option(
        "TLS_INSECURE_HOSTS",
        "Sources whose certificate is not verified.",
        must_be="host or host:port entries separated by commas, without wildcards",
        default=(),
        default_text="–",
        new=True,
    )
    requests_per_minute: Annotated[int, Bounds(0, 1_000_000)] = option(
        "SOURCE_REQUESTS_PER_MINUTE",
        "Most requests to one host in a minute, by all settings together; 0 sets no limit.",
        must_be="a whole number",
        default="0",
        new=True,
    )
    backoff_max_s: Annotated[float, Field(allow_inf_nan=False), Bounds(0, 3600)] = option(
        "SOURCE_BACKOFF_MAX_S",
        "Longest pause in seconds before a source that keeps failing is asked again; 0 asks at every interval.",
        must_be="a number",
        default="60",
        new=True,
    )
    options_file: ReadableFile | None = option(
        "SOURCE_OPTIONS_FILE",
        "Options of single settings, in YAML: see docs/sources.md. It is read again when it changes.",
        must_be="the path of a readable file",
        default=None,
        default_text="–",
        new=True,
    )


class EgressOptions(OptionGroup):
    """Sources: where requests may go (docs/egress.md).

    Judged by the address that is really connected to, at every redirect, for mail and for proxies too.
    """

    allowed_networks: Annotated[Networks, NoDecode, from_text(values.allowed_networks)] = option(
        "SOURCE_ALLOWED_NETWORKS",
        "Networks that connections for sources may go to, that of a proxy included.",
        must_be="CIDR networks separated by commas, or any",
        default="any",
        new=True,
    )
    denied_networks: Annotated[Networks, NoDecode, from_text(values.denied_networks)] = option(
        "SOURCE_DENIED_NETWORKS",
        "Networks that connections for sources never go to. A value replaces the default, which is the addresses "
        "where clouds hand out credentials.",
        must_be="CIDR networks separated by commas, or none",
        default=CLOUD_METADATA,
        new=True,
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode, from_text(values.allowed_hosts)] = option(
        "SOURCE_ALLOWED_HOSTS",
        "Hosts that requests to sources may name; `*.example.com` means every name below.",
        must_be="host names and addresses separated by commas, or any",
        default="any",
        new=True,
    )
    denied_hosts: Annotated[tuple[str, ...], NoDecode, from_text(values.denied_hosts)] = option(
        "SOURCE_DENIED_HOSTS",
        "Hosts that requests to sources never name. A value replaces the default, which is the names under which "
        "clouds hand out credentials.",
        must_be="host names and addresses separated by commas, or none",
        default=CLOUD_METADATA_NAMES,
        new=True,
    )
    allowed_ports: Annotated[tuple[tuple[int, int], ...], NoDecode, from_text(values.port_ranges)] = option(
        "SOURCE_ALLOWED_PORTS",
        "Ports that requests to sources may go to, that of a proxy included.",
        must_be="ports and ranges such as 443, 8000-8999, separated by commas, or any",
        default="any",
        new=True,
    )


class MailOptions(OptionGroup):
    """Mail: how sources with IMAP are connected to.

    The port and REQUEST_METHOD_ID of a setting decide: 3 is TLS from the start, 4 STARTTLS, 5 plaintext. The
    workspace offers only 5 today, so `IMAP_TLS` decides what that means.
    """

    tls: Literal["auto", "require", "off"] = option(
        "IMAP_TLS",
        "What REQUEST_METHOD_ID 5 means: auto takes STARTTLS whenever the server offers it, require refuses a server "
        "that does not, off stays plaintext. Port 993 is TLS from the start unless it is off.",
        must_be="auto, require or off",
        default="auto",
        new=True,
    )
    plaintext_hosts: Annotated[tuple[str, ...], NoDecode, from_text(values.hosts)] = option(
        "IMAP_PLAINTEXT_HOSTS",
        "Hosts to which a password may go without TLS; loopback addresses need not be listed.",
        must_be="host or host:port entries separated by commas, without wildcards",
        default=(),
        default_text="–",
        new=True,
    )
