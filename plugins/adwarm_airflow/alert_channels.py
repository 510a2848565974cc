"""Alerts through notifiers of Airflow, such as `airflow.providers.smtp.notifications.smtp:SmtpNotifier`.

A notifier reads its connection from Airflow, and Airflow must not be called from a second thread of a task that still
works. So a task sends at its end (`adwarm_airflow.task_end`), and `adwarm_maintenance` sends the rest.
"""

import logging
import re
from typing import Any

from airflow.sdk import BaseNotifier

from adwarm.foundation.errors import AdwarmError, BadRequest, Transient
from adwarm.recovery.messages import Message
from adwarm.settings.recovery_sections import NotifierChannel

_PLACEHOLDER = re.compile(r"\{(title|text|html|kind|key)\}")
log = logging.getLogger(__name__)


class NotifierSender:
    """Sends alerts through a notifier of Airflow."""

    is_thread_safe = False

    def __init__(self, settings: NotifierChannel) -> None:
        self.name = settings.name
        self._settings = settings

    def check(self) -> str:
        """Return the notifier's class, after importing it.

        Raises:
            BadRequest: it cannot be imported, or is not a notifier.
        """
        self._load()
        return f"notifier {self._settings.notifier}"

    def send(self, message: Message) -> None:
        """Send the message.

        The arguments are not rendered as templates: the text of an error may hold braces.

        Raises:
            BadRequest: the notifier cannot be loaded, or does not take the arguments.
            Transient: the notifier failed. Its own message is left out, because it may hold a credential.
        """
        make = self._load()
        values = {name: getattr(message, name) for name in ("title", "text", "html", "kind", "key")}
        arguments = {
            name: _PLACEHOLDER.sub(lambda match: values[match[1]], text)
            for name, text in self._settings.arguments.items()
        }
        try:
            notifier = make(**arguments)
        except TypeError:
            raise BadRequest(
                f"the notifier of the channel {self.name!r} does not take the arguments {', '.join(arguments)}; "
                "correct `arguments` in ADWARM_ALERTS__CHANNELS"
            ) from None
        try:
            notifier.notify({})
        except AdwarmError:
            raise
        except Exception as error:
            raise Transient(
                f"the channel {self.name!r} failed: {type(error).__name__}; check its connection in Airflow"
            ) from None

    def _load(self) -> type[Any]:
        module, _, name = self._settings.notifier.partition(":")
        hint = f"the notifier {self._settings.notifier} of the channel {self.name!r}"
        try:
            notifier_class = getattr(__import__(module, fromlist=[name]), name)
        except (ImportError, AttributeError):
            raise BadRequest(f"{hint} cannot be imported; install its provider, or correct the name") from None
        if not (isinstance(notifier_class, type) and issubclass(notifier_class, BaseNotifier)):
            raise BadRequest(f"{hint} is not a notifier of Airflow")
        return notifier_class
