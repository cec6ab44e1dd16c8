import io
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.measure import Latency, Throughput
from bench.programs import Cpu, HeldBytes, Subject
from bench.report import Machine, Report


def throughput(rate: float, **main_us: float) -> Throughput:
    """Make a round; the model server's threads take half."""
    held = HeldBytes(3 << 20, 5 << 20)
    return Throughput(rate, Counter({"model": 9, "knn (deadline)": 1}), 1, Cpu(main_us, {"main": 50.0}), held)


def report(**throughputs: list[Throughput]) -> Report:
    """Make a report of two releases, each at two rates."""
    found = Latency(100, 5.0, 9.0, 20.0, 30.0, Counter({"model": 3, "knn (deadline)": 1}), Cpu({"main": 400.0}, {}))
    return Report(
        machine=Machine(2, 0.5),
        settings={"events": 1000},
        subjects={key: Subject(key, key.replace("_", " "), lambda _place: []) for key in throughputs},
        throughput=throughputs,
        latency={items: {50.0: found, 200.0: found} for items in (2_000, 40_000)},
        model_steps={40_000: {"plain_ms": 14.0, "ours_ms": 4.0, "recall": 0.995}},
        bytes_per_session={"memory": 30},
    )


ROUNDS = {
    "no_model": [throughput(900, main=300, librdkafka=20), throughput(1000, main=200), throughput(2000, main=100)],
    "bare_faust": [throughput(300, main=900), throughput(500, main=900), throughput(500, main=900)],
}


def test_ratios_are_medians_of_neighbours_in_time() -> None:
    """900 of 300, 1,000 of 500 and 2,000 of 500; a baseline that was left out gives none."""
    assert report(**ROUNDS).ratio("no_model", "bare_faust") == 3.0
    assert report(**ROUNDS).ratio("no_model", "raw_aiokafka") is None


def test_machines_read_rates_threads_and_latency_by_rate() -> None:
    """Medians over the rounds; the latency is that of the largest release, those of all stand beside it."""
    found: dict[str, Any] = report(**ROUNDS).as_json()
    assert found["machine"] == {"cores": 2, "load_before": 0.5}
    worker = found["throughput"]["no_model"]
    assert (worker["events_per_second"], worker["cpu_us_per_event"]) == (1000, {"main": 200, "librdkafka": 0.0})
    assert (worker["ratio_to_bare_faust"], worker["ratio_to_raw_aiokafka"]) == (3.0, None)
    assert (worker["held_bytes"], worker["server_held_bytes"]) == (3 << 20, 5 << 20)
    assert worker["answered_twice"] == len(ROUNDS["no_model"])
    assert found["model_step"] == {"40000": {"plain_ms": 14.0, "ours_ms": 4.0, "recall": 0.995}}
    assert found["latency"]["200"] == found["latency_by_items"]["40000"]["200"]
    assert {name: found["latency"]["50"][name] for name in ("p50_ms", "p90_ms", "p99_ms", "model_share")} == {
        "p50_ms": 5.0,
        "p90_ms": 9.0,
        "p99_ms": 20.0,
        "model_share": 0.75,
    }


def test_people_read_two_tables_and_a_picture(tmp_path: Path) -> None:
    """With the load of the machine, since other work is in every figure."""
    text = io.StringIO()
    console = Console(file=text, width=200)
    made = report(**ROUNDS)
    console.print(made.throughput_table())
    console.print(made.latency_table())
    told = text.getvalue()
    assert "load before 0.5 on 2 cores" in told
    assert "main 200" in told
    assert "75.0%" in told
    made.draw(tmp_path / "bench.svg")
    assert "<svg" in (tmp_path / "bench.svg").read_text()
