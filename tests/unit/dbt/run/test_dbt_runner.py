from cht_sync.dbt.run.dbt_runner import DbtRunner

COMMAND = [
    "/bin/dbt", "--no-use-colors", "run", "--select", "fqn:p.a fqn:p.b", "--vars", "batch_size: 5\n",
    "--project-dir", "/p", "--profiles-dir", "/q", "--profile", "x", "--target", "y", "--fail-fast",
]  # fmt: skip


def test_the_options_of_a_command_are_told_apart():
    runs = DbtRunner(COMMAND, {}, "/p")
    assert (runs.select, runs.variables) == ("fqn:p.a fqn:p.b", {"batch_size": 5})
    assert runs._kept == [
        "--project-dir", "/p", "--profiles-dir", "/q", "--profile", "x", "--target", "y", "--fail-fast",
    ]  # fmt: skip
    assert "--fail-fast" not in runs._for_parse


def test_a_command_without_selection_or_variables():
    runs = DbtRunner(["dbt", "run", "--project-dir", "/p"], {}, "/p")
    assert (runs.select, runs.variables) == (None, {})
