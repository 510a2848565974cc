"""The tests that every source of insights must pass: derive a class from `SourceContract` and run it by pytest.

| module        | what it tests                                                                       |
|---------------|-------------------------------------------------------------------------------------|
| `hooks`       | nothing: what a subclass provides, and how the tests read a source                   |
| `upstream`    | nothing: what the upstream holds, how it can fail, and sample rows to load into it    |
| `row_tests`   | rows: days, gaps, clock changes, zero delivery, levels, fields, summaries            |
| `page_tests`  | requests: plans, pages, splits, async reports, lists of objects, costs               |
| `value_tests` | values that an upstream may hold: large, negative, not finite, text, foreign rows     |
| `call_tests`  | accounts, typed errors, recovery, secrets, threads, forks                            |

It imports no test framework; the tests are plain methods that raise `ContractBroken`.
"""

from adwarm.testing.call_tests import CallTests
from adwarm.testing.hooks import CannotHold, ContractBroken
from adwarm.testing.page_tests import PageTests
from adwarm.testing.row_tests import RowTests
from adwarm.testing.upstream import UpstreamData, UpstreamFailure, sample_data
from adwarm.testing.value_tests import ValueTests

__all__ = [
    "CannotHold",
    "ContractBroken",
    "SourceContract",
    "UpstreamData",
    "UpstreamFailure",
    "sample_data",
]


class SourceContract(RowTests, PageTests, ValueTests, CallTests):
    """The tests that a source must pass. Derive a class from it, with a name that starts with `Test`.

    A subclass provides `make_source`, and loads the rows of `data()` into its upstream, usually in a fixture.
    `replace_value`, `fail_upstream`, `failures`, `secrets` and `count_requests` let the suite test what happens when
    the upstream misbehaves. Tests run one after another and restore what they change.

    Attributes:
        failures: how `fail_upstream` can make the upstream fail; an empty set for an upstream that cannot.
        can_replace_values: whether `replace_value` is written.
        secrets: texts that must not appear in an error, a log record or a representation, such as the token.
        page_size: rows per page in the tests of pages; smaller than the rows of an account.
        time_limit_seconds: how long a call to an upstream that hangs may take.

    Example:
        ```python
        from adwarm.sources.parquet import ParquetSource
        from adwarm.testing import SourceContract


        class TestWarehouse(SourceContract):
            failures = frozenset()
            can_replace_values = False

            def make_source(self):
                return ParquetSource("/data/insights")
        ```
    """
