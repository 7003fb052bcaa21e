import json
import stat

from cryptography.fernet import Fernet

from include.docker.keys import HANDED_OUT, RANDOM, hand_out, main, make_keys


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


def test_each_folder_holds_what_its_readers_need_and_no_more(tmp_path):
    main([str(tmp_path / "all"), str(tmp_path / "to")])
    found = {part.name: {file.name for file in part.iterdir()} for part in (tmp_path / "to").iterdir()}
    assert found == {part: set(names) for part, names in HANDED_OUT.items()}
    for file in (tmp_path / "to").glob("*/*"):
        assert file.read_text() == (tmp_path / "all" / file.name).read_text()
        assert stat.S_IMODE(file.stat().st_mode) == 0o640
    # Each secret that can be read by itself is in one folder; the addresses of Celery hold two of them again.
    together = {name for names in HANDED_OUT.values() for name in names}
    assert together >= RANDOM.keys() - {"redis_password"}
    assert len(together) == sum(map(len, HANDED_OUT.values()))


def test_an_earlier_release_keeps_its_keys(tmp_path):
    """It had all in one folder, the same volume, which its components mounted."""
    old = {name: f"of before {name}" for name in RANDOM}
    for name, content in old.items():
        (tmp_path / name).write_text(content)
    main([str(tmp_path), str(tmp_path / "to")])
    for part, name in {
        "fernet": "fernet_key",
        "jwt": "jwt_secret",
        "api": "api_secret_key",
        "ui": "ui_passwords.json",
    }.items():
        assert (tmp_path / "to" / part / name).read_text() == old[name]
    assert old["airflow_db_password"] in (tmp_path / "to" / "database" / "sql_alchemy_conn").read_text()
    assert {name: (tmp_path / name).read_text() for name in RANDOM} == old


def test_a_user_that_the_api_server_has_added_stays(tmp_path):
    make_keys(tmp_path / "all")
    hand_out(tmp_path / "all", tmp_path / "to")
    (tmp_path / "to/ui/ui_passwords.json").write_text('{"admin": "a", "ann": "b"}')
    (tmp_path / "to/fernet/fernet_key").write_text("a copy that somebody changed")
    hand_out(tmp_path / "all", tmp_path / "to")
    assert json.loads((tmp_path / "to/ui/ui_passwords.json").read_text()) == {"admin": "a", "ann": "b"}
    assert Fernet((tmp_path / "to/fernet/fernet_key").read_text())
