"""The pagination of one setting, with everything checked that can be checked before a request."""

from dataclasses import dataclass
from hashlib import blake2b

from oase_agent.errors import Reason, SettingRejected
from oase_agent.model import RequestMethod, Setting
from oase_agent.sources.options import PageStyle, Pagination
from oase_agent.sources.pagination.dotted import parse_path

_NEEDS_PATH = frozenset({PageStyle.NEXT_URL, PageStyle.TOKEN})
_NEEDS_PARAMETER = frozenset({PageStyle.TOKEN, PageStyle.PAGE, PageStyle.OFFSET})
_COUNTS = frozenset({PageStyle.PAGE, PageStyle.OFFSET})


@dataclass(frozen=True, slots=True)
class Plan:
    """How one setting is asked for its pages.

    `path` leads to the next URL or token. `list_path` leads to the elements of a page; None if only JMESPath does, or
    if a page is no list: then they are not counted. `parameter` are the names that lead to the place in the body of a
    POST where a token or number is sent. `identity` changes with everything that makes an old bookmark useless.
    """

    options: Pagination
    path: tuple[str, ...]
    list_path: tuple[str, ...] | None
    parameter: tuple[str, ...]
    identity: str

    @property
    def style(self) -> PageStyle:
        """How the next page is asked for."""
        return self.options.style

    @property
    def counts(self) -> bool:
        """Whether the elements of a page decide where the next one is."""
        return self.options.style in _COUNTS


def plan_for(setting: Setting, options: Pagination) -> Plan:
    """Return the plan; raises SettingRejected for options that do not fit together or to the setting."""
    style = options.style
    if style in _NEEDS_PATH and not options.path:
        raise _rejected("path", f"is missing: {style} needs the place of the next page in the answer")
    if style in _NEEDS_PARAMETER and not options.parameter:
        raise _rejected("parameter", f"is missing: {style} needs the name under which it is sent")
    list_path = _list_path(setting, options)
    if style in _COUNTS and list_path is None:
        raise _rejected(
            "path", f"is missing: {style} needs the place of the list, because RESPONSE_KEY is no path"
        )
    path = _parsed("path", options.path) if options.path and style in _NEEDS_PATH else ()
    is_post = setting.request_method is RequestMethod.POST
    parameter = _parsed("parameter", options.parameter) if options.parameter and is_post else ()
    return Plan(options, path, list_path, parameter, _identity(setting, options))


def _list_path(setting: Setting, options: Pagination) -> tuple[str, ...] | None:
    if options.style in _COUNTS and options.path:
        return _parsed("path", options.path)
    if not setting.response_is_list:
        return None
    if setting.response_key is None:
        return ()
    try:
        names = parse_path(setting.response_key)
    except ValueError:
        return None
    # What JMESPath means by other characters is not a name.
    return names if all(name.isidentifier() and name.isascii() for name in names) else None


def _parsed(option: str, text: str) -> tuple[str, ...]:
    try:
        return parse_path(text)
    except ValueError as error:
        raise _rejected(option, str(error)) from error


def _rejected(option: str, fault: str) -> SettingRejected:
    return SettingRejected(
        f"pagination.{option} of the setting in SOURCE_OPTIONS_FILE {fault}.", Reason.INVALID_SETTING
    )


def _identity(setting: Setting, options: Pagination) -> str:
    # The templates, not what they render to: times in them move on. Not the headers: a key may be changed.
    texts = (
        setting.url,
        setting.parameter,
        setting.request_method,
        setting.response_key,
        setting.response_is_list,
    )
    place = (options.style, options.path, options.parameter, options.first, options.size)
    return blake2b(repr((texts, place)).encode("utf-8", "backslashreplace"), digest_size=8).hexdigest()
