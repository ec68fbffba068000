"""From SOURCE_OPTIONS_FILE to the options of each setting: all of it, or every fault at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from oase_agent.config.source_options.document import Document
from oase_agent.config.source_options.faults import OPTION, fault_sentences
from oase_agent.config.source_options.files import Digest, NamedFiles, digest_of, read_regular
from oase_agent.config.source_options.merging import merged
from oase_agent.config.source_options.trust import TlsContexts, Trust
from oase_agent.model import Secret
from oase_agent.sources.options import (
    OAuth2Client,
    PageStyle,
    Pagination,
    SourceOptions,
    SourceProxy,
)
from oase_agent.yaml_file import YamlDocument, YamlFaults, parse_yaml

MAX_FILE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class OptionsTable:
    """The options of every setting: those in `by_name`, and `otherwise` for any other one.

    `insecure` are the settings of the file whose source is not verified; `every setting` stands for the defaults.
    """

    by_name: Mapping[str, SourceOptions] = field(default_factory=lambda: MappingProxyType({}))
    otherwise: SourceOptions = field(default_factory=SourceOptions)
    insecure: tuple[str, ...] = ()

    def of(self, setting_name: str) -> SourceOptions:
        """Return the options of a setting."""
        return self.by_name.get(setting_name, self.otherwise)


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of a reading: `table`, or None and every fault, one sentence each.

    `digests` are the file and all files it names, readable or not, with what they held.
    """

    table: OptionsTable | None
    faults: tuple[str, ...]
    digests: Mapping[Path, Digest]


def read_source_options(path: Path, contexts: TlsContexts) -> Reading:
    """Read the file at `path`, and the files that it names, relative to it. Blocks; never raises."""
    files = NamedFiles(path.parent)
    files.digests[path] = None
    try:
        content = read_regular(path, MAX_FILE_BYTES)
        files.digests[path] = digest_of(content)
        table = _table(parse_yaml(content), files, contexts)
    except _Faulty as error:
        contexts.forget_unfinished()
        return Reading(None, error.faults, files.digests)
    except YamlFaults as error:
        faults = tuple(f"{OPTION} {path}: {fault}." for fault in error.faults)
        return Reading(None, faults, files.digests)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else str(error)) or "unknown trouble"
        return Reading(None, (f"{OPTION} {path} cannot be read: {reason}.",), files.digests)
    contexts.keep_used()
    return Reading(table, (), files.digests)


class _Faulty(Exception):
    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__()
        self.faults = faults


def _table(yaml: YamlDocument, files: NamedFiles, contexts: TlsContexts) -> OptionsTable:
    try:
        document = Document.model_validate(yaml.content, context=files)
    except ValidationError as error:
        raise _Faulty(fault_sentences(error, yaml)) from None
    blocks = {name: merged(block, document.defaults) for name, block in document.sources.items()}
    faults: list[str] = []
    by_name: dict[str, SourceOptions] = {}
    for name, values in blocks.items():
        try:
            by_name[name] = _options(values, contexts)
        except ValueError as error:
            faults.append(f"{OPTION}: the options of {name!r} cannot be used: {error}.")
    defaults = dict(document.defaults) if document.defaults else {}
    try:
        otherwise = _options(defaults, contexts) if defaults else SourceOptions()
    except ValueError as error:
        faults.append(f"{OPTION}: defaults cannot be used: {error}.")
    if faults:
        raise _Faulty(tuple(faults))
    insecure = [name for name, values in blocks.items() if values["insecure"]]
    if defaults.get("insecure"):
        insecure.append("every setting")
    return OptionsTable(MappingProxyType(by_name), otherwise, tuple(insecure))


def _options(values: Mapping[str, Any], contexts: TlsContexts) -> SourceOptions:
    """Return the options that the values of a SourceBlock make. Raises ValueError."""
    headers = {name: block.content for name, block in (values["headers"] or {}).items()}
    if values["oauth2"] is not None and any(name.lower() == "authorization" for name in headers):
        raise ValueError("oauth2 and the header Authorization exclude each other")
    return SourceOptions(
        interval_s=values["interval_s"],
        timeout_s=values["timeout_s"],
        max_bytes=values["max_bytes"],
        tls=_context(values, contexts),
        proxy=_proxy(values["proxy"]),
        headers=MappingProxyType(headers),
        oauth2=_client(values["oauth2"]),
        pagination=_pagination(values["pagination"]),
        is_conditional=values["conditional"] is not False,
    )


def _context(values: Mapping[str, Any], contexts: TlsContexts) -> Any:
    trust = Trust(
        is_insecure=bool(values["insecure"]),
        authorities=values["ca_file"],
        certificate=values["client_cert_file"],
        key=values["client_key_file"],
    )
    try:
        return contexts.context_for(trust)
    except OSError:  # ssl.SSLError is one
        raise ValueError("its files of certificates were changed while they were read") from None


def _proxy(block: Any) -> SourceProxy | None:
    if block is None:
        return None
    return SourceProxy(block.url, block.username or "", block.password_file or Secret(""))


def _client(block: Any) -> OAuth2Client | None:
    if block is None:
        return None
    return OAuth2Client(
        token_url=block.token_url,
        client_id=block.client_id,
        client_secret=block.client_secret_file,
        scope=block.scope or "",
        audience=block.audience or "",
        sends_basic=block.auth == "basic",
    )


def _pagination(block: Any) -> Pagination | None:
    if block is None:
        return None
    return Pagination(
        style=PageStyle(block.style),
        path=block.path,
        parameter=block.parameter,
        first=block.first,
        size=block.size,
        max_pages=block.max_pages,
        max_bytes=block.max_bytes,
    )
