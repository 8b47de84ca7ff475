"""Curves as pages draw them, and a run's figures as people read them."""

from charkha.console.curves import curves, measured
from charkha.console.filters import number

POINTS = [
    {"step": 1, "loss": 2.5, "learning_rate": 0.001, "tokens_per_second": None},
    {"step": 2, "loss": 1.25, "learning_rate": 0.0005, "tokens_per_second": 200.0},
]


def test_each_measure_is_a_picture_with_what_it_shows_in_words() -> None:
    loss, speed, rate = curves([("this run", POINTS)])
    assert loss.series == [{"label": "this run", "points": [[1, 2.5], [2, 1.25]]}]
    assert loss.told == "Loss by step. this run: 2.500 at step 1, 1.250 at step 2."
    assert speed.series[0]["points"] == [[2, 200.0]]
    assert [each.y for each in (loss, speed, rate)] == ["loss", "tokens / s", "rate"]


def test_runs_are_laid_over_one_another() -> None:
    loss, *_ = curves([("one", POINTS), ("two", POINTS[:1])])
    assert [each["label"] for each in loss.series] == ["one", "two"]
    assert "two: 2.500 at step 1" in loss.told


def test_a_run_without_points_says_so() -> None:
    assert curves([("this run", [])])[0].told == "Loss by step. Nothing yet."


def test_known_figures_come_first_and_have_an_explanation() -> None:
    told = measured(
        {"odd_thing": True, "seconds": 84.91, "validation": {"35": 0.39}, "examples": 12345, "loss_last": 0.4233}
    )
    assert [(each.name, each.text) for each in told] == [
        ("Loss at last", "0.423"),
        ("Loss kept aside", "0.390 at step 35"),
        ("Examples learned", number(12345)),
        ("Training took", "84.9"),
        ("Odd thing", "True"),
    ]
    assert all(each.explanation for each in told[:-1])
    assert told[-1].explanation == ""
