"""The stored forms of forecasts: skops for fitted models, Parquet for observations. Both are data; never pickle.

A skops file is loaded only when every type in it is known.
"""

import importlib
import io
import json
import warnings
import zipfile
from dataclasses import is_dataclass
from datetime import datetime
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from adwarm.forecast.protocol import KEY_COLUMNS
from adwarm.forecast.training.observations import Observations, PriorStrengths
from adwarm.foundation.errors import AdwarmError, Corrupt

_META = b"adwarm_forecast"
_CELLS = {"cell_hour": pa.int16(), "cell_weight": pa.float64(), "cell_opens": pa.int32(), "cell_early": pa.float64()}
TRUSTED = frozenset({"sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"})
"""Types that a model may hold beside those that skops trusts (numbers, arrays, estimators) and our data classes."""
_OUR_PREFIX = "adwarm.forecast."
_READ_ERRORS = (
    zipfile.BadZipFile,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    ImportError,
    OSError,
    EOFError,
)


@cache
def _skops() -> Any:
    """Return skops.io; importing it takes seconds, which processes without a forecast do not spend."""
    with warnings.catch_warnings():
        # Importing skops looks up names in every loaded module, and deprecated ones of the host application warn.
        warnings.simplefilter("ignore")
        import skops.io

    return skops.io


def encode_model(parts: dict[str, Any], kind: str, version: str) -> bytes:
    """Return the parts of a fitted model as bytes, by skops.

    Raises:
        AdwarmError: a part has a type that `decode_model` would reject.
    """
    try:
        data: bytes = _skops().dumps({"made_by": _made_by(kind, version), **parts})
    except _skops().exceptions.UnsupportedTypeException as error:
        raise AdwarmError(f"a forecast cannot be stored: {error}") from error
    untrusted = _untrusted_types(data)
    if untrusted:
        raise AdwarmError(f"a forecast cannot be stored: it holds {', '.join(untrusted)}, which could not be read back")
    return data


def decode_model(data: bytes, kind: str, version: str) -> dict[str, Any]:
    """Return the parts that `encode_model` stored.

    Raises:
        Corrupt: the bytes are damaged, of another kind or version, or hold a type that is not trusted.
    """
    try:
        untrusted = _untrusted_types(data)
        if untrusted:
            raise Corrupt(f"the stored forecast holds {', '.join(untrusted)}, which is not trusted; train a new one")
        trusted = _skops().get_untrusted_types(data=data)
        parts: dict[str, Any] = _skops().loads(data, trusted=trusted)
        made_by = str(parts.pop("made_by"))
    except (*_READ_ERRORS, _skops().exceptions.UntrustedTypesFoundException) as error:
        raise Corrupt(f"the stored forecast cannot be read ({type(error).__name__}); train a new one") from error
    if made_by != _made_by(kind, version):
        raise Corrupt(f"the stored forecast is {made_by}, not {_made_by(kind, version)}; train a new one")
    return parts


def _made_by(kind: str, version: str) -> str:
    """Return what wrote the form; another release of scikit-learn may store its models differently."""
    import sklearn

    return f"{kind} version {version} of scikit-learn {sklearn.__version__}"


def _untrusted_types(data: bytes) -> list[str]:
    """Return the types in `data` that are neither trusted nor our data classes."""
    return [
        name for name in _skops().get_untrusted_types(data=data) if name not in TRUSTED and not _is_our_dataclass(name)
    ]


def _is_our_dataclass(name: str) -> bool:
    """Return whether `name` is a data class of this package: loading it sets attributes and runs no code."""
    if not name.startswith(_OUR_PREFIX):
        return False
    module, _, attribute = name.rpartition(".")
    type_ = getattr(importlib.import_module(module), attribute, None)
    return isinstance(type_, type) and is_dataclass(type_)


def encode_observations(observations: Observations, kind: str, version: str) -> bytes:
    """Return the observations as a Parquet file: a row per key with its cells as lists, the rest in the metadata."""
    order = np.lexsort((observations.cell_hour, observations.cell_key))
    offsets = np.searchsorted(observations.cell_key[order], np.arange(len(observations.keys) + 1)).astype(np.int32)
    columns: dict[str, Any] = {
        name: pa.array(observations.keys[name].to_numpy(dtype=object), pa.string())
        for name in [*KEY_COLUMNS, "time_zone"]
    }
    columns |= {"span_hours": pa.array(observations.span_hours), "newcomer": pa.array(observations.newcomer)}
    columns["early"] = pa.array(observations.early)
    for name, type_ in _CELLS.items():
        columns[name] = pa.ListArray.from_arrays(pa.array(offsets), pa.array(getattr(observations, name)[order], type_))
    strengths = observations.strengths
    meta = {
        "kind": kind,
        "version": version,
        "trained_from": observations.trained_from.isoformat(),
        "trained_until": observations.trained_until.isoformat(),
        "half_life_days": strengths.half_life_days,
        "key": strengths.key,
        "account": strengths.account,
    }
    table = pa.table(columns).replace_schema_metadata({_META: json.dumps(meta).encode()})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def decode_observations(data: bytes, kind: str, version: str) -> Observations:
    """Return the observations that `encode_observations` stored.

    Raises:
        Corrupt: the bytes are no Parquet file, or of another kind or version.
    """
    try:
        table = pq.read_table(io.BytesIO(data))
        meta = json.loads((table.schema.metadata or {})[_META])
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        raise Corrupt(f"the stored forecast cannot be read ({type(error).__name__}); train a new one") from error
    if (meta["kind"], meta["version"]) != (kind, version):
        stored = f"{meta['kind']} version {meta['version']}"
        raise Corrupt(f"the stored forecast is {stored}, not {kind} version {version}; train a new one")
    return _observations(table.combine_chunks(), meta)


def _observations(table: Any, meta: dict[str, Any]) -> Observations:
    lengths = table.column("cell_hour").combine_chunks().value_lengths().to_numpy(zero_copy_only=False)
    row = np.repeat(np.arange(table.num_rows), lengths).astype(np.int32)
    cells = {name: _numbers(table.column(name).combine_chunks().flatten()) for name in _CELLS}
    order = np.lexsort((row, cells["cell_hour"]))
    names = [*KEY_COLUMNS, "time_zone"]
    return Observations(
        keys=table.select(names).to_pandas(),
        span_hours=_numbers(table.column("span_hours")),
        newcomer=_numbers(table.column("newcomer")),
        early=_numbers(table.column("early")),
        cell_key=row[order],
        cell_hour=cells["cell_hour"][order],
        cell_weight=cells["cell_weight"][order],
        cell_opens=cells["cell_opens"][order],
        cell_early=cells["cell_early"][order],
        trained_from=datetime.fromisoformat(meta["trained_from"]),
        trained_until=datetime.fromisoformat(meta["trained_until"]),
        strengths=PriorStrengths(meta["half_life_days"], meta["key"], meta["account"]),
    )


def _numbers(column: Any) -> npt.NDArray[Any]:
    chunked = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
    values: npt.NDArray[Any] = chunked.to_numpy()
    return values
