"""The number of connections fits the limit of open files."""

import resource

import pytest

from adwarm.serving.api.server import MAX_CONNECTIONS, OTHER_FILES, fit_connections

NEEDED = MAX_CONNECTIONS + OTHER_FILES


@pytest.mark.parametrize(
    ("soft", "hard", "raised", "connections"),
    [
        (1_024, 1_048_576, NEEDED, MAX_CONNECTIONS),
        (1_024, resource.RLIM_INFINITY, NEEDED, MAX_CONNECTIONS),
        (1_024, 1_024, 1_024, 1_024 - OTHER_FILES),
        (256, 2_048, 2_048, 2_048 - OTHER_FILES),
        (64, 64, 64, 1),
        (65_536, 65_536, None, MAX_CONNECTIONS),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, None, MAX_CONNECTIONS),
    ],
)
def test_connections_fit_the_open_files(
    monkeypatch: pytest.MonkeyPatch,
    lines: list[str],
    soft: int,
    hard: int,
    raised: int | None,
    connections: int,
) -> None:
    """The soft limit is raised as far as it may and needs to be; where that is not enough, the log says so."""
    set_to: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: set_to.append(limits))
    assert fit_connections() == connections
    assert set_to == ([] if raised is None else [(raised, hard)])
    assert bool(lines) == (connections < MAX_CONNECTIONS)


def test_a_limit_that_cannot_be_raised(monkeypatch: pytest.MonkeyPatch, lines: list[str]) -> None:
    """Where the system refuses, there are as many connections as the present limit allows, and the log says why."""

    def refuse(kind: int, limits: tuple[int, int]) -> None:
        raise OSError("not permitted")

    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1_024, 65_536))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert fit_connections() == 1_024 - OTHER_FILES
    assert "not permitted" in "".join(lines)
