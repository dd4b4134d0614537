"""When a component is started again, and what is told of its ends."""

from __future__ import annotations

from pathlib import Path

from tools.stack import restarts
from tools.stack.restarts import Life


def life(**changes: object) -> Life:
    made = Life(log="/logs/x.log", lasting=True)
    made.begin(1, now=0)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_the_pause_grows_to_a_minute_and_begins_anew_after_a_minute_of_life() -> None:
    one, pauses = life(), []
    for lived in (0.5, 3, 59.9, 0, 0, 0, 0, 0, 60, 5):
        one.end(-9, "", lived, now=100)
        pauses.append(one.pause)
        one.begin(2, now=101)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 1, 2]
    assert one.restarts == 10


def test_the_pause_of_who_has_ended_very_often_is_a_minute() -> None:
    assert life(in_a_row=5000).pause == 60


def test_who_does_not_run_or_ends_again_and_again_fails() -> None:
    one = life()
    assert not one.fails(now=5)
    one.end(1, "", lived=5, now=5)
    assert one.fails(now=5)
    one.begin(2, now=6)
    assert not one.fails(now=6)
    for _ in range(2):
        one.end(1, "", lived=5, now=10)
        one.begin(3, now=11)
    assert one.fails(now=12)
    assert not one.fails(now=11 + restarts.LIVED)
    one.lasting = False
    one.end(1, "", lived=5, now=20)
    assert not one.fails(now=20)


def test_how_it_ended_is_a_predicate() -> None:
    one = life()
    one.end(-15, "", 1, 1)
    assert one.how() == "was killed by signal 15"
    one.end(None, "No such file or directory: x", 1, 1)
    assert one.how() == "could not be started (No such file or directory: x)"


def test_the_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "components.json"
    assert restarts.read(path) == {}
    one = life()
    one.end(-9, "", 12, now=100)
    restarts.write(path, {"localaws": one})
    assert restarts.read(path) == {"localaws": one}
