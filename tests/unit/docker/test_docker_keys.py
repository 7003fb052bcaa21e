import json
import stat

from cryptography.fernet import Fernet

from include.docker.keys import RANDOM, make_keys


def test_each_key_is_made_once_and_nobody_else_may_read_it(tmp_path):
    folder = tmp_path / "keys"
    assert make_keys(folder) == list(RANDOM)
    first = {file.name: file.read_text() for file in folder.iterdir()}
    assert make_keys(folder) == []
    assert {file.name: file.read_text() for file in folder.iterdir()} == first
    assert {stat.S_IMODE(file.stat().st_mode) & 0o007 for file in folder.iterdir()} == {0}
    assert Fernet(first["fernet_key"])
    assert len(json.loads(first["ui_passwords.json"])["admin"]) >= 20
    assert first["airflow_db_password"] in first["sql_alchemy_conn"]
    assert f"requirepass {first['redis_password']}\n" in first["redis.conf"]


def test_a_kill_leaves_no_half_of_a_key(tmp_path):
    (tmp_path / ".fernet_key.new").write_text("half")
    assert "fernet_key" in make_keys(tmp_path)
    assert Fernet((tmp_path / "fernet_key").read_text())


def test_two_installations_share_nothing(tmp_path):
    make_keys(tmp_path / "one")
    make_keys(tmp_path / "two")
    assert all((tmp_path / "one" / name).read_text() != (tmp_path / "two" / name).read_text() for name in RANDOM)
