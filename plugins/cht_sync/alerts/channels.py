"""Sends messages through the notifiers that Airflow's users have connections for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from cht_sync.errors import SettingsError

if TYPE_CHECKING:
    from cht_sync.alerts.message import Message
    from cht_sync.settings import Settings

log = logging.getLogger(__name__)


def channels(settings: Settings) -> dict[str, Callable[[Message], None]]:
    """What sends a message, by the variable that asks for it.

    :param settings: the environment.
    """
    found: dict[str, Callable[[Message], None]] = {}
    if settings.alert_email:
        found["CHT_ALERT_EMAIL"] = lambda message: _mail(settings, message)
    if settings.alert_apprise_conn_id:
        found["CHT_ALERT_APPRISE_CONN_ID"] = lambda message: _apprise(settings.alert_apprise_conn_id, message)
    return found


def send(settings: Settings, message: Message) -> bool:
    """Sends a message through every channel.

    :param settings: the environment.
    :param message: the message.
    :return: whether it went out through one of them: then it counts as told, and is not repeated for the others. What
        failed is in the log, by its kind alone: the text may hold an address with a token.
    """
    sent = False
    for name, channel in channels(settings).items():
        try:
            channel(message)
        except SettingsError as error:
            log.error("%s: %s", name, error)
        except Exception as error:
            log.error("%s: the message could not be sent (%s).", name, type(error).__name__)
        else:
            sent = True
    return sent


def _mail(settings: Settings, message: Message) -> None:
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    notifier = SmtpNotifier(
        to=settings.alert_email,
        subject=message.title,
        html_content=message.html,
        smtp_conn_id=settings.alert_smtp_conn_id,
    )
    # Not called but told to notify: a call would render names as templates.
    notifier.notify({})


def _apprise(conn_id: str, message: Message) -> None:
    """Not the provider's notifier, which does not tell whether the message went out; its hook knows the services."""
    import apprise
    from airflow.providers.apprise.hooks.apprise import AppriseHook

    hook, services = AppriseHook(conn_id), apprise.Apprise()
    hook.set_config_from_conn(conn=hook.get_connection(conn_id), apprise_obj=services)
    if not len(services):
        raise SettingsError(f"Connection {conn_id!r} names no service: put its address into 'config' of its extra.")
    kind = apprise.NotifyType.SUCCESS if message.good else apprise.NotifyType.FAILURE
    # One by one: together they tell only whether all took it, and those that did would get it again.
    took = [each.notify(body=message.text, title=message.title, notify_type=kind) for each in services]
    if not any(took):
        raise ConnectionError("no service took the message")
    if not all(took):
        log.error(
            "CHT_ALERT_APPRISE_CONN_ID: %d of %d services did not take the message.", took.count(False), len(took)
        )
