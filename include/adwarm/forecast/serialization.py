"""A fitted model as bytes: written by skops, never by pickle, and read only when it holds nothing but known types."""

import importlib
import warnings
import zipfile
from dataclasses import is_dataclass
from typing import Any

import sklearn

from adwarm.foundation.errors import AdwarmError, Corrupt

with warnings.catch_warnings():
    # It asks every loaded module for a thousand names, and those of the host application warn that theirs are old.
    warnings.simplefilter("ignore")
    import skops.io
    from skops.io.exceptions import UnsupportedTypeException, UntrustedTypesFoundException

TRUSTED = frozenset({"sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"})
"""What a model may hold beside the types skops itself trusts (numbers, arrays, estimators), and our own."""
_OURS = "adwarm.forecast."
_READING = (
    zipfile.BadZipFile,
    UntrustedTypesFoundException,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    ImportError,
    OSError,
    EOFError,
)


def encode_model(parts: dict[str, Any], kind: str, version: str) -> bytes:
    """Return the bytes of `parts`.

    Raises:
        AdwarmError: a part is of a type that `unpack` would refuse.
    """
    try:
        data: bytes = skops.io.dumps({"made_by": _made_by(kind, version), **parts})
    except UnsupportedTypeException as error:
        raise AdwarmError(f"a forecast cannot be stored: {error}") from error
    refused = _refused(data)
    if refused:
        raise AdwarmError(f"a forecast cannot be stored: it holds {', '.join(refused)}, which nothing would read back")
    return data


def decode_model(data: bytes, kind: str, version: str) -> dict[str, Any]:
    """Return what `pack` stored.

    Raises:
        Corrupt: the bytes are of another kind or version, are damaged, or hold a type that is not trusted.
    """
    try:
        refused = _refused(data)
        if refused:
            raise Corrupt(f"the stored forecast holds {', '.join(refused)}, which is not trusted; train a new one")
        trusted = skops.io.get_untrusted_types(data=data)
        parts: dict[str, Any] = skops.io.loads(data, trusted=trusted)
        found = str(parts.pop("made_by"))
    except _READING as error:
        raise Corrupt(f"the stored forecast cannot be read ({type(error).__name__}); train a new one") from error
    if found != _made_by(kind, version):
        raise Corrupt(f"the stored forecast is {found}, not {_made_by(kind, version)}; train a new one")
    return parts


def _made_by(kind: str, version: str) -> str:
    """Name what wrote a form; another release of the library may keep its models in another way."""
    return f"{kind} version {version} of scikit-learn {sklearn.__version__}"


def _refused(data: bytes) -> list[str]:
    """Return the types in `data` that are neither trusted nor our own plain data."""
    return [name for name in skops.io.get_untrusted_types(data=data) if name not in TRUSTED and not _is_ours(name)]


def _is_ours(name: str) -> bool:
    """Whether `name` is a data class of the forecast room: loading it sets attributes and runs nothing."""
    if not name.startswith(_OURS):
        return False
    module, _, attribute = name.rpartition(".")
    found = getattr(importlib.import_module(module), attribute, None)
    return isinstance(found, type) and is_dataclass(found)
