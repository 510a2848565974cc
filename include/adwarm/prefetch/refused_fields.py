"""Fields that the platform refuses by name: left out of an account's requests for a week, and named as missing.

| a refused field                               | what happens                                                      |
|-----------------------------------------------|-------------------------------------------------------------------|
| is met                                        | the request is repeated without it, and it is remembered          |
| is the first for this credential and version  | the same, and one alert                                           |
| is remembered for the account, or for several | it is not requested                                               |
| tells rows apart                              | the request fails                                                 |
"""

import logging
import re
from collections.abc import Iterable
from typing import Final

from adwarm.foundation.errors import FieldRefused
from adwarm.foundation.gate import Gate
from adwarm.prefetch.fetch_context import FetchContext
from adwarm.prefetch.gap_filling import GROUPS, MissingData, split_description
from adwarm.sources.protocol import FetchUnit, InsightsSource
from adwarm.store.denials import refuse_fields, select_fields

log = logging.getLogger(__name__)
_PREFIX: Final = "refused by the platform"
_COSTS: Final = {
    "impressions": " (ads are not scored without it)",
    "spend": " (scores lack the price)",
    "clicks": " (scores may lack the click-through rate)",
    "inline_link_clicks": " (scores may lack the click-through rate)",
    "frequency": " (scores take it from reach, if that is there)",
    "actions": " (there are no results, and no cost per result)",
}
"""What is lost with a field beside the field itself."""


class RefusedFields:
    """The refused fields of one account that is fetched; `gaps` names them as what is missing."""

    def __init__(self) -> None:
        self.gaps: list[MissingData] = []

    def load(self, source: InsightsSource, account_id: str, gates: Iterable[Gate]) -> None:
        """Leave out what the platform has refused to `source`, as `gates` remember it."""
        self.gaps = [_gap(name, why) for name, why in find_refused(source, account_id, gates).items()]

    def drop(self, context: FetchContext, source: InsightsSource, unit: FetchUnit, error: FieldRefused) -> None:
        """Leave the fields out that `error` names, now and for a week, and alert a human when that is news.

        Raises:
            FieldRefused: rows need them, or they were left out already.
        """
        needed = {"account_id", *unit.spec.identity, *(gap.id for gap in self.gaps)}
        fields = {name: str(error) for name in error.fields if name in unit.spec.fields and name not in needed}
        if not fields:
            raise error
        new, account_id = [_gap(name, why) for name, why in fields.items()], unit.account_id
        self.gaps += new
        log.warning("%s is read without %s: %s", account_id, ", ".join(fields), error)
        now, credential = context.clock.now(), _credential(source)
        if refuse_fields(context.engine, account_id, source.connection, credential=credential, fields=fields, at=now):
            text = f"{account_id} is read without it, and asks again in a week: {'; '.join(map(str, new))}"
            context.pipeline.alert(source.name, FieldRefused.__name__, text)


def find_refused(source: InsightsSource, account_id: str, gates: Iterable[Gate]) -> dict[str, str]:
    """Return the fields that `gates` remember as refused to `source` for the account, each with the reason."""
    return select_fields(gates, account_id, source.connection, _credential(source))


def is_only_refused(description: str) -> bool:
    """Whether all that a description names are refused fields and groups: another fetch now would not find them."""
    return all(re.match(rf"field \w+: {_PREFIX}|{GROUPS} ", part) for part in split_description(description))


def _gap(name: str, why: str) -> MissingData:
    return MissingData("field", name, (), f"{_PREFIX}{_COSTS.get(name, '')}: {why}")


def _credential(source: InsightsSource) -> str:
    return f"{source.credential}@{source.capabilities.api_version}"
