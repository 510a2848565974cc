"""Proposes the settings that read a log, by what the first rows hold; `next_step` tries them and writes the command."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adwarm.access_log.column_mapping import KEY_FIELDS, list_names
from adwarm.access_log.events import date_range_reader
from adwarm.access_log.named_groups import GroupPattern
from adwarm.access_log.nested_values import find_source
from adwarm.access_log.open_rules import to_text
from adwarm.access_log.timestamps import INVALID, TimestampRules, parse_values
from adwarm.access_log.web_requests import CLIENT_CLOSED_REQUEST
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.wording import format_part
from adwarm.log_check import column_values as kinds
from adwarm.log_check.column_values import MOST, Column
from adwarm.log_check.path_patterns import PathPattern, propose_path_pattern, propose_text_pattern
from adwarm.model import Actor, find_account_id, normalize_account_id
from adwarm.settings import AccessLogSettings

DEFAULT_RANGE = "last_30d"
_MAX_IDS, _MAX_WORDS, _FEW, _LONGEST_KEY = 500, 20, 5, 200
_HALF = 0.5
_DAYS = re.compile(
    r"\b[0-9]{1,3} ?(?:\w+ )?(?:tage|jours|d[ií]as|giorni|dagen|dn[ií]|dag[ae]?r?|p[äa]iv[äa]{2}|nap|zile|days)\b",
    re.IGNORECASE,
)
"""A range in another language."""
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_FIRST, _LAST = frozenset({"since", "from", "start", "begin"}), frozenset({"until", "to", "end", "stop"})
_STEMS = {
    "yesterday": "gestern|hier$|ayer|ieri|gisteren|ontem|wczoraj|ig[åa]r|i g[åa]r|eilen|tegnap|v[čc]era",
    "today": "heute|aujourd|hoy|oggi|vandaag|hoje|dzi[sś]|idag|i dag|t[äa]n[äa][äa]n|dnes",
    "last_week": "woche|semain|seman|settiman|week|tydzie|tygod|vecka|uke|uge",
    "last_month": "monat|mois|mes|maand|m[eê]s|miesi|m[åa]nad|m[åa]ned",
}
_RANGE_NAMES = frozenset(["range", "preset", "period", "timeframe", "interval"])
_OPTIONAL: Mapping[str, Callable[[Any], bool]] = {
    "time_zone": kinds.is_zone,
    "user_agent": kinds.is_agent,
    "method": kinds.is_verb,
    "status": kinds.is_status,
    "actor": lambda value: value in set(Actor),
}
_PEOPLE = frozenset(["user", "actor", "person", "visitor", "viewer", "session", "device", "owner", "author", "member"])
_OF_REQUESTS = ("method", "status")


@dataclass
class Proposal:
    """Settings by name, as `AccessLogSettings` has them, and what to say about them.

    Attributes:
        notes: why, one sentence each.
        missing: what no column holds, in one sentence; empty when the log can be read.
    """

    values: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    missing: str = ""

    def apply(self, settings: AccessLogSettings) -> AccessLogSettings:
        """Return the settings with those that are proposed."""
        return settings.model_copy(update=self.values)


def propose(rows: Sequence[Mapping[str, Any]], settings: AccessLogSettings, *, is_web_log: bool = False) -> Proposal:
    """Return the settings that read a log.

    Args:
        rows: plain values of the first rows, by path.
        settings: what is set already; it is kept.
        is_web_log: whether the format gives the columns of a request, as the combined format does.
    """
    for is_narrow in () if settings.where or is_web_log else (True, False):
        selected, where = list(rows), {}
        for name, values in kinds.find_kinds(kinds.make_columns(rows), is_narrow=is_narrow).items():
            matching = [row for row in selected if to_text(row.get(name)) in values]
            if matching:
                selected, where[name] = matching, values
        proposal = _Finder(selected, settings, is_web_log=is_web_log).run(where)
        if not proposal.missing:
            return proposal
    return _Finder(rows, settings, is_web_log=is_web_log).run({})


def propose_more(
    rows: Sequence[Mapping[str, Any]], settings: AccessLogSettings, by_field: Mapping[str, str], words: Sequence[str]
) -> Proposal:
    """Return what else to set for a log that is read: the readers' zones, which rows are opens, and words for ranges.

    Args:
        rows: plain values of the first rows, by path.
        settings: what is set already; it is kept.
        words: ranges that were not understood.
    """
    finder = _Finder(rows, settings, is_web_log=not by_field)
    return finder.run_more(by_field, words)


class _Finder:
    """Finds the columns of one sample."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], settings: AccessLogSettings, *, is_web_log: bool) -> None:
        self._rows, self._settings, self._is_web_log = rows, settings, is_web_log
        self._columns = kinds.make_columns(rows)
        self._by_name = {column.name: column for column in self._columns}
        self._chosen = {name: text for name, text in settings.columns.items() if find_source(text, self._by_name)}
        self._constants = dict(settings.constants)
        self._read_range = date_range_reader(settings.date_ranges)
        self._proposal = Proposal()

    def run(self, where: Mapping[str, list[str]]) -> Proposal:
        """Return what was found in rows of which all are opens by the conditions `where`."""
        proposal = self._proposal
        if not self._rows:
            return proposal
        if not self._is_web_log:
            self._choose_time()
        if not proposal.missing:
            self._choose_key()
        if proposal.missing:
            return proposal
        if not self._is_web_log:
            self._choose_optional()
            self._propose_opens(where)
            own = {name: column for name, column in self._chosen.items() if name != column}
            own |= {"path": self._chosen["path"]} if "path" in self._chosen else {}
            if own != dict(self._settings.columns):
                proposal.values["columns"] = own
        if self._constants != self._settings.constants:
            proposal.values["constants"] = self._constants
        return proposal

    def run_more(self, by_field: Mapping[str, str], words: Sequence[str]) -> Proposal:
        """Return what is missing beside time and key; see `propose_more`."""
        proposal = self._proposal
        self._propose_words(words)
        if self._is_web_log:
            return proposal
        self._chosen |= by_field
        zones = [column.name for column in self._free() if column.share(kinds.is_zone) > MOST]
        if zones and "time_zone" not in self._chosen and "time_zone" not in self._constants:
            proposal.values["columns"] = {**self._settings.columns, "time_zone": zones[0]}
        where = {} if self._settings.where else kinds.find_kinds(self._free(), is_narrow=True)
        self._propose_opens({name: values for name, values in where.items() if kinds.are_views(values)})
        return proposal

    def _free(self) -> list[Column]:
        return [column for column in self._columns if column.name not in self._chosen.values() and column.present]

    def _find_column(self, name: str) -> Column | None:
        """Return the values of a column, of a path within one, or of two that are joined; None where there are none."""
        source = find_source(name, self._by_name)
        return (
            None
            if source is None
            else Column(name, source.read([self._by_name[column].values for column, _ in source.parts]))
        )

    def _choose_time(self) -> None:
        chosen = self._chosen.get("ts", "ts")
        own = self._find_column(chosen)
        rules = TimestampRules("UTC", self._settings.timestamp_format)
        if own is not None and own.share(lambda value: parse_values([value], rules)[0] != INVALID) > _HALF:
            self._chosen["ts"] = chosen
            return
        times = kinds.find_times(self._columns)
        clock = next((item for item in times if item.rank[0]), None)
        if clock is None and (joined := kinds.find_day_and_clock(self._columns)):
            self._chosen["ts"] = joined[0]
            if joined[1]:
                self._proposal.values["timestamp_format"] = joined[1]
            return
        if not times:
            self._proposal.missing = (
                f"no time was recognized in {list_names(self._by_name)}; if one of them holds the time of the open, "
                "map `ts` to it in ADWARM_ACCESS_LOG__COLUMNS, and describe it in ADWARM_ACCESS_LOG__TIMESTAMP_FORMAT"
            )
            return
        best = times[0]
        self._chosen["ts"] = best.column.name
        if best.format:
            self._proposal.values["timestamp_format"] = best.format
        others = [item.column.name for item in times[1:] if item.rank[0]]
        if others:
            later = ", ".join(map(repr, others[:3]))
            self._proposal.notes.append(f"{best.column.name!r} is taken for the time of the open, rather than {later}")

    def _choose_key(self) -> None:
        """Choose where account and range are read: columns first, then a path or URL, then the id of a dashboard."""
        has_range = self._choose_range()
        account = self._find_account()
        if account is not None and self._is_of_owner(account):
            account = None
        if account is not None:
            self._chosen["account_id"] = account.name
            if account.share(kinds.is_account) < MOST:
                self._propose_accounts(account.name, account.present)
        fields = [name for name in KEY_FIELDS if not self._is_known(name)]
        if fields and not (account is not None and has_range):
            self._choose_path(fields)
        if not self._is_known("account_id"):
            self._choose_title()
        if not self._is_known("account_id"):
            self._choose_board()
        if not self._is_known("account_id") and (column := self._find_long_ids()) is not None:
            self._chosen["account_id"] = column.name
        if not self._is_known("account_id"):
            self._proposal.missing = (
                "no column, path or query was recognized as an account or the id of a dashboard, so nothing says whose "
                "report was opened; map `account_id` to the column that does in ADWARM_ACCESS_LOG__COLUMNS, or, if all "
                "opens are of one account, name it in ADWARM_ACCESS_LOG__CONSTANTS"
            )
        elif not self._is_known("date_range"):
            self._constants["date_range"] = DEFAULT_RANGE
            self._proposal.notes.append(
                f"nothing says which range was opened, so each open counts as {DEFAULT_RANGE}; write the range that "
                "your pages show"
            )

    def _is_known(self, name: str) -> bool:
        from_path = f"(?P<{name}>" in self._proposal.values.get("pattern", "")
        return name in self._chosen or name in self._constants or from_path

    def _is_range(self, value: Any) -> bool:
        if not isinstance(value, str):
            return False
        try:
            return bool(self._read_range(value))
        except BadRequest:
            return False

    def _choose_range(self) -> bool:
        if self._is_known("date_range"):
            return True
        own = self._by_name.get("date_range")
        ranges = [item for item in self._free() if item.share(self._is_range) >= _HALF]
        named = [
            item for item in self._free()
            if not _RANGE_NAMES.isdisjoint(item.words) or item.share(lambda value: _DAYS.search(str(value))) > 0.2
        ]  # fmt: skip
        texts = [item for item in named if item.share(lambda value: isinstance(value, str)) > MOST]
        candidates = (
            [own] if own is not None and own.present else [item for item in ranges if item in named] + ranges + texts
        )
        for column in candidates:
            if column.share(kinds.is_url) > _HALF or column.share(str.isdecimal if column.present else bool) > _HALF:
                continue
            self._chosen["date_range"] = column.name
            self._propose_words(column.present)
            return True
        return self._join_days()

    def _join_days(self) -> bool:
        """Choose two columns that hold the first and the last day of a range."""
        days = [item for item in self._free() if item.share(lambda value: _DAY.fullmatch(str(value))) > MOST]
        first = next((item for item in days if not _FIRST.isdisjoint(item.words)), None)
        last = next((item for item in days if not _LAST.isdisjoint(item.words)), None)
        if first is None or last is None:
            return False
        self._chosen["date_range"] = f"{first.name} {last.name}"
        return True

    def _propose_words(self, values: Sequence[Any]) -> None:
        """Propose a preset for each word that is none: by the number of days in it, else the default."""
        words = Counter(str(value) for value in values if not self._is_range(value))
        given = dict(self._settings.date_ranges)
        for word, _ in words.most_common(_MAX_WORDS):
            days = re.search(r"[0-9]{1,3}", word)
            guess = f"last_{int(days[0])}d" if days else _guess_range(word)
            given[word] = guess if self._is_range(guess) else DEFAULT_RANGE
        if words:
            self._proposal.values["date_ranges"] = given
            self._proposal.notes.append(
                f"date ranges not understood: {', '.join(list(words)[:5])}; correct the preset of each in the command"
            )

    def _find_account(self) -> Column | None:
        if "account_id" in self._chosen:
            return self._find_column(self._chosen["account_id"])
        if "account_id" in self._constants:
            return None
        own = self._by_name.get("account_id")
        if own is not None and own.present:
            return own
        ranked = []
        for column in self._free():
            words = set(column.words) | set(kinds.split_words(column.name))
            is_one = _is_text_id if "id" in words else kinds.is_account
            share = column.share(lambda value, is_one=is_one: is_one(value) and _is_valid(value))
            has_prefix = column.share(lambda value: isinstance(value, str) and value.startswith("act_"))
            is_named = "account" in " ".join(words) or "advertiser" in words
            is_repeated = 2 * len(set(map(to_text, column.present))) <= len(column.present)
            is_client = is_repeated and not words.isdisjoint({"customer", "client"})
            if has_prefix > _HALF or (share > MOST and (is_named or (is_client and "id" in words))):
                ranked.append((has_prefix > _HALF, is_named, "id" in column.words, len(column.present), column.name))
        return self._by_name[max(ranked)[-1]] if ranked else None

    def _is_of_owner(self, account: Column) -> bool:
        """Whether all rows are of one account, that of the tool's owner, beside dashboards that tell them apart."""
        is_given = account.name in {"account_id", self._settings.columns.get("account_id")}
        is_one = len(account.present) > _FEW and len(set(map(to_text, account.present))) == 1
        board = self._find_board() if is_one and not is_given else None
        return board is not None and len(set(map(to_text, board.present))) > 1

    def _find_long_ids(self) -> Column | None:
        """Return a column of few long numbers, whatever it is called unless after a person."""
        for column in self._free():
            if not _PEOPLE.isdisjoint(kinds.split_words(column.name)):
                continue
            texts = {to_text(value) for value in column.present}
            is_long = all(text.isdecimal() and 9 <= len(text) <= 20 for text in texts)
            if is_long and len(texts) * 2 <= len(column.present):
                return column
        return None

    def _choose_path(self, fields: Sequence[str]) -> None:
        """Choose the path or URL whose pattern reads most; one that holds accounts is better than one of dashboards."""
        candidates = []
        for column in self._list_urls():
            paths = [str(value) for value in self._requests(column) if isinstance(value, str)]
            pattern = propose_path_pattern(paths, self._is_range, fields)
            if pattern is not None:
                is_referrer = any(word.startswith("refer") for word in column.words)
                key = (pattern.is_account, not is_referrer, pattern.ranges, pattern.matched, column.name)
                candidates.append((key, pattern, column))
        if not candidates:
            return
        _, pattern, column = max(candidates, key=lambda item: item[0])
        if not pattern.is_account and self._find_board() is not None:
            return  # a column of ids needs no pattern
        self._use_path(pattern, column, fields)

    def _choose_title(self) -> None:
        """Choose a text, such as the title of a dashboard, that names an account."""
        for column in self._free():
            texts = [value for value in column.present if isinstance(value, str) and not kinds.is_account(value)]
            pattern = propose_text_pattern(texts) if len(texts) > _HALF * len(column.values) else None
            if pattern is not None and len(set(texts)) * 2 <= len(texts):
                self._chosen["path"], self._proposal.values["pattern"] = column.name, pattern
                self._proposal.notes.append(
                    f"{column.name!r} names accounts, which a pattern in the command below reads"
                )
                return

    def _list_urls(self) -> list[Column]:
        """Return the columns with paths or URLs, those without a query also joined with a column that holds it."""
        urls = [column for column in self._columns if column.share(kinds.is_url) >= _HALF]
        if self._is_web_log:
            return [column for column in urls if column.name == "path"]
        queries = [column for column in self._columns if column.share(kinds.is_query) > _HALF]
        joined = [
            Column(f"{url.name}?{query.name}", [f"{path}?{text}" if text and path else path
                   for path, text in zip(url.values, query.values, strict=True)])
            for url in urls if url.share(lambda value: "?" in value) == 0
            for query in queries
        ]  # fmt: skip
        return [*urls, *queries, *joined]

    def _use_path(self, pattern: PathPattern, column: Column, fields: Sequence[str]) -> None:
        values = self._proposal.values
        values["pattern"] = pattern.pattern
        if not self._is_web_log:
            self._chosen["path"] = column.name
        _, read = GroupPattern(pattern.pattern).read([*map(str, column.present)])
        paths = format_part(pattern.matched, len(column.present), "path")
        self._proposal.notes.append(f"a pattern that reads {paths} seen is in the command below")
        if "account_id" in fields and not pattern.is_account:
            self._propose_accounts(column.name, read["account_id"])
        if "date_range" in fields and not pattern.has_range:
            usual = Counter(text for text in read.get("date_range", []) if text).most_common(1)
            self._constants["date_range"] = usual[0][0] if usual else DEFAULT_RANGE
            self._proposal.notes.append(
                f"opens whose path holds no range count as {self._constants['date_range']}; write the range that your "
                "pages show then"
            )

    def _requests(self, column: Column) -> list[Any]:
        """Return the values of a path in rows that were answered."""
        status = kinds.find_status(self._columns)
        if status is None:
            return list(column.values)
        codes = [int(to_text(value)) if kinds.is_status(value) else 200 for value in status.values]
        pairs = zip(column.values, codes, strict=True)
        return [value for value, code in pairs if code < 400 or code == CLIENT_CLOSED_REQUEST]

    def _find_board(self) -> Column | None:
        """Return the column that holds the id of what was opened: of a dashboard rather than of a chart."""
        candidates = []
        for column in self._free():
            words = column.words if len(column.words) > 1 else kinds.split_words(column.name)
            is_id = not {"id", "uid", "uuid", "slug", "key"}.isdisjoint(words)
            rank = kinds.rank_board(words)
            texts = {to_text(value) for value in column.present}
            is_key = all(len(text) <= _LONGEST_KEY and " " not in text for text in texts)
            if is_id and is_key and rank < kinds.rank_board([]) and len(texts) < max(len(column.present), 2):
                candidates.append((len(column.present) < len(column.values) * 0.1, rank, column.name))
        return self._by_name[min(candidates)[-1]] if candidates else None

    def _choose_board(self) -> None:
        column = self._find_board()
        if column is not None:
            self._chosen["account_id"] = column.name
            self._propose_accounts(column.name, column.present)

    def _propose_accounts(self, name: str, values: Sequence[Any]) -> None:
        """Propose accounts for the ids that were seen: a number is one itself; others get made-up ones, in a table."""
        if self._settings.accounts:
            return
        ids = [text for text, _ in Counter(map(to_text, values)).most_common(_MAX_IDS)]
        if all(map(_is_valid, ids)):
            stand = f"each stands for an account of its own, such as {normalize_account_id(ids[0])}"
        else:
            self._proposal.values["accounts"] = {text: f"act_{number + 1}" for number, text in enumerate(ids)}
            stand = f"act_1 to act_{len(ids)} in the command are made up, enough to learn when each is opened"
        self._proposal.notes.append(
            f"{name!r} holds ids of what was opened, {len(ids)} of them, and nothing in the log says whose accounts "
            f"they show: {stand}; where others are to be warmed, write the account of each, and perhaps a range, in "
            "ADWARM_ACCESS_LOG__ACCOUNTS"
        )

    def _choose_optional(self) -> None:
        for name, is_one in _OPTIONAL.items():
            if name in self._chosen or name in self._by_name or name in self._constants:
                continue
            if name in _OF_REQUESTS and "path" not in self._chosen:
                continue
            candidates = [column for column in self._free() if column.share(is_one) > MOST]
            if name == "user_agent":
                candidates = [
                    item for item in candidates if "agent" in item.words or item.share(lambda v: "Mozilla/" in v) > 0.2
                ]
            if name == "status":
                status = kinds.find_status(candidates)
                candidates = [] if status is None else [status]
            if candidates:
                self._chosen[name] = max(candidates, key=lambda item: name.split("_")[-1] in item.words).name

    def _propose_opens(self, where: Mapping[str, list[str]]) -> None:
        """Propose the values of opens; of an id that may be of anything, those of dashboards."""
        is_any = not {"object", "model", "entity", "resource", "item"}.isdisjoint(
            kinds.split_words(self._chosen.get("account_id", ""))
        )
        conditions = {}
        for name, values in where.items():
            dashboards = [text for text in values if "dashboard" in text.casefold()]
            conditions[name] = dashboards if is_any and dashboards else values
        if conditions:
            self._proposal.values["where"] = conditions
            text = "; ".join(f"{name!r} is {' or '.join(values[:4])}" for name, values in conditions.items())
            self._proposal.notes.append(
                f"only rows count as opens whose {text}; correct it in ADWARM_ACCESS_LOG__WHERE"
            )


def _guess_range(word: str) -> str:
    return next((preset for preset, stems in _STEMS.items() if re.search(stems, word, re.IGNORECASE)), DEFAULT_RANGE)


def _is_text_id(value: Any) -> bool:
    """Whether a value may be the id of an account on any platform: a word alone, which a name may be, is none."""
    return not isinstance(value, bool) and any(map(str.isdecimal, to_text(value)))


def _is_valid(value: Any) -> bool:
    return find_account_id(to_text(value).removesuffix(".0")) is not None
