"""What SOURCE_OPTIONS_FILE may say. The descriptions are those of the published schema and of the messages.

Secrets come from files only: whoever may read the options of sources need not be able to read those.
"""

from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from oase_agent.config.source_options import rules
from oase_agent.config.source_options.files import NamedFiles, PemFile
from oase_agent.config.source_options.rules import MustBe
from oase_agent.config.values import GIB, KIB
from oase_agent.model import Secret

_PATH_SCHEMA = WithJsonSchema({"type": "string", "minLength": 1})


def _secret_file(value: object, info: ValidationInfo) -> Secret:
    return _files(info).secret(rules.path_text(value))


def _authorities_file(value: object, info: ValidationInfo) -> PemFile:
    file, content = _files(info).pem(rules.path_text(value))
    rules.check_authorities(content)
    return file


def _pem_file(value: object, info: ValidationInfo) -> PemFile:
    return _files(info).pem(rules.path_text(value))[0]


def _files(info: ValidationInfo) -> NamedFiles:
    assert isinstance(info.context, NamedFiles), "the document is validated with its files as context"
    return info.context


Seconds = Annotated[float, Field(allow_inf_nan=False)]
SecretFile = Annotated[
    Secret,
    BeforeValidator(_secret_file),
    _PATH_SCHEMA,
    MustBe("the path of a readable file that holds the secret alone"),
]
AuthoritiesFile = Annotated[
    PemFile, BeforeValidator(_authorities_file), _PATH_SCHEMA, MustBe("the path of a readable file in PEM")
]
OwnPemFile = Annotated[
    PemFile, BeforeValidator(_pem_file), _PATH_SCHEMA, MustBe("the path of a readable file in PEM")
]
ByteCount = Annotated[
    int,
    BeforeValidator(rules.byte_count),
    Field(ge=64 * KIB, le=16 * GIB),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 64 * KIB, "maximum": 16 * GIB},
                {"type": "string", "pattern": rules.BYTE_COUNT_PATTERN},
            ]
        }
    ),
    MustBe("a number of bytes, 64KiB to 16GiB"),
]
Text = Annotated[str, Field(min_length=1)]


class Block(BaseModel):
    """A mapping that knows its keys; a value of the wrong kind is a fault, never converted."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True, hide_input_in_errors=True
    )


class HeaderBlock(Block):
    """One header of the requests: its value comes from `file`, or stands here as `value` if it is no secret."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["file"]}, {"required": ["value"]}]})

    file: SecretFile | SkipJsonSchema[None] = Field(
        None, description="File that holds the value; one newline at its end is dropped."
    )
    value: Annotated[str, MustBe("a text")] | SkipJsonSchema[None] = Field(
        None, description="The value itself, for what is no secret."
    )

    @model_validator(mode="after")
    def _has_one_value(self) -> Self:
        if (self.file is None) == (self.value is None):
            raise ValueError("needs either file or value")
        return self

    @property
    def content(self) -> Secret:
        """The value, wherever it comes from."""
        return self.file if self.file is not None else Secret(self.value or "")


class ProxyBlock(Block):
    """A proxy for the requests of one setting, before its PROXY and before HTTP_PROXY and HTTPS_PROXY."""

    url: Annotated[
        str,
        AfterValidator(rules.proxy_url),
        MustBe("http://host:port or socks5://host:port, without user and password"),
    ] = Field(
        description="`http://host:port`; for mail also `socks5://host:port`.",
        json_schema_extra={"pattern": rules.PROXY_PATTERN},
    )
    username: Annotated[Text, MustBe("a text")] | SkipJsonSchema[None] = Field(
        None, description="User for the proxy."
    )
    password_file: SecretFile | SkipJsonSchema[None] = Field(
        None, description="File that holds the password for the proxy."
    )

    @model_validator(mode="after")
    def _has_user_with_password(self) -> Self:
        if self.password_file is not None and self.username is None:
            raise ValueError("has password_file without username")
        if self.username is not None:
            rules.check_proxy_user(self.url, self.username, self.password_file)
        return self


class OAuth2Block(Block):
    """Client credentials (RFC 6749, 4.4): a token is fetched and sent instead of the setting's own credentials."""

    token_url: Annotated[
        str,
        AfterValidator(rules.http_url),
        MustBe("an http or https URL without user, password and fragment"),
    ] = Field(
        description="Token endpoint. It is asked on the way of the source: with its proxy, TLS and egress policy.",
        json_schema_extra={"pattern": "^https?://"},
    )
    client_id: Annotated[Text, MustBe("a text")] = Field(description="Name of the client.")
    client_secret_file: SecretFile = Field(description="File that holds the secret of the client.")
    scope: Annotated[Text, MustBe("a text with scopes separated by blanks")] | SkipJsonSchema[None] = Field(
        None, description="Scopes, separated by blanks."
    )
    audience: Annotated[Text, MustBe("a text")] | SkipJsonSchema[None] = Field(
        None, description="Audience, which some servers ask for."
    )
    auth: Annotated[Literal["basic", "body"], MustBe("basic or body")] = Field(
        "basic", description="How the client proves itself: in a header (basic), or in the form (body)."
    )


