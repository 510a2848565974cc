from adwarm import InsightsSource


def accounts_of(source: InsightsSource) -> list[str]:
    """Return the ids of the accounts a source can read; any class with these methods is a source."""
    return [account.id for account in source.list_account_page(None).accounts]
