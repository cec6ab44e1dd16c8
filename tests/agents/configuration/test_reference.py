import re
from pathlib import Path

from agents.configuration.keys import section_of
from agents.configuration.reference import reference, template
from agents.settings import Settings, load_settings, read_settings

REFERENCE = Path(__file__).parents[3] / "docs" / "settings.md"
SECTION = section_of(Settings)


def test_the_template_changes_nothing(tmp_path: Path) -> None:
    """As printed it sets nothing."""
    file = tmp_path / "insession.toml"
    file.write_text(template(SECTION))
    assert read_settings(file=file, environment={}).origins == {}


def test_the_template_has_every_key_with_its_default(tmp_path: Path) -> None:
    """With every # before a key taken away it sets all there is, and to what it is anyway."""
    file = tmp_path / "insession.toml"
    twins = "|".join(key.path[-1] for section in SECTION.walk() for key in section.keys if key.secret_key)
    file.write_text(re.sub(rf"^#(?=\w+ = )(?!({twins}) )", "", template(SECTION), flags=re.MULTILINE))
    reading = read_settings(file=file, environment={})
    assert reading.valid() == Settings()
    keys = {key.name for section in SECTION.walk() for key in section.keys if key.secret_key is None}
    tables = {"clickstream.mapping.paths", "clickstream.mapping.values"}  # an empty table gives nothing
    assert keys - tables <= set(reading.origins) <= keys


def test_the_published_reference_is_the_codes() -> None:
    """After a change to a setting run `make settings`."""
    assert REFERENCE.read_text() == reference(SECTION)


def test_every_key_is_a_variable_that_the_environment_may_set() -> None:
    """The names that reference and template give are those that are read."""
    variables = {
        key.variable: "" for section in SECTION.walk() for key in section.keys if key.is_optional and not key.is_secret
    }
    assert load_settings(environment=variables) == Settings()
