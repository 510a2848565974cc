"""The DAG bundle of the package: its DAGs, wherever this version of Python keeps them."""

from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.local import LocalDagBundle

_PACKAGE = Path(__file__).resolve().parent


def find_dags() -> Path:
    """Return the folder of the DAGs: in the installed package, else `dags/` of the checkout.

    Raises:
        FileNotFoundError: there is neither.
    """
    folders = (_PACKAGE / "dags", _PACKAGE.parents[1] / "dags")
    for folder in folders:
        if (folder / "adwarm_intelligent_warming.py").is_file():
            return folder
    raise FileNotFoundError(f"the DAGs of adwarm are in neither {folders[0]} nor {folders[1]}; install adwarm again")


class AdwarmDagBundle(LocalDagBundle):
    """The DAGs of adwarm as a bundle of Airflow.

    It takes no path, so its entry in `[dag_processor] dag_bundle_config_list` stays the same when an upgrade of Python
    or of the environment moves the package. `adwarm airflow setup` prints the entry.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(path=str(find_dags()), **kwargs)
