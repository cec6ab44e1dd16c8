import pytest
from confluent_kafka import TopicPartition

from streams.state.changelog_identity import Changelog, ChangelogIdentity, ChangelogLostError, refuse_another

IDENTITY = ChangelogIdentity("IdOfTheTopic-AAAAAAAAAA", 7)
FULL, EMPTY = Changelog("states", IDENTITY, 5), Changelog("states", IDENTITY, 0)
OTHER, CUT = ChangelogIdentity("another", 0), ChangelogIdentity(IDENTITY.topic_id, 3)


def commits(*notes: str) -> list[TopicPartition]:
    """Make a commit for each note."""
    return [TopicPartition("clicks", number, 10, note) for number, note in enumerate(notes)]


def test_a_note_is_read_back() -> None:
    """And metadata of others is none."""
    assert ChangelogIdentity.read(IDENTITY.note) == IDENTITY
    for metadata in (
        None,
        "",
        "somebody's",
        "insession-changelog",
        "insession-changelog id",
        "insession-changelog id -1",
    ):
        assert ChangelogIdentity.read(metadata) is None


@pytest.mark.parametrize("changelog", [FULL, EMPTY])
@pytest.mark.parametrize("notes", [[], [IDENTITY.note], [IDENTITY.note] * 2])
def test_the_changelog_of_the_commits_passes(changelog: Changelog, notes: list[str]) -> None:
    """Also an empty one: nothing that was read made a state; and whatever there is without a commit."""
    refuse_another(changelog, commits(*notes))


def test_commits_of_an_older_version_pass_beside_states() -> None:
    """They have no note, and those of this version have none to compare with."""
    refuse_another(FULL, commits("", "somebody", IDENTITY.note))


@pytest.mark.parametrize(
    ("changelog", "notes", "what"),
    [
        (EMPTY, [""], "is empty"),
        (EMPTY, [IDENTITY.note, ""], "is empty"),
        (FULL, [OTHER.note], "was deleted and made anew"),
        (FULL, [IDENTITY.note, OTHER.note], "was deleted and made anew"),
        (EMPTY, [OTHER.note], "was deleted and made anew"),
        (FULL, [CUT.note], "has lost its first records"),
    ],
)
def test_another_changelog_is_refused(changelog: Changelog, notes: list[str], what: str) -> None:
    """The message says what happened to it, and how to go on all the same."""
    with pytest.raises(ChangelogLostError, match=f"changelog states {what}, .*`insession state accept`"):
        refuse_another(changelog, commits(*notes))
