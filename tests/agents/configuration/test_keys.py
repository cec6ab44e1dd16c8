from dataclasses import dataclass, field
from datetime import timedelta

from agents.configuration.keys import Section, section_of
from agents.settings import Settings
from schemas.secret import Secret


@dataclass(frozen=True)
class Inner:
    """The inner section.

    wait: How long,
        on two lines.
    password: What nobody may see.

    A paragraph: that is about no field.
    """

    wait: timedelta = timedelta(seconds=1)
    password: Secret | None = None


@dataclass(frozen=True)
class Outer:
    """The root."""

    inner: Inner = field(default_factory=Inner)
    count: int | None = None


def inner_section() -> Section:
    """Describe the inner section of the example."""
    inner = section_of(Outer).section("inner")
    assert inner is not None
    return inner


def test_a_key_has_name_variable_type_default_and_meaning() -> None:
    """All that messages and documents say of a setting comes from its field and the class docstring."""
    wait, password, _ = inner_section().keys
    assert (wait.name, wait.variable) == ("inner.wait", "INSESSION_INNER__WAIT")
    assert (wait.type, wait.default, wait.is_optional) == (timedelta, timedelta(seconds=1), False)
    assert (wait.doc, password.doc) == ("How long, on two lines.", "What nobody may see.")
    assert (password.type, password.is_optional, password.is_secret) == (Secret, True, True)


def test_every_secret_has_a_twin_that_names_a_file() -> None:
    """The twin is no field: what it reads becomes the secret's value."""
    secret, twin = inner_section().keys[1:]
    assert (twin.name, twin.secret_key) == ("inner.password_file", secret)


def test_a_walk_meets_every_section() -> None:
    """The root comes first, then what is in it."""
    assert [section.name for section in section_of(Outer).walk()] == ["", "inner"]


def test_every_setting_says_what_it_means() -> None:
    """A setting without a line in its class's docstring would be missing from template and reference."""
    undocumented = [key.name for section in section_of(Settings).walk() for key in section.keys if not key.doc]
    assert undocumented == []
