"""The text of a recipe: TOML tables to the settings they are, whatever kind of model it makes."""

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..physics.galaxy import MODELS, GalaxyModel


@dataclass(frozen=True)
class Architecture:
    """Sizes of the network (`slipher.networks.posterior_flow.build`)."""

    context: int = 96
    width: int = 320
    depth: int = 3
    layers: int = 6
    flow_width: int = 128
    knots: int = 8


def read_text(path: Path) -> str:
    """The text of a recipe's file. Raises InputError where it cannot be read."""
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", "it is no text")
        raise InputError(f"recipe {path} cannot be read ({why})", expected="a TOML file", mend="Check the path.") from error


def content_of(text: str) -> dict:
    """What a recipe's text says. Raises InputError where it is no TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"a recipe that is no TOML ({error})", expected="TOML", mend="See recipes/galaxy.toml.") from error


def opened(text: str, sections: tuple[str, ...]) -> tuple[dict, GalaxyModel]:
    """What a recipe says, and its preset. Raises InputError for a section or preset that does not exist."""
    content = content_of(text)
    if unknown := sorted(set(content) - set(sections)):
        raise InputError(f"{unknown[0]!r} in a recipe", expected=f"one of {', '.join(sections)}", mend="Mend the recipe.")
    preset = content.get("preset")
    if preset not in list(MODELS):
        raise InputError(f"preset {preset!r}", expected=f"one of {', '.join(MODELS)}", mend="Choose one of those.")
    return content, MODELS[preset]


def section(kind: type, content: dict, name: str) -> Any:
    """A dataclass from a TOML table."""
    table, defaults = content.get(name, {}), dataclasses.asdict(kind())
    if not isinstance(table, dict):
        raise InputError(f"{name} = {table!r}", expected=f"a table [{name}] of settings", mend="Mend the recipe.")
    if unknown := sorted(set(table) - set(defaults)):
        raise InputError(f"[{name}] {unknown[0]}", expected=f"one of {', '.join(sorted(defaults))}", mend="Mend the recipe.")
    return kind(**{key: _setting(f"[{name}] {key}", value, defaults[key]) for key, value in table.items()})


def _setting(what: str, value: Any, default: Any) -> Any:
    """A TOML value as its default is: lists become tuples, whole numbers real ones where those are meant."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
    kinds, expected = {
        int: ((int,), "a whole number"), float: ((int, float), "a number"),
        tuple: ((list,), "a list of numbers"), dict: ((dict,), "a table of numbers"), bool: ((bool,), "true or false"),
    }[type(default)]  # fmt: skip
    if type(value) not in kinds or any(type(x) not in (int, float, *(kinds if bool in kinds else ())) for x in inside):
        raise InputError(f"{what} = {value!r}", expected=f"{expected}, as in {default!r}", mend="Mend the recipe.")
    if isinstance(value, dict):
        return {key: float(x) for key, x in value.items()}
    return tuple(map(float, value)) if isinstance(value, list) else type(default)(value)
