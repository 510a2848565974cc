"""Changes of strategies by users: everything is checked before anything is written."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import Engine

from adwarm.foundation.errors import BadRequest
from adwarm.model import StoredStrategy, Strategy
from adwarm.planning.strategy_schedule import check_names, load_strategies
from adwarm.store import Context, accounts, write_transaction
from adwarm.store.strategies import remove_strategy, save_strategy

FIELDS = tuple(field.name for field in fields(Strategy) if field.name != "name")
"""The fields that a user may set."""
_ALL_ACCOUNTS = "all"


@dataclass(frozen=True, slots=True)
class StrategyChange:
    """What a definition changes.

    Attributes:
        strategy: the strategy after the change.
        is_new: whether there was none of that name.
        changes: by name of a changed field the value before and after; of a new strategy the fields that were given.
    """

    strategy: Strategy
    is_new: bool
    changes: dict[str, tuple[Any, Any]]

    @property
    def kind(self) -> str:
        """`added`, `changed` or `unchanged`."""
        if self.is_new:
            return "added"
        return "changed" if self.changes else "unchanged"


def check_changes(context: Context, definitions: Mapping[str, Mapping[str, Any]], at: datetime) -> list[StrategyChange]:
    """Return what the definitions change, and write nothing.

    Args:
        definitions: by name of a strategy the fields to set; those left out keep their stored value, or the default.
            `accounts` may be `all`.

    Raises:
        BadRequest: some definition is not valid; the message names each problem.
    """
    stored = {item.name: item for item in load_strategies(context.engine, at)}
    changes, problems = [], []
    for name, values in definitions.items():
        try:
            changes.append(_check(context, name, values, stored.get(name)))
        except BadRequest as error:
            problems.append(str(error))
    if problems:
        raise BadRequest(" | ".join(problems))
    return changes


def apply_changes(context: Context, changes: Sequence[StrategyChange], at: datetime) -> None:
    """Store changes in one transaction, and the accounts that they name; unchanged strategies are left as they are."""
    with write_transaction(context.engine) as connection:
        for change in changes:
            if change.kind != "unchanged":
                save_strategy(connection, change.strategy, at)
    add_accounts(context, [change.strategy for change in changes], at)


def add_accounts(context: Context, strategies: Iterable[Strategy], at: datetime) -> None:
    """Store the accounts that strategies name."""
    names = [name for strategy in strategies for name in strategy.accounts or ()]
    accounts.add_named(context, names, at)


def remove_strategies(engine: Engine, names: Sequence[str], at: datetime) -> None:
    """Remove strategies; what they have fetched stays.

    Raises:
        NotFound: there is no strategy of one of the names; then none is removed.
    """
    check_names(names, {item.name for item in load_strategies(engine, at)})
    with write_transaction(engine) as connection:
        for name in names:
            remove_strategy(connection, name, at)


def _check(context: Context, name: str, values: Mapping[str, Any], stored: StoredStrategy | None) -> StrategyChange:
    if unknown := [field for field in values if field not in FIELDS]:
        raise BadRequest(f"strategy {name!r}: there is no field {unknown[0]!r}; the fields are {', '.join(FIELDS)}")
    if stored is None and "date_ranges" not in values:
        raise BadRequest(f"strategy {name!r} is new and names no date range; give at least one, such as yesterday")
    before = dict(stored.values) if stored else {}
    if values.get("accounts") == _ALL_ACCOUNTS:  # TOML has no null
        values = {**values, "accounts": None}
    try:
        strategy = _normalized(context, msgspec.convert({**before, **values, "name": name}, Strategy))
    except msgspec.ValidationError as error:
        raise BadRequest(f"strategy {name!r}: {error}") from None
    try:
        context.settings.spec(strategy.report)
    except BadRequest as error:
        raise BadRequest(f"strategy {name!r}: {error}") from None
    after = {field: getattr(strategy, field) for field in FIELDS}
    compared = FIELDS if stored else values
    old = {field: _comparable(before.get(field)) for field in FIELDS}
    changed = {field: (old[field], after[field]) for field in compared if old[field] != after[field]}
    return StrategyChange(strategy, stored is None, changed)


def _normalized(context: Context, strategy: Strategy) -> Strategy:
    """Return the strategy with its accounts in the canonical spelling."""
    find = partial(accounts.find_id, context)
    excluded = tuple(map(find, strategy.excluded_accounts))
    named = strategy.accounts if strategy.accounts is None else tuple(map(find, strategy.accounts))
    return replace(strategy, accounts=named, excluded_accounts=excluded)


def _comparable(value: Any) -> Any:
    """Return a stored value as the model has it: lists as tuples."""
    return tuple(value) if isinstance(value, list) else value
