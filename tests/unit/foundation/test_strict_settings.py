"""Names of settings: unknown ones, their neighbors, and names that belong to others."""

import pytest
from pydantic import BaseModel
from pydantic_settings import BaseSettings, SettingsConfigDict

from adwarm.foundation.errors import BadRequest
from adwarm.foundation.strict_settings import SettingNames, load


class _Engine(BaseModel):
    model_config = {"extra": "forbid"}
    horse_power: int = 1
    gears: tuple[int, ...] = ()


class _Car(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="CAR_", env_nested_delimiter="__", extra="forbid")
    doors: int = 4
    engine: _Engine = _Engine()
    trailers: dict[str, _Engine] = {}
    labels: dict[str, str] = {}


NAMES = SettingNames(_Car, "CAR_", ("CAR_KEYS",))


def test_every_setting_has_a_name() -> None:
    """Sections are named setting by setting, dictionaries by their own name."""
    assert list(NAMES) == ["CAR_DOORS", "CAR_ENGINE__HORSE_POWER", "CAR_ENGINE__GEARS", "CAR_TRAILERS", "CAR_LABELS"]


def test_known_names_and_those_of_others_pass() -> None:
    """Case does not matter, an empty value counts as unset, and other prefixes are nobody's business."""
    names = [
        "car_doors",
        "CAR_ENGINE",
        "CAR_ENGINE__HORSE_POWER",
        "CAR_TRAILERS__A__GEARS",
        "CAR_LABELS__X",
        "CAR_KEYS",
    ]
    assert NAMES.find_unknown({**dict.fromkeys(names, "1"), "CAR_WHEELZ": "", "CARPET": "1", "PATH": "1"}) == []


def test_variables_of_kubernetes_services_pass(subtests: pytest.Subtests) -> None:
    """A service of the namespace whose name starts like the prefix does not stop the process."""
    for name in [
        "CAR_SERVICE_HOST",
        "CAR_API_SERVICE_PORT",
        "CAR_API_SERVICE_PORT_HTTP",
        "CAR_API_PORT",
        "CAR_API_PORT_8080_TCP",
        "CAR_API_PORT_8080_TCP_ADDR",
    ]:
        with subtests.test(name=name):
            assert NAMES.find_unknown({name: "tcp://10.0.0.1:8080"}) == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CAR_DOOR", "; did you mean CAR_DOORS?"),
        ("CAR_ENGINE_HORSE_POWER", "; did you mean CAR_ENGINE__HORSE_POWER?"),
        ("CAR_ENGNE__GEARS", "; did you mean CAR_ENGINE__GEARS?"),
        ("CAR_ENGINE__HORSEPOWER", "; did you mean CAR_ENGINE__HORSE_POWER?"),
        ("CAR_TRAILERS__BIG__GEAR", "; did you mean CAR_TRAILERS__BIG__GEARS?"),
        ("CAR_XYZZY", ""),
        ("CAR_DOORS__LEFT", ""),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(monkeypatch: pytest.MonkeyPatch, name: str, meant: str) -> None:
    """Top-level names, names of sections and of entries; the value is not shown."""
    monkeypatch.setenv(name, "17")
    with pytest.raises(BadRequest) as caught:
        load(_Car, NAMES, {name: "17"}, {})
    assert str(caught.value) == f"settings are not valid: {name} is not a setting{meant}"


def test_all_errors_are_listed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown names and wrong values come together, the values themselves do not."""
    environment = {"CAR_DOR": "hush", "CAR_WHEELS": "hush", "CAR_DOORS": "hush", "CAR_ENGINE__HORSE_POWER": "hush"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadRequest) as caught:
        load(_Car, NAMES, environment, {})
    assert all(name in str(caught.value) for name in environment)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("name", ["CAR_ENGINE__GEARS", "CAR_ENGINE", "CAR_LABELS"])
def test_a_list_that_is_not_json_names_its_variable(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The message says how lists and tables are written."""
    monkeypatch.setenv(name, "hush, hush")
    with pytest.raises(BadRequest) as caught:
        load(_Car, NAMES, {name: "hush, hush", "CAR_DOORS": "4"}, {})
    assert str(caught.value) == f"settings are not valid: {name}: lists and tables are written as JSON"
