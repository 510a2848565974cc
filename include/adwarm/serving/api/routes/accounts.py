"""The route that lists what there is to read, for a page's account and range pickers."""

from fastapi import APIRouter

from adwarm.model import PRESETS
from adwarm.serving.api.dependencies import ReadToken, Services
from adwarm.serving.api.errors import problems
from adwarm.serving.api.models import AccountItem, AccountPage
from adwarm.store import accounts

router = APIRouter(tags=["reports"], responses=problems())


@router.get("/accounts", summary="The accounts that the token may read", operation_id="list_accounts")
def list_accounts(token: ReadToken, services: Services) -> AccountPage:
    """Stored accounts by id, with the names of the reports and of the date presets."""
    stored = accounts.list_as_of(services.context.engine, services.clock.now()).values()
    items = [
        AccountItem(
            id=item.id,
            name=item.name or None,
            status=item.status,
            data_zone=item.data_zone,
            currency=item.currency or None,
        )
        for item in stored
        if token.may_read(item.id)
    ]
    return AccountPage(accounts=items, reports=sorted(services.context.settings.reports), presets=list(PRESETS))
