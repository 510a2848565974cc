"""Finds who is logged in to Airflow, and what they may do with a DAG.

It is the only module that uses these parts of Airflow's web server, which Airflow does not declare as public.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.auth.tokens import get_signing_key
from airflow.api_fastapi.core_api.security import bearer_scheme, get_user
from airflow.configuration import conf
from airflow.models.dag import DagModel
from fastapi import HTTPException

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

RUNS = DagAccessEntity.RUN
DagRight = tuple[Literal["GET", "POST", "PUT", "DELETE"], DagAccessEntity | None, str]
"""Something that a user may do: method, part of a DAG (None for the DAG itself), and the DAG's id."""


async def find_user(request: Request) -> Any | None:
    """Return the user of Airflow whose cookie or Authorization header a request has; None without a valid one."""
    try:
        return await get_user(request, None, await bearer_scheme(request))
    except HTTPException:
        return None


def list_rights(user: Any, rights: Sequence[DagRight]) -> list[bool]:
    """Return for each right whether the auth manager gives it to a user. Waits for the database."""
    manager = get_auth_manager()
    teams = {dag_id: DagModel.get_team_name(dag_id) for dag_id in {right[2] for right in rights}}
    return [
        manager.is_authorized_dag(
            method=method, access_entity=entity, details=DagDetails(id=dag_id, team_name=teams[dag_id]), user=user
        )
        for method, entity, dag_id in rights
    ]


def make_form_secret(user: Any) -> bytes:
    """Return the secret of a user's forms.

    It is made of the key that signs Airflow's logins, which every web server has, and of the user. It does not depend
    on the login itself, because auth managers may replace that while a form is open.
    """
    return sha256(b"adwarm page\0" + _read_signing_key() + b"\0" + str(user.get_id()).encode()).digest()


@cache
def _read_signing_key() -> bytes:
    path = conf.get("api_auth", "jwt_private_key_path", fallback=None)
    return Path(path).read_bytes() if path else get_signing_key("api_auth", "jwt_secret").encode()
