"""Errors by the names that settings use: of healers, fallbacks and retries; and a pattern of code and message."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from adwarm.foundation.errors import AdwarmError
from adwarm.settings import HealerSettings
from adwarm.settings.recovery_sections import ANY_ERROR


def matches_errors(names: Sequence[str], error: BaseException | None) -> bool:
    """Whether `names` has the class of `error` or one of its base classes; `any` also stands for no error."""
    if ANY_ERROR in names:
        return True
    return error is not None and not {kind.__name__ for kind in type(error).__mro__}.isdisjoint(names)


@dataclass(frozen=True, slots=True)
class ErrorFilter:
    """Classes of errors, and what their code or message must contain.

    Attributes:
        errors: names of classes; an error of a class below one of them is meant too, and `any` is every error.
        pattern: a regular expression that the code or the message must contain; None for any.
    """

    errors: tuple[str, ...] = (ANY_ERROR,)
    pattern: str | None = None

    @classmethod
    def of(cls, healer: HealerSettings) -> "ErrorFilter":
        """Return the filter of a healer in the settings."""
        return cls(healer.errors, healer.pattern)

    def matches(self, error: BaseException) -> bool:
        """Return whether the error is one of those; a call that adwarm itself did not admit has not failed."""
        if isinstance(error, AdwarmError) and error.own_refusal:
            return False
        if not matches_errors(self.errors, error):
            return False
        code = error.code if isinstance(error, AdwarmError) else None
        return self.pattern is None or any(re.search(self.pattern, text) for text in (code or "", str(error)))
