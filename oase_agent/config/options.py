"""How an option is declared: its name in the environment, its default, its meaning, and what it must be.

One declaration serves the reading, the messages and the documentation, so these cannot contradict each other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from pydantic import Field
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from oase_agent.model import Secret

REQUIRED = PydanticUndefined


class OptionGroup(BaseSettings):
    """Options that belong together; a frozen model whose fields are declared with `option`."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        arbitrary_types_allowed=True,
        # A default is written as an operator would write it, and read the same way.
        validate_default=True,
        hide_input_in_errors=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic-settings'
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from arguments only: `load` reads the environment it is given, not the process's."""
        return (init_settings,)


def option(
    name: str,
    meaning: str,
    *,
    must_be: str,
    default: Any = REQUIRED,
    default_text: str | None = None,
    new: bool = False,
) -> Any:
    """Declare a field of an `OptionGroup`.

    `must_be` completes "give …" in a message. `default_text` is for the documentation, where `default` does
    not speak for itself. `new` options are not known to the reference agent.
    """
    extra: JsonDict = {"must_be": must_be, "default_text": default_text, "new": new}
    return Field(default, validation_alias=name, description=meaning, json_schema_extra=extra)


def file_option(name: str, meaning: str) -> Any:
    """Declare a new option that names a file, None unless set."""
    must_be = "the path of a readable file"
    return option(name, meaning, must_be=must_be, default=None, default_text="–", new=True)


@runtime_checkable
class Rule(Protocol):
    """A rule whose breach is mended with a warning, because the reference agent starts with such a value too."""

    def mend(self, name: str, value: Any) -> tuple[Any, str | None]:
        """Return a value that keeps the rule, and a sentence if it is not the one that was set."""

    def describe(self) -> str:
        """Return what the rule adds to `must_be`."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """A number outside is set to the nearest bound."""

    low: float
    high: float | None = None

    def mend(self, name: str, value: float | None) -> tuple[float | None, str | None]:
        """Clamp; None (no value) stays."""
        if value is not None and value < self.low:
            return (
                self.low,
                f"{name} is {self.show(value)}, less than allowed: {self.show(self.low)} is used.",
            )
        if value is not None and self.high is not None and value > self.high:
            return (
                self.high,
                f"{name} is {self.show(value)}, more than allowed: {self.show(self.high)} is used.",
            )
        return value, None

    def describe(self) -> str:
        """Return the bounds in words."""
        if self.high is None:
            return f", at least {self.show(self.low)}"
        return f", {self.show(self.low)} to {self.show(self.high)}"

    def show(self, value: float) -> str:
        """Return a number as an operator would write it."""
        return f"{value:.15g}"


@dataclass(frozen=True, slots=True)
class ByteBounds(Bounds):
    """Bounds of a number of bytes."""

    def show(self, value: float) -> str:
        """Return the number in the largest unit that divides it."""
        for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
            if value and value % unit == 0:
                return f"{value // unit:.0f} {name}"
        return f"{value:.0f}"


@dataclass(frozen=True, slots=True)
class OneOf:
    """Any other word is replaced by `otherwise`."""

    words: tuple[str, ...]
    otherwise: str

    def mend(self, name: str, value: str) -> tuple[str, str | None]:
        """Return the word, or `otherwise` with a warning."""
        if value in self.words:
            return value, None
        return self.otherwise, f"{name} is {value!r}, not {self.describe()}: {self.otherwise} is used."

    def describe(self) -> str:
        """Return the words."""
        return "exactly " + ", ".join(self.words[:-1]) + " or " + self.words[-1]


@dataclass(frozen=True, slots=True)
class NoEmptyElement:
    """Empty elements of a list are dropped."""

    def mend(self, name: str, value: tuple[str, ...]) -> tuple[tuple[str, ...], str | None]:
        """Return the list without empty elements."""
        if "" not in value:
            return value, None
        return tuple(
            filter(None, value)
        ), f"{name} has an empty element, which is dropped: remove the extra comma."

    def describe(self) -> str:
        """Return nothing: every list is described by its option."""
        return ""


@dataclass(frozen=True, slots=True)
class Option:
    """One declared option, as messages and documentation need it."""

    name: str
    field: str
    meaning: str
    must_be: str
    default: str
    new: bool
    secret: bool
    required: bool
    rules: tuple[Rule, ...]


def options_of(group: type[OptionGroup]) -> Iterator[Option]:
    """Yield the options of a group, in the order of their declaration."""
    for field, info in group.model_fields.items():
        yield _option(field, info)


def _option(field: str, info: FieldInfo) -> Option:
    extra = info.json_schema_extra
    assert isinstance(extra, dict), "every field of a group is declared with option()"
    rules = tuple(item for item in info.metadata if isinstance(item, Rule))
    return Option(
        name=str(info.validation_alias),
        field=field,
        meaning=info.description or "",
        must_be=str(extra["must_be"]) + "".join(rule.describe() for rule in rules),
        default="" if info.is_required() else str(extra["default_text"] or info.default),
        new=bool(extra["new"]),
        secret=info.annotation is Secret or not info.repr,
        required=info.is_required(),
        rules=rules,
    )
