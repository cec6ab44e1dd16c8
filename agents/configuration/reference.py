"""Documents made from the settings' own code: a TOML template and the reference in docs/settings.md."""

from collections.abc import Iterator
from typing import Any

from agents.configuration.keys import Section, SettingKey
from agents.configuration.values import plain, toml_text, type_name
from schemas.secret import Secret

_TEMPLATE_HEAD = """\
# Settings of insession: every key with its default. Take the # away from what you change.
# An environment variable wins over this file: INSESSION_KAFKA__BROKERS is brokers in [kafka].
# Durations are written as 500ms, 30s, 5m, 12h or 7d; an empty text means not set.
"""
_REFERENCE_HEAD = """\
# Settings

Generated from the code by `make settings`; do not edit.

What is nearest wins: default < TOML file (`--config FILE`, or the variable `INSESSION_CONFIG`) < environment < options
of the command. The variable of a key is `INSESSION_`, the section and the key in capitals, with two underscores in
between: `INSESSION_KAFKA__BROKERS` for `kafka.brokers`, `INSESSION_KAFKA__SECURITY__PASSWORD` for
`kafka.security.password`.

    insession config template > insession.toml     # every key, commented out, with its default
    insession config check --config insession.toml # all that is wrong, with the file or variable; exit code 2
    insession config show --config insession.toml  # what is in force and who said so; secrets are masked

Durations are written as `500ms`, `30s`, `5m`, `1h30m` or `7d`, as seconds, or as ISO 8601 (`PT30M`). In the environment
a list is comma separated. An empty text means not set, where a setting may be that. A key or variable that is not
listed here is refused. Every secret has a twin that ends in `_file`: the name of a file that holds it.
"""


def template(root: Section) -> str:
    """Write every key as TOML, commented out, with its default; read back, it changes nothing."""
    lines = [_TEMPLATE_HEAD, *(line for section in _with_keys(root) for line in _template_section(section))]
    return "\n".join(lines).rstrip() + "\n"


def reference(root: Section) -> str:
    """Write a table a section, for people."""
    lines = [_REFERENCE_HEAD, *(line for section in _with_keys(root) for line in _reference_section(section))]
    return "\n".join(lines).rstrip() + "\n"


def _with_keys(root: Section) -> Iterator[Section]:
    return (section for section in root.walk() if section.keys)


def _template_section(section: Section) -> Iterator[str]:
    yield f"# {section.doc}"
    yield f"[{section.name}]"
    yield ""
    for key in section.keys:
        yield f"# {_sentence(key)} ({type_name(key.type)})"
        yield f"#{key.path[-1]} = {default_text(key)}"
    yield ""


def _reference_section(section: Section) -> Iterator[str]:
    yield f"## `[{section.name}]`"
    yield ""
    yield section.doc
    yield ""
    yield "| key | type | default | meaning |"
    yield "|---|---|---|---|"
    for key in section.keys:
        default = "not set" if key.default is None else f"`{default_text(key)}`"
        kind, doc = type_name(key.type).replace("|", "\\|"), _sentence(key).replace("|", "\\|")
        yield f"| `{key.path[-1]}` | {kind} | {default} | {doc} |"
    yield ""


def default_text(key: SettingKey) -> str:
    """Write the default as TOML; that of a secret, too, since the code publishes it."""
    default: Any = key.default.reveal() if isinstance(key.default, Secret) else plain(key.default)
    return toml_text(default)


def _sentence(key: SettingKey) -> str:
    return key.doc[:1].upper() + key.doc[1:]
