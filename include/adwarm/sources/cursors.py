"""The way through the pages of an answer, whatever source they come from."""

from dataclasses import dataclass, field

from adwarm.foundation.errors import Corrupt


@dataclass
class CursorTrail:
    """The cursors followed so far in one report: each leads on once, so that no circle of pages is read for ever."""

    seen: set[str] = field(default_factory=set)

    def follow(self, cursor: str | None) -> str | None:
        """Return `cursor` when it is new, or None at the end.

        Raises:
            Corrupt: it was followed before.
        """
        if cursor is not None and cursor in self.seen:
            raise Corrupt(
                f"the pages go round in a circle of up to {len(self.seen)}; nothing of them is kept", code="cursor"
            )
        if cursor is not None:
            self.seen.add(cursor)
        return cursor
