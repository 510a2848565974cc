"""What every mount of the page must refuse: used for the page itself, beside the read API and in Airflow."""

from collections.abc import Callable, Mapping
from typing import Any

from adwarm.pages.access import CSRF_FIELD, MAX_FORM_BYTES, Permission
from adwarm.pages.tab import Form, Redirect, Tab, TileRequest

HOSTILE = "\"><script>alert('1')</script>"


def greet(request: TileRequest) -> Redirect:
    """Say what was sent."""
    return Redirect("probe", f"done: {request.fields.get('text', '')}")


PROBE = Tab("probe", "Probe", (), forms=tuple(Form(f"probe-{item}", item, greet) for item in Permission))
"""A tab with a form for each permission."""


def check_forms(
    send: Callable[..., Any], prefix: str, origin: str, visitor: Mapping[str, str], viewer: Mapping[str, str], csrf: str
) -> None:
    """Check that a form of `PROBE` is carried out only as the page itself sends it.

    Args:
        send: `request` of a client that does not follow redirects.
        prefix: path of the page, without a slash at its end.
        origin: of the page.
        visitor: headers of somebody who may do everything.
        viewer: headers of somebody who may only look.
        csrf: the token of the visitor's forms.
    """
    path = f"{prefix}/probe-control"

    def post(who: Mapping[str, str], source: str | None, token: str | None, text: str = HOSTILE, **headers: str) -> Any:
        sent = {**who, **headers, **({} if source is None else {"Origin": source})}
        return send("POST", path, headers=sent, data={"text": text, **({} if token is None else {CSRF_FIELD: token})})

    done = post(visitor, origin, csrf)
    assert done.status_code == 303
    shown = send("GET", f"{prefix}/{done.headers['location']}", headers=visitor).text
    assert "done: &#34;&gt;&lt;script&gt;" in shown
    assert HOSTILE not in shown
    refused = {
        "anonymous": post({}, origin, csrf),
        "viewer": post(viewer, origin, csrf),
        "other origin": post(visitor, "https://evil.example", csrf),
        "other port": post(visitor, f"{origin}:1", csrf),
        "opaque origin": post(visitor, "null", csrf),
        "no origin": post(visitor, None, csrf),
        "other site": post(visitor, origin, csrf, **{"Sec-Fetch-Site": "cross-site"}),
        "other subdomain": post(visitor, origin, csrf, **{"Sec-Fetch-Site": "same-site"}),
        "no token": post(visitor, origin, None),
        "empty token": post(visitor, origin, ""),
        "foreign token": post(visitor, origin, "0" * 64),
        "token that is no ASCII": post(visitor, origin, "ä"),
    }
    statuses = {name: answer.status_code for name, answer in refused.items()}
    assert statuses == {name: 401 if name == "anonymous" else 403 for name in refused}
    assert post(visitor, origin, csrf, "x" * MAX_FORM_BYTES).status_code == 413
    assert post(visitor, origin, csrf, **{"Content-Type": "application/json"}).status_code == 415
    assert post(visitor, origin, csrf, **{"Sec-Fetch-Site": "same-origin", "Host": "upstream:80"}).status_code == 303
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        assert send(method, path, headers=visitor).status_code == 405, method
