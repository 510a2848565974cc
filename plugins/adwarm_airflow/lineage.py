"""The datasets of OpenLineage that the assets of the package are.

Airflow imports this module while the first asset is made, so it must not import `adwarm_airflow.assets`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Asset


def convert_asset(asset: Asset, _lineage_context: Any) -> Any:
    """Return the dataset that `asset` is: its name without the scheme, in the namespace `adwarm`."""
    from airflow.providers.common.compat.openlineage.facet import Dataset

    return Dataset(namespace="adwarm", name=asset.uri.removeprefix("adwarm://").rstrip("/"))
