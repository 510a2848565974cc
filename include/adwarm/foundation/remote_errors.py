"""Errors of object storage in words: what is wrong, and what to do. No text of a driver is shown.

The drivers (s3fs over botocore and aiohttp, gcsfs over google-auth) raise errors of their own classes, whose texts may
hold anything. They are distinguished by the error code of the answer, by the names of their classes, and by the
numbers of `OSError`, so that no driver needs to be imported.
"""

import errno
from collections.abc import Iterator
from typing import Final, NamedTuple

from adwarm.foundation.errors import AdwarmError, BadRequest, StorageError
from adwarm.foundation.storage import describe_storage_problem, find_extra

_CREDENTIALS: Final = (
    "name a connection of Airflow in ADWARM_DATA_CONNECTION, or set ADWARM_DATA_OPTIONS, or the variables that the "
    "storage's own tools read"
)
_BROKEN_BODIES: Final = frozenset({
    "IncompleteRead",
    "IncompleteReadError",
    "ClientPayloadError",
    "ResponseStreamingError",
})


class MissingBucket(OSError):
    """The bucket of an object does not exist."""

    code = "NoSuchBucket"


class _Cause(NamedTuple):
    code: str
    text: str
    advice: str


_DENIED: Final = _Cause(
    "objects_denied",
    "access is denied",
    "give these credentials the rights that docs/how-to/object-storage.md lists",
)
_EXPIRED: Final = _Cause("objects_expired", "the credentials have expired", "renew them where they are set")
_INVALID: Final = _Cause("objects_credentials", "the credentials are not valid", f"correct them; {_CREDENTIALS}")
_NONE: Final = _Cause("objects_credentials", "there are no credentials", _CREDENTIALS)
_NO_BUCKET: Final = _Cause("objects_no_bucket", "the bucket does not exist", "create it, or correct the URL")
_REGION: Final = _Cause(
    "objects_region", "the bucket is in another region", "set AWS_DEFAULT_REGION to the bucket's region"
)
_SKEWED: Final = _Cause("objects_clock", "the clock of this machine is wrong", "synchronize it")
_BUSY: Final = _Cause(
    "objects_busy",
    "the storage is overloaded or failing",
    "it is tried again; if it stays so, lower ADWARM_MAX_BATCHES, so that fewer tasks run at once",
)
_TIMEOUT: Final = _Cause(
    "objects_timeout",
    "the storage did not answer in time",
    "check the network and the storage; it is tried again",
)
_UNREACHABLE: Final = _Cause(
    "objects_unreachable",
    "the storage cannot be reached",
    "check the network, and AWS_ENDPOINT_URL where it is set",
)
_LOCKED: Final = _Cause(
    "objects_locked", "the object is archived or locked", "remove the lifecycle rule that archives objects"
)
_OTHER: Final = _Cause("storage", "", "check the URL and its credentials")

_CODES: Final = (
    (_DENIED, "AccessDenied AllAccessDisabled AccountProblem Forbidden 403"),
    (_EXPIRED, "ExpiredToken ExpiredTokenException RequestExpired TokenRefreshRequired"),
    (_INVALID, "InvalidAccessKeyId InvalidToken SignatureDoesNotMatch InvalidSecurity 401"),
    (_NO_BUCKET, MissingBucket.code),
    (_REGION, "PermanentRedirect AuthorizationHeaderMalformed IllegalLocationConstraintException 301"),
    (_SKEWED, "RequestTimeTooSkewed"),
    (_BUSY, "SlowDown ServiceUnavailable InternalError Throttling TooManyRequests 429 500 502 503 504"),
    (_TIMEOUT, "RequestTimeout 408"),
    (_LOCKED, "InvalidObjectState"),
)
_CLASSES: Final = (
    (_NONE, "NoCredentialsError PartialCredentialsError CredentialRetrievalError DefaultCredentialsError"),
    (_EXPIRED, "TokenRetrievalError SSOTokenLoadError UnauthorizedSSOTokenError"),
    (_INVALID, "RefreshError ProfileNotFound"),
    (_TIMEOUT, "ReadTimeoutError ConnectTimeoutError FSTimeoutError TimeoutError ServerTimeoutError"),
    (_UNREACHABLE, "EndpointConnectionError ConnectionClosedError ProxyConnectionError HTTPClientError TransportError"),
    (_UNREACHABLE, "ClientConnectorError ServerDisconnectedError ConnectionRefusedError ConnectionResetError"),
)
_BY_CODE: Final = {code: cause for cause, codes in _CODES for code in codes.split()}
_BY_CLASS: Final = {name: cause for cause, names in _CLASSES for name in names.split()}
_BY_NUMBER: Final = {errno.EBUSY: _BUSY, errno.EREMOTEIO: _BUSY, errno.EACCES: _DENIED, errno.EPERM: _DENIED}


def is_missing_bucket(error: BaseException) -> bool:
    """Whether an error that says an object is absent means that its bucket is."""
    return any(code == MissingBucket.code for code in _list_codes(error))


def is_broken_body(error: BaseException) -> bool:
    """Whether the connection broke while an answer was read, so that reading it again may succeed."""
    return any(type(link).__name__ in _BROKEN_BODIES for link in _chain(error))


def remote_storage_error(error: BaseException, url: str, setting: str) -> AdwarmError:
    """Return the error to raise for one of a driver; its message names the setting and holds no text of the driver."""
    if isinstance(error, ImportError):
        return missing_package_error(url, setting)
    cause = _find_cause(error)
    text = cause.text or f"the store behind the URL failed ({type(error).__name__})"
    return StorageError(describe_storage_problem(url, setting, text, cause.advice), code=cause.code)


def missing_package_error(url: str, setting: str) -> BadRequest:
    """Return the error about a URL whose file system is not installed; it names the package to install."""
    extra, package = find_extra(url) or ("", "")
    scheme = url.partition("://")[0]
    advice = f"install it: pip install 'adwarm[{extra}]'" if extra else "install the fsspec package of that protocol"
    what = f"the package {package}" if package else "a file system"
    return BadRequest(f"{setting}: {what} for {scheme}:// URLs is not installed; {advice}", code="missing_package")


def _find_cause(error: BaseException) -> _Cause:
    for code in _list_codes(error):
        if code in _BY_CODE:
            return _BY_CODE[code]
    for link in _chain(error):
        for kind in type(link).__mro__:
            if kind.__name__ in _BY_CLASS:
                return _BY_CLASS[kind.__name__]
    for link in _chain(error):
        if isinstance(link, OSError) and link.errno in _BY_NUMBER:
            return _BY_NUMBER[link.errno]
        if isinstance(link, PermissionError):
            return _DENIED
        if is_broken_body(link):
            return _BUSY
    return _OTHER


def _list_codes(error: BaseException) -> Iterator[str]:
    """Yield the codes of answers in an error and its causes: of botocore in `response`, of gcsfs in `code`."""
    for link in _chain(error):
        response = getattr(link, "response", None)
        if isinstance(response, dict):
            yield str(response.get("Error", {}).get("Code", ""))
        elif isinstance(code := getattr(link, "code", None), int | str):
            yield str(code)


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__
