"""Reading and writing configurations.

A configuration is built in layers, each overriding the one before: the defaults in `sections`, a preset, TOML files,
then `--set section.key=value`. Unknown keys are errors that name the nearest known one.
"""

import tomllib
from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

import tomli_w
from pydantic import ValidationError

from antiphon.config.rules import check
from antiphon.config.sections import SECTIONS, Config, OneOf
from antiphon.errors import UserError, near


def presets() -> dict[str, str]:
    """Names of the presets, each with its first line, which describes it."""
    files = (f for f in resources.files("antiphon.config").joinpath("presets").iterdir() if f.name.endswith(".toml"))
    ordered = sorted(files, key=lambda f: f.name)
    return {f.name.removesuffix(".toml"): f.read_text("utf-8").splitlines()[0].lstrip("# ") for f in ordered}


def load(
    preset: str = "",
    files: Iterable[Path] = (),
    sets: Iterable[str] = (),
    over: Mapping[str, Mapping[str, Any]] | None = None,
    started: Callable[[str], Config] | None = None,
    under: Mapping[str, Mapping[str, Any]] | None = None,
) -> Config:
    """Build a configuration from its layers.

    Args:
        preset: name of a preset; empty: none, unless a file names one.
        files: TOML files; each overrides the one before.
        sets: `section.key=value` strings, which override all others; a value is TOML, or a plain word.
        over: sections and their values, such as command-line flags; they override the files.
        started: gives the options of the model folder that `train.start` names, which all others override.
        under: sections and their values over the preset and under all others, such as `training.plan` chooses.

    Raises:
        UserError: a file cannot be read, a key is unknown, a value is of the wrong kind or out of range.
    """
    named, layers = _layers(files, sets, over)
    preset = preset or named
    if under:
        layers.insert(0, ("chosen for the data", under))
    if preset:
        layers.insert(0, (f"preset {preset}", _preset(preset)))
    merged = _merged(layers)
    start = merged.get("train", {}).get("start")
    if start and started:
        pretrained = started(start)
        preset = preset or pretrained.preset
        merged = _merged([(f"model {start}", pretrained.model_dump(exclude={"preset"})), *layers])
    config = _with_marks(_validate("configuration", merged | {"preset": preset}))
    check(config)
    return config


def given(
    files: Iterable[Path] = (), sets: Iterable[str] = (), over: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, dict[str, Any]]:
    """The options that the user gives, by section and key, without a preset and defaults; arguments as of `load`."""
    return _merged(_layers(files, sets, over)[1])


def _layers(
    files: Iterable[Path], sets: Iterable[str], over: Mapping[str, Mapping[str, Any]] | None
) -> tuple[str, list[tuple[str, Mapping[str, Any]]]]:
    """The preset that the files name, and the layers over it, each with its origin."""
    layers: list[tuple[str, Mapping[str, Any]]] = []
    named = ""
    for path in files:
        layer = _toml(path)
        name = layer.pop("preset", "")
        if not isinstance(name, str):
            raise UserError(f"{path}: preset = {name!r}: write a preset's name in quotes")
        named = name or named
        layers.append((str(path), layer))
    layers.append(("command line", over or {}))
    layers += [(f"--set {text}", _set(text)) for text in sets]
    return named, layers


