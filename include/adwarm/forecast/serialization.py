"""A fitted model as bytes: written by skops, never by pickle, and read only when it holds nothing but known types."""

import importlib
import io
import json
import warnings
import zipfile
from dataclasses import is_dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import sklearn

from adwarm.forecast.protocol import KEY_COLUMNS
from adwarm.forecast.training.observations import Observations, PriorStrengths
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


_META = b"adwarm_forecast"
_CELLS = {"cell_hour": pa.int16(), "cell_weight": pa.float64(), "cell_opens": pa.int32(), "cell_early": pa.float64()}


def encode_observations(seen: Observations, kind: str, version: str) -> bytes:
    """Return the Parquet bytes."""
    order = np.lexsort((seen.cell_hour, seen.cell_key))
    offsets = np.searchsorted(seen.cell_key[order], np.arange(len(seen.keys) + 1)).astype(np.int32)
    columns: dict[str, Any] = {
        name: pa.array(seen.keys[name].to_numpy(dtype=object), pa.string()) for name in [*KEY_COLUMNS, "time_zone"]
    }
    columns |= {"span_hours": pa.array(seen.span_hours), "newcomer": pa.array(seen.newcomer)}
    columns["early"] = pa.array(seen.early)
    for name, type_ in _CELLS.items():
        columns[name] = pa.ListArray.from_arrays(pa.array(offsets), pa.array(getattr(seen, name)[order], type_))
    strengths = seen.strengths
    meta = {
        "kind": kind,
        "version": version,
        "trained_from": seen.trained_from.isoformat(),
        "trained_until": seen.trained_until.isoformat(),
        "half_life_days": strengths.half_life_days,
        "key": strengths.key,
        "account": strengths.account,
    }
    table = pa.table(columns).replace_schema_metadata({_META: json.dumps(meta).encode()})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def decode_observations(data: bytes, kind: str, version: str) -> Observations:
    """Return what `dump` stored.

    Raises:
        Corrupt: the bytes are no Parquet, or of another kind or version.
    """
    try:
        table = pq.read_table(io.BytesIO(data))
        meta = json.loads((table.schema.metadata or {})[_META])
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        raise Corrupt(f"the stored forecast cannot be read ({type(error).__name__}); train a new one") from error
    if (meta["kind"], meta["version"]) != (kind, version):
        found = f"{meta['kind']} version {meta['version']}"
        raise Corrupt(f"the stored forecast is {found}, not {kind} version {version}; train a new one")
    return _observations(table.combine_chunks(), meta)


def _observations(table: Any, meta: dict[str, Any]) -> Observations:
    lengths = table.column("cell_hour").combine_chunks().value_lengths().to_numpy(zero_copy_only=False)
    row = np.repeat(np.arange(table.num_rows), lengths).astype(np.int32)
    cells = {name: _numbers(table.column(name).combine_chunks().flatten()) for name in _CELLS}
    order = np.lexsort((row, cells["cell_hour"]))
    names = [*KEY_COLUMNS, "time_zone"]
    return Observations(
        table.select(names).to_pandas(),
        _numbers(table.column("span_hours")),
        _numbers(table.column("newcomer")),
        _numbers(table.column("early")),
        row[order],
        cells["cell_hour"][order],
        cells["cell_weight"][order],
        cells["cell_opens"][order],
        cells["cell_early"][order],
        datetime.fromisoformat(meta["trained_from"]),
        datetime.fromisoformat(meta["trained_until"]),
        PriorStrengths(meta["half_life_days"], meta["key"], meta["account"]),
    )


def _numbers(column: Any) -> npt.NDArray[Any]:
    chunked = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
    values: npt.NDArray[Any] = chunked.to_numpy()
    return values
