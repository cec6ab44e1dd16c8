import multiprocessing
import socket
from pathlib import Path

import pytest

from schemas.errors import InsessionError
from schemas.free_ports import PORTS, free_port


def test_a_port_that_is_taken_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever holds the next one, it is not told."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        free = free_port()
        monkeypatch.setattr("schemas.free_ports._ports", lambda _: iter([held.getsockname()[1], free]))
        monkeypatch.setattr("schemas.free_ports.PORTS", (0, 1))
        assert free_port() == free


def test_no_port_comes_twice() -> None:
    """A server may take its time until it listens."""
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    assert set(ports) <= set(PORTS)


def test_no_outgoing_connection_is_given_such_a_port() -> None:
    """Linux names the first that it gives."""
    told = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if not told.exists():
        pytest.skip("only Linux names the range of outgoing connections")
    assert int(told.read_text().split()[0]) >= PORTS.stop


def test_forked_processes_begin_elsewhere() -> None:
    """They look at the same time, and none listens yet."""
    with multiprocessing.get_context("fork").Pool(2) as pool:
        first, second = pool.apply(free_port), pool.apply(free_port)
    own = free_port()
    assert len({first, second, own}) == 3


def test_where_all_are_taken_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        taken = held.getsockname()[1]
        monkeypatch.setattr("schemas.free_ports.PORTS", range(taken, taken + 1))
        monkeypatch.setattr("schemas.free_ports._ports", lambda _: iter([taken]))
        with pytest.raises(InsessionError, match=f"no port from {taken} to {taken} is free"):
            free_port()
