"""A home with simulated data: the note, the time at which it stands, and who shows it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from adwarm.foundation.clock import FrozenClock
from adwarm.foundation.simulation_note import SimulationNote, read_note, write_note
from adwarm.runtime import Runtime
from adwarm.settings import Settings

END = datetime(2013, 3, 30, 4, tzinfo=UTC)


def test_a_home_stands_at_the_time_of_its_note(tmp_path: Path) -> None:
    """Without a note or a time in it the system's time counts; with one that time, for no other clock."""
    settings = Settings(home=tmp_path)
    assert read_note(tmp_path) is None
    real = Runtime(settings)
    write_note(tmp_path, SimulationNote("Simulated."))
    noted = Runtime(settings)
    write_note(tmp_path, SimulationNote("Simulated.", END))
    moved, given = Runtime(settings), Runtime(settings, FrozenClock(END - timedelta(days=1)))

    assert (real.simulation, noted.simulation) == (None, SimulationNote("Simulated."))
    assert abs(noted.clock.now() - real.clock.now()) < timedelta(hours=1)
    assert END < moved.clock.now() < END + timedelta(hours=1)
    assert END < moved.maintenance_parts().clock.now() < END + timedelta(hours=1)
    assert given.maintenance_parts().clock.now() > END + timedelta(days=1_000)
    assert given.clock.now() == END - timedelta(days=1)
    assert moved.page_services.simulation == SimulationNote("Simulated.", END)
