"""The hook of connections to the ad platform: builds the source, and tests the token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

if TYPE_CHECKING:
    from adwarm.sources.protocol import InsightsSource


class MetaHook(BaseHook):
    """Reads the ad platform behind a connection of type `adwarm_meta`.

    Args:
        adwarm_conn_id: the connection; one of type `facebook_social` works as well.
    """

    conn_name_attr = "adwarm_conn_id"
    default_conn_name = "facebook_default"
    conn_type = "adwarm_meta"
    hook_name = "Meta Insights (adwarm)"

    def __init__(self, adwarm_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.adwarm_conn_id = adwarm_conn_id

    def get_conn(self) -> InsightsSource:
        """Return the source; close it when you are done. Makes no call.

        Raises:
            BadRequest: the connection does not exist, has no token, or an extra is not valid.
        """
        from adwarm.settings import load_settings
        from adwarm_airflow.connections import meta_source_factory

        return meta_source_factory(load_settings(), self.adwarm_conn_id)()

    def test_connection(self) -> tuple[bool, str]:
        """Return whether the token can list its accounts, and what it found or what to do. Costs one call."""
        from adwarm.foundation.errors import AdwarmError
        from adwarm.foundation.redaction import redact
        from adwarm.foundation.wording import format_count

        try:
            source = self.get_conn()
            try:
                page = source.list_account_page(None)
            finally:
                source.close()
        except AdwarmError as error:
            return False, redact(str(error))
        more = "at least " if page.next_cursor else ""
        if not page.accounts:
            return False, "the token is valid, but reads no ad account; give it ads_read for the accounts"
        return True, f"the token reads {more}{format_count(len(page.accounts), 'account')}"
