"""What a tab is made of: tiles, which show something, forms, which change something, and downloads.

A tile is a function from a request to the values of its template. The browser loads each tile by itself, so that a slow
or failing one holds up no other; with `?plain=1` the server sends all of them in the page. A form is a function, too:
it gets the checked fields of a POST and says where to go.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from adwarm.actions.audit import ActionServices
from adwarm.backpressure import RequestQueue
from adwarm.backpressure.sql_admission import SqlAdmission
from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.simulation_note import SimulationNote
from adwarm.pages.access import Permission, Visitor
from adwarm.recovery import IsolationTracker, StoredAlerts
from adwarm.serving.read_chain import ReadChain
from adwarm.store import Context
from adwarm.store.error_events import ErrorLog

if TYPE_CHECKING:
    from adwarm.planning.key_facts import KeyExplainer

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PageServices:
    """The objects of the process that shows the page.

    Attributes:
        get_explainer: imports pandas, which takes longer than all that the other tiles need.
        noun: what an account of the source is called.
        simulation: what is simulated; None in an installation of its own data.
    """

    context: Context
    clock: Clock
    admission: SqlAdmission
    queue: RequestQueue
    chain: ReadChain
    isolation: IsolationTracker
    alerts: StoredAlerts
    errors: ErrorLog
    actions: ActionServices
    get_explainer: "Callable[[], KeyExplainer]"
    noun: str = "account"
    simulation: SimulationNote | None = None


@dataclass(frozen=True, slots=True)
class TileRequest:
    """What a tile or a form is asked.

    Attributes:
        query: the query of the URL; of a repeated name, the last value.
        fields: the fields of the form; empty for a tile.
    """

    services: PageServices
    visitor: Visitor
    query: Mapping[str, str]
    now: datetime
    fields: Mapping[str, str] = field(default_factory=dict)

    def get(self, name: str, default: str = "") -> str:
        """Return a value of the query without spaces around it."""
        return self.query.get(name, default).strip()

    def link(self, tab: str, **changes: object) -> str:
        """Return the relative URL of a tab with values in its query; None leaves a name out."""
        values = {name: value for name, value in changes.items() if value is not None}
        return f"{tab}?{urlencode(values)}" if values else tab


class InvalidField(BadRequest):
    """A field of a form is not valid."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


def check_field(name: str, check: Callable[[str], T], text: str) -> T:
    """Return what `check` makes of the text of a field.

    Raises:
        InvalidField: the check finds it not valid.
    """
    try:
        return check(text)
    except BadRequest as error:
        raise InvalidField(str(error), name) from None


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of a tab.

    Attributes:
        name: part of its URL, such as `hits`.
        load: returns the values of its template; `AdwarmError` becomes a message inside the tile.
        template: below `templates/`, such as `now/hits.html`; the default is the tab's folder and the tile's name.
        refresh_seconds: how often the browser loads it again; None for never.
        is_folded: whether it shows its title alone until it is opened; it is loaded then.
    """

    name: str
    title: str
    load: Callable[[TileRequest], Mapping[str, Any]]
    template: str | None = None
    refresh_seconds: int | None = None
    is_wide: bool = False
    is_folded: bool = False


@dataclass(frozen=True, slots=True)
class Download:
    """A file that a visitor who may see the tab can save.

    Attributes:
        name: part of its URL, such as `ads`.
        file_name: what the browser saves it as, without the day, such as `fatigue-ads.csv`.
        load: returns its content; `AdwarmError` becomes a page with its message and 422.
    """

    name: str
    file_name: str
    media_type: str
    load: Callable[[TileRequest], str]


@dataclass(frozen=True, slots=True)
class Redirect:
    """Go to a tab and show a message there.

    Attributes:
        to: relative URL, see `TileRequest.link`.
    """

    to: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """Something that a visitor can do.

    Attributes:
        name: its URL, such as `warm-now`.
        handle: carries it out. `AdwarmError` becomes a page with its message and 422, `BadRequest` the tile of the
            form's name with what was typed.
    """

    name: str
    permission: Permission
    handle: Callable[[TileRequest], Redirect]


@dataclass(frozen=True, slots=True)
class Tab:
    """A page with tiles.

    Attributes:
        name: its URL, such as `now`.
        title: in the navigation.
        is_listed: whether the navigation shows it.
    """

    name: str
    title: str
    tiles: tuple[Tile, ...]
    forms: tuple[Form, ...] = ()
    is_listed: bool = True
    downloads: tuple[Download, ...] = ()
