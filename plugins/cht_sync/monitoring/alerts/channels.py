"""Sends messages through the notifiers that Airflow's users have connections for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from cht_sync.common.memory import at_most
from cht_sync.common.units import MEGABYTE
from cht_sync.errors import SettingsError

if TYPE_CHECKING:
    from cht_sync.monitoring.alerts.message import Message
    from cht_sync.settings.settings import Settings

log = logging.getLogger(__name__)
MOST_MEMORY = 256 * MEGABYTE
Channels = dict[str, Callable[["Message"], None]]


class NotTakenError(ConnectionError):
    """A service refused a message, or could not be reached: it does not say which."""


def channels(settings: Settings) -> Channels:
    """What sends a message, by the variable that asks for it; each service of an Apprise connection with its number.

    A connection that cannot be used is a channel that fails, so that the others still tell.
    """
    found: Channels = {}
    if settings.alert_email:
        found["CHT_ALERT_EMAIL"] = partial(_mail, settings)
    if settings.alert_apprise_conn_id:
        try:
            found |= _services(settings.alert_apprise_conn_id)
        except Exception as error:
            found["CHT_ALERT_APPRISE_CONN_ID"] = partial(_unusable, error)
    return found


def send(open_channels: Channels, message: Message, told: Collection[str] = ()) -> Iterator[str]:
    """Sends a message through every channel that did not take it yet.

    :param told: names of those that took it before.
    :return: names of those that took it now, each at once. What failed is in the log, by its kind alone: the text may
        hold an address with a token.
    """
    for name in open_channels.keys() - set(told):
        try:
            # Notifiers read whatever a service answers, of any size.
            with at_most(MOST_MEMORY):
                open_channels[name](message)
        except SettingsError as error:
            log.error("%s: %s", name, error)
        except MemoryError:
            log.error(
                "%s: the message could not be sent: what the service answered takes more than %d MB; correct its"
                " address in the connection.",
                name, MOST_MEMORY // MEGABYTE,
            )  # fmt: skip
        except NotTakenError:
            log.error(
                "%s: the message could not be sent (the service did not take it); the next run tries again. A redirect"
                " to another address is not followed: give the one that answers.",
                name,
            )
        except Exception as error:
            log.error("%s: the message could not be sent (%s); the next run tries again.", name, type(error).__name__)
        else:
            yield name


def _mail(settings: Settings, message: Message) -> None:
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    to, conn_id = settings.alert_email, settings.alert_smtp_conn_id
    notifier = SmtpNotifier(to=to, subject=message.title, html_content=message.html, smtp_conn_id=conn_id)
    # Not called but told to notify: a call would render names as templates.
    notifier.notify({})


def _services(conn_id: str) -> Channels:
    """Not the provider's notifier, which does not tell whether the message went out; its hook knows the services."""
    import apprise
    from airflow.providers.apprise.hooks.apprise import AppriseHook

    # A message, and the headers that open a service, go to the address that somebody gave, and nowhere else; an address
    # may say redirect=yes.
    nowhere_else = apprise.AppriseAsset(http_redirects=False)
    hook, services = AppriseHook(conn_id), apprise.Apprise(asset=nowhere_else)
    hook.set_config_from_conn(conn=hook.get_connection(conn_id), apprise_obj=services)
    if not len(services):
        raise SettingsError(f"Connection {conn_id!r} names no service: put its address into 'config' of its extra.")
    return {f"CHT_ALERT_APPRISE_CONN_ID {n}": partial(_apprise, each) for n, each in enumerate(services, start=1)}


def _unusable(error: Exception, _message: Message) -> None:
    raise error


def _apprise(service: Any, message: Message) -> None:
    from apprise import NotifyType

    kind = NotifyType.SUCCESS if message.good else NotifyType.FAILURE
    if not service.notify(body=message.text, title=message.title, notify_type=kind):
        raise NotTakenError("the service did not take the message")
