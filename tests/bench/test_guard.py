"""The guard complains of what is out of bounds, and of nothing else."""

import copy
from typing import Any

from bench.guard import complaints

GOOD: dict[str, Any] = {
    "throughput": {
        "no_model": {
            "ratio_to_bare_faust": 1.1,
            "cpu_us_per_event": {"main": 260.0, "librdkafka": 30.0},
            "answered_twice": 0,
        },
        "model": {"ratio_to_bare_faust": 0.4, "cpu_us_per_event": {"main": 800.0}, "answered_twice": 0},
        "bare_faust": {"ratio_to_bare_faust": 1.0, "cpu_us_per_event": {"main": 300.0}, "answered_twice": 0},
    },
    "latency": {"200": {"model_share": 1.0}},
}


def test_a_usual_run_is_within_the_bounds() -> None:
    """Nothing is said."""
    assert complaints(GOOD) == []


def test_each_figure_out_of_bounds_is_a_line() -> None:
    """With what it is and what is expected."""
    bad = copy.deepcopy(GOOD)
    bad["throughput"]["no_model"] |= {"ratio_to_bare_faust": 0.49, "cpu_us_per_event": {"main": 481.0}}
    bad["throughput"]["model"] |= {"ratio_to_bare_faust": 0.11, "answered_twice": 74}
    bad["latency"]["200"]["model_share"] = 0.4
    assert [line.partition(":")[0] for line in complaints(bad)] == ["no_model", "model", "no_model", "200/s", "model"]
