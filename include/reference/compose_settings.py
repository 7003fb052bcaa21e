"""Variables that only docker-compose.yml reads, and those that nothing reads any more."""

from __future__ import annotations

from cht_sync.settings.setting import Number, Port, Section, Text


class CHTSync2Section(Section):
    """What has no effect here."""

    title = "Of CHT Sync 2.x, without effect here"
    interval = Text("DATAEMON_INTERVAL", about="The schedules take its place.")


class ComposeSection(Section):
    """Of the services of Docker Compose."""

    title = "Docker Compose alone: docs/how-to-docker.md"
    # fmt: off
    project = Text(
        "COMPOSE_PROJECT_NAME", "pipeline",
        about="Name of the project: two of them on one machine share nothing.",
    )
    image_tag = Text(
        "CHT_IMAGE_TAG", "0.1.0",
        about="Outside the profile local *_PASSWORD_FILE above are files of this machine, by default"
        " secrets/couchdb_password, secrets/postgres_password and secrets/dbt_postgres_password; *_PASSWORD have no"
        " effect.",
    )
    base_url = Text(
        "AIRFLOW_BASE_URL",
        about="Where Airflow's UI is from outside; an https address makes its cookies go over https alone. Links in"
        " alerts and mails lead there. Empty: http://127.0.0.1 with AIRFLOW_PORT.",
    )
    trusted_proxies = Text(
        "AIRFLOW_TRUSTED_PROXIES",
        about="Whose word on https (X-Forwarded-Proto) the API server takes: addresses of the proxy, separated by"
        " commas. Empty: those of private networks.",
    )
    auth_manager = Text(
        "AIRFLOW_AUTH_MANAGER",
        about="Who may log in: a class of an auth manager, such as"
        " airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager. Empty: Airflow's simple auth manager,"
        " which is made for development; outside the profile local it is refused.",
    )
    simple_auth = Text("CHT_SIMPLE_AUTH", about="accept: use the simple auth manager all the same.")
    airflow_port = Port(
        "AIRFLOW_PORT", 8080,
        about="Ports on 127.0.0.1: Airflow's UI; of the profile local CouchDB, Postgres and Adminer; of monitoring"
        " Prometheus; Superset; PostgREST.",
    )
    couchdb_local_port = Port("COUCHDB_LOCAL_PORT", 5984)
    postgres_local_port = Port("POSTGRES_LOCAL_PORT", 5432)
    adminer_port = Port("ADMINER_PORT", 8081)
    prometheus_port = Port("PROMETHEUS_PORT", 9090)
    superset_port = Port("SUPERSET_PORT", 8088)
    postgrest_port = Port("POSTGREST_PORT", 3000)
    postgrest_conf = Text(
        "POSTGREST_CONF_FILE",
        about="The configuration file of PostgREST: docs/how-to-postgrest.md",
    )
    documents = Number("DOCUMENTS", 20_000, about="Documents that the profile local generates.", low=1, high=10_000_000)
    superset_key = Text(
        "SUPERSET_SECRET_KEY_FILE",
        about="Of the profile superset: its own key, see docs/how-to-superset.md.",
    )
    parallelism = Number(
        "AIRFLOW_PARALLELISM", 16, low=1, high=10_000,
        about="Tasks that run at once with LocalExecutor (gamma, production, local).",
    )
    log_days = Number("LOG_RETENTION_DAYS", 15, about="Days that logs of tasks are kept.", low=1, high=36_500)
    monitoring_user = Text(
        "MONITORING_USER", "cht_monitoring",
        about="The role that monitoring reads couchdb_progress with; sslmode disable for the profile local.",
    )
    monitoring_password = Text("MONITORING_PASSWORD_FILE")
    monitoring_sslmode = Text("MONITORING_SSLMODE", "require")
    # fmt: on