def _merged(layers: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """The sections of all layers; each layer, which has its origin beside it, overrides the ones before."""
    merged: dict[str, dict[str, Any]] = {}
    for origin, layer in layers:
        for name, values in layer.items():
            _check_keys(origin, name, values)
            merged.setdefault(name, {}).update(values)
            _validate(origin, {name: merged[name]})
    return merged


def _with_marks(config: Config) -> Config:
    """The configuration with a conversation's marks among the symbols of the text."""
    if not config.dialogue.turns:
        return config
    symbols = list(dict.fromkeys([*config.text.symbols, config.dialogue.user, config.dialogue.model]))
    return config.model_copy(update={"text": config.text.model_copy(update={"symbols": symbols})})


def setting(text: str, origin: str) -> tuple[str, str, Any]:
    """Read one `section.key=value`.

    Args:
        text: the setting.
        origin: where it comes from, for error messages.

    Returns:
        Section, key and value; the value is checked by itself.

    Raises:
        UserError: no such option, or a value of the wrong kind or out of range.
    """
    layer = _set(text)
    _merged([(origin, layer)])
    ((section, values),) = layer.items()
    ((key, value),) = values.items()
    return section, key, value


def from_dict(values: Any, origin: str) -> Config:
    """Read a configuration back from a model folder, as strictly as from a file.

    Raises:
        UserError: an unknown key, a bad value, or values that do not fit together.
    """
    if not isinstance(values, dict):
        raise UserError(f"{origin}: not a configuration: expected sections {', '.join(SECTIONS)}")
    for name, section in values.items():
        if name != "preset":
            _check_keys(origin, name, section)
    config = _validate(origin, values)
    try:
        check(config)
    except UserError as e:
        raise UserError(f"{origin}: {e}") from e
    return config


def to_toml(config: Config) -> str:
    """A configuration as a file that `load` reads; all its values, whatever the preset says."""
    return tomli_w.dumps(config.model_dump(mode="json", exclude=set() if config.preset else {"preset"}))


def reference() -> str:
    """Every option with its default and meaning, as TOML."""
    lines: list[str] = []
    for name, section in SECTIONS.items():
        lines.append(f"[{name}]  # {(section.__doc__ or '').strip()}")
        for key, field in section.model_fields.items():
            choices = get_args(field.annotation) if getattr(field.annotation, "__origin__", None) is Literal else ()
            choices = next((tuple(m.kinds) for m in field.metadata if isinstance(m, OneOf)), choices)
            among = f" ({' | '.join(map(str, choices))})" if choices else ""
            lines.append(f"{_line(key, field.default)}  # {field.description}{among}")
        lines.append("")
    return "\n".join(lines)


def _line(key: str, value: Any) -> str:
    """An option on one line of TOML; the library gives each entry of a list a line of its own."""
    if not isinstance(value, list):
        return tomli_w.dumps({key: value}).strip()
    entries = (_line("", entry).removeprefix('"" = ') for entry in value)
    return f"{key} = [{', '.join(entries)}]"


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as e:
        raise UserError(f"{path}: cannot read the configuration: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise UserError(f"{path}: not UTF-8 at byte {e.start}; save the configuration as UTF-8") from e
    except tomllib.TOMLDecodeError as e:
        raise UserError(f"{path}: not valid TOML: {e}") from e


def _preset(name: str) -> dict[str, Any]:
    known = presets()
    if name not in known:
        raise UserError(f"no preset is called '{name}'{near(name, known)}")
    return tomllib.loads(resources.files("antiphon.config").joinpath("presets", f"{name}.toml").read_text("utf-8"))


def _set(text: str) -> dict[str, Any]:
    path, equals, value = text.partition("=")
    section, dot, key = path.strip().partition(".")
    if not (equals and dot and key):
        raise UserError(f"--set {text}: write it as section.key=value, such as --set train.seed=2")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    return {section: {key: parsed}}


def _check_keys(origin: str, name: str, values: Any) -> None:
    if name not in SECTIONS:
        raise UserError(f"{origin}: unknown section [{name}]{near(name, SECTIONS)}")
    if not isinstance(values, dict):
        raise UserError(f"{origin}: {name} is a section: write its options under [{name}]")
    known = SECTIONS[name].model_fields
    for key in values:
        if key not in known:
            raise UserError(f"{origin}: unknown option {name}.{key}{near(key, known)}")


def _validate(origin: str, values: dict[str, Any]) -> Config:
    try:
        return Config.model_validate(values)
    except ValidationError as e:
        first = e.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{origin}: {key} = {first['input']!r}: {first['msg']}") from e