class PaginationBlock(Block):
    """How a source that answers in pages is asked for all of them."""

    style: Annotated[
        Literal["link_header", "next_url", "token", "page", "offset"],
        MustBe("link_header, next_url, token, page or offset"),
    ] = Field(
        description="How the next page is asked for: by the Link header (rel=next), by a URL in the body, by a token "
        "of the body that is sent back, by a page number, or by the number of elements so far."
    )
    path: (
        Annotated[Text, AfterValidator(rules.dotted_path), MustBe("names joined by dots, such as meta.next")]
        | SkipJsonSchema[None]
    ) = Field(
        None,
        description="Where something is in the body, as names joined by dots (one with a dot or a blank in "
        "quotation marks): the next URL or token, or for page and offset the list, if RESPONSE_KEY is no such path.",
    )
    parameter: Annotated[Text, MustBe("the name of a parameter")] | SkipJsonSchema[None] = Field(
        None,
        description="Name under which the token, page number or offset is sent: in the query of a GET, or at that "
        "dotted place of the JSON body of a POST.",
    )
    first: Annotated[int, Field(ge=0, le=1_000_000), MustBe("a whole number, 0 to 1000000")] = Field(
        0, description="Number of the first page, or first offset."
    )
    size: (
        Annotated[int, Field(ge=1, le=1_000_000), MustBe("a whole number, 1 to 1000000")]
        | SkipJsonSchema[None]
    ) = Field(
        None,
        description="Elements of a full page; a page with fewer is the last one. Without it an empty one is.",
    )
    max_pages: Annotated[int, Field(ge=1, le=1_000_000), MustBe("a whole number, 1 to 1000000")] = Field(
        1000, description="Pages of one collection; the next collection goes on from there."
    )
    max_bytes: ByteCount = Field(
        1 * GIB,
        description="Bytes of all pages of one collection, after decompression: a number, or such as 64MiB.",
    )

    @model_validator(mode="after")
    def _has_what_its_style_needs(self) -> Self:
        rules.check_pagination(self.style, path=self.path, parameter=self.parameter)
        return self


HeaderName = Annotated[str, AfterValidator(rules.header_name), MustBe("the name of an HTTP header")]
Headers = Annotated[
    dict[HeaderName, HeaderBlock],
    AfterValidator(rules.check_headers),
    MustBe("names of headers, each with `file: PATH` or `value: TEXT` below it"),
]


class SourceBlock(Block):
    """Options of one setting. What is not given here is as it is for every source."""

    interval_s: (
        Annotated[Seconds, Field(ge=1, le=604_800), MustBe("a number of seconds, 1 to 604800")] | None
    ) = Field(None, description="Seconds from one collection to the next, instead of EXECUTE_INTERVAL.")
    timeout_s: Annotated[Seconds, Field(ge=1, le=3600), MustBe("a number of seconds, 1 to 3600")] | None = (
        Field(None, description="Seconds that one collection may take, instead of SOURCE_TIMEOUT_S.")
    )
    max_bytes: ByteCount | None = Field(
        None,
        description="Largest answer after decompression, instead of SOURCE_MAX_BYTES: a number, or such as 64MiB.",
    )
    ca_file: AuthoritiesFile | None = Field(
        None,
        description="Certificates of authorities to trust for this source, in PEM, beside the system's and "
        "SOURCE_CA_FILE.",
    )
    client_cert_file: OwnPemFile | None = Field(
        None,
        description="Certificate that the agent shows to the source, in PEM; it may hold the key as well.",
    )
    client_key_file: OwnPemFile | None = Field(
        None, description="Key of client_cert_file, in PEM, without a password."
    )
    insecure: Annotated[bool, MustBe("true or false")] | None = Field(
        None,
        description="Accept any certificate of this source. Whoever is in between can read and change everything.",
    )
    proxy: ProxyBlock | None = Field(None, description="Proxy for this source.")
    headers: Headers | None = Field(
        None, description="Headers of the requests; they replace those of REQUEST_HEADER with the same name."
    )
    oauth2: OAuth2Block | None = Field(None, description="Client credentials of OAuth 2.0 for this source.")
    pagination: PaginationBlock | None = Field(None, description="How further pages are asked for.")
    conditional: Annotated[bool, MustBe("true or false")] | None = Field(
        None,
        description="Whether ETag and Last-Modified of an answer are used to ask for changes only; by default true.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.insecure and self.ca_file is not None:
            raise ValueError("has insecure: true and ca_file, which exclude each other")
        if self.client_key_file is not None and self.client_cert_file is None:
            raise ValueError("has client_key_file without client_cert_file")
        if self.client_cert_file is not None:
            rules.check_identity(self.client_cert_file, self.client_key_file)
        return self


class Document(Block):
    """Options of single settings of an OASE agent: the file that SOURCE_OPTIONS_FILE names."""

    # An integer, because a literal 1 would also be true.
    version: Annotated[
        int, Field(ge=1, le=1), WithJsonSchema({"type": "integer", "const": 1}), MustBe("1")
    ] = Field(description="Version of this format.")
    defaults: SourceBlock | SkipJsonSchema[None] = Field(
        None, description="Options of every setting; a setting's own go before them, and null takes one away."
    )
    sources: Annotated[
        dict[Annotated[str, AfterValidator(rules.setting_name)], SourceBlock],
        BeforeValidator(lambda value: {} if value is None else value),
        MustBe("names of settings with their options below them"),
    ] = Field({}, description="Names of event collection settings, with the options of each.")
