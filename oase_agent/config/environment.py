"""The environment as the operator wrote it: `<NAME>_FILE`, names without effect, and probable typing mistakes."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from pydantic_settings import EnvSettingsSource

from oase_agent.config.options import OptionGroup

PROXY_NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")

# Known to the reference agent or its image (contract section 1) and without meaning here.
WITHOUT_EFFECT = (
    "DEFAULT_LANGUAGE",
    "ENVFILEPATH",
    "HOSTNAME",
    "IS_NON_CONTAINER_LOG",
    "LOGGING_MAX_FILE",
    "LOGGING_MAX_SIZE",
    "LOGPATH",
    "PYTHONCMD",
    "PYTHONPATH",
    "ROLES",
    "SERVICE_NAME",
    "SQL_DELETE_PROC_UNIT_NUM",
    "SQL_INSERT_PROC_UNIT_NUM",
    "SQL_UPDATE_PROC_UNIT_NUM",
    "STORAGEPATH",
    "USER_ID",
)

# Compose files pass every option, most of them empty, so empty means "not set". Not for this one: falling back
# to the default would let two agents share a name without anyone noticing.
_NEVER_EMPTY = "AGENT_NAME"

# Two transposed letters in a name of ten still match; ADMIN_PORT_80_TCP, which Kubernetes sets, does not.
_SIMILARITY = 0.87


@dataclass(frozen=True, slots=True)
class OptionTexts:
    """The texts of the options that are set, and a fault for each option whose text could not be had."""

    texts: Mapping[str, str]
    faults: Mapping[str, str]


class TextSource(EnvSettingsSource):
    """How pydantic-settings finds the fields of a group in a mapping given as an argument."""

    def __init__(self, group: type[OptionGroup], texts: Mapping[str, str]) -> None:
        super().__init__(group, case_sensitive=True)
        self.env_vars = texts


def read_texts(environment: Mapping[str, str], names: Iterable[str]) -> OptionTexts:
    """Return the text of each option in `names`, from the environment or from the file that it names."""
    texts: dict[str, str] = {}
    faults: dict[str, str] = {}
    for name in names:
        direct, path = environment.get(name), environment.get(f"{name}_FILE")
        if direct and path:
            faults[name] = f"{name} and {name}_FILE are both set: remove one of them."
        elif path:
            try:
                direct = _read(path)
            except (OSError, ValueError) as error:
                reason = (error.strerror if isinstance(error, OSError) else None) or "it is no UTF-8 text"
                faults[name] = f"{name}_FILE is {path!r} ({reason}): give the path of a readable text file."
        if name not in faults and (direct or (direct is not None and name == _NEVER_EMPTY)):
            texts[name] = direct
    return OptionTexts(texts, faults)


def probable_mistakes(environment: Mapping[str, str], names: Collection[str]) -> Iterator[str]:
    """Yield a warning for each variable that nearly has the name of an option."""
    candidates = [*names, *(f"{name}_FILE" for name in names)]
    known = {*candidates, *WITHOUT_EFFECT, *(name.lower() for name in PROXY_NAMES)}
    for variable in sorted(environment.keys() - known):
        for match in get_close_matches(variable.upper(), candidates, n=1, cutoff=_SIMILARITY):
            yield f"{variable} is not an option and has no effect: did you mean {match}?"


def _read(path: str) -> str:
    """Return the text of a file without one newline at its end, which editors and `echo` add."""
    text = Path(path).read_bytes().decode()
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
