from faust.types import TP

from streams.delivery.standstill import Standstill

ONE, OTHER = TP("clicks", 1), TP("clicks", 2)


def test_an_offset_stands_still_since_it_was_first_seen() -> None:
    """The first look gives nothing; later ones the time since the first."""
    standstill = Standstill()
    assert [standstill.seconds(ONE, 7, now) for now in (10.0, 12.0, 15.5)] == [0.0, 2.0, 5.5]


def test_an_offset_that_moves_starts_anew() -> None:
    """Any other offset, a lower one too, ends the standstill."""
    standstill = Standstill()
    looks = [(7, 10.0), (8, 20.0), (8, 21.0), (3, 22.0), (3, 25.0)]
    assert [standstill.seconds(ONE, offset, now) for offset, now in looks] == [0.0, 0.0, 1.0, 0.0, 3.0]


def test_partitions_stand_still_apart() -> None:
    """What one partition does says nothing about another."""
    standstill = Standstill()
    standstill.seconds(ONE, 7, 10.0)
    standstill.seconds(OTHER, 7, 14.0)
    assert (standstill.seconds(ONE, 7, 15.0), standstill.seconds(OTHER, 7, 15.0)) == (5.0, 1.0)


def test_a_restart_measures_from_now_on() -> None:
    """After a restart the same offset stands still since the restart."""
    standstill = Standstill()
    standstill.seconds(ONE, 7, 10.0)
    standstill.restart(ONE, 7, 20.0)
    assert standstill.seconds(ONE, 7, 21.0) == 1.0


def test_a_partition_that_is_not_kept_is_forgotten() -> None:
    """A partition that comes back has not stood still while it was away."""
    standstill = Standstill()
    for tp in (ONE, OTHER):
        standstill.seconds(tp, 7, 10.0)
    standstill.keep({OTHER})
    assert (standstill.seconds(ONE, 7, 20.0), standstill.seconds(OTHER, 7, 20.0)) == (0.0, 10.0)
