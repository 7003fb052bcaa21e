"""What a server folder remembers."""

import socket
from pathlib import Path

import pytest

from include.demo.errors import DemoError
from include.demo.remembered import HOST, PORTS, choose_port, remembered_password


def test_generated_password_is_private_and_stays(tmp_path: Path) -> None:
    first = remembered_password(tmp_path, None, changeable=False)
    assert len(first) > 20
    assert (tmp_path / "password").stat().st_mode & 0o777 == 0o600
    assert remembered_password(tmp_path, None, changeable=False) == first


def test_another_password_is_refused_where_it_cannot_be_changed(tmp_path: Path) -> None:
    remembered_password(tmp_path, "first", changeable=False)
    with pytest.raises(DemoError, match="another password"):
        remembered_password(tmp_path, "second", changeable=False)


def test_another_password_replaces_the_first_where_it_can(tmp_path: Path) -> None:
    remembered_password(tmp_path, "first", changeable=True)
    assert remembered_password(tmp_path, "second", changeable=True) == "second"
    assert remembered_password(tmp_path, None, changeable=True) == "second"


def test_port_stays_while_it_is_free(tmp_path: Path) -> None:
    port = choose_port(tmp_path, None)
    assert port in PORTS
    assert choose_port(tmp_path, None) == port


def test_remembered_port_that_is_taken_gives_way_and_a_given_one_does_not(tmp_path: Path) -> None:
    port = choose_port(tmp_path, None)
    with socket.socket() as other:
        other.bind((HOST, port))
        other.listen()
        assert choose_port(tmp_path, None) != port
        with pytest.raises(DemoError, match=f"Port {port}"):
            choose_port(tmp_path, port)
