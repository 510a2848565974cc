"""The stored forms of forecasts: numpy's zip of arrays for fitted models, Parquet for observations. Never pickle."""

import io
import json
import zipfile
from collections.abc import Iterable
from dataclasses import fields
from datetime import datetime
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
_ARRAY, _DICT = "array", "dict"
_READ_ERRORS = (zipfile.BadZipFile, LookupError, ValueError, TypeError, AttributeError, OSError, EOFError)


def encode_model(parts: dict[str, Any], kind: str, version: str, types: Iterable[type]) -> bytes:
    """Return the parts of a fitted model as bytes: data classes of `types`, arrays, dicts, sequences and JSON values.

    Raises:
        AdwarmError: a part has a type that `decode_model` would reject.
    """
    arrays: list[npt.NDArray[Any]] = []
    tree = {"made_by": _made_by(kind, version), "parts": _to_plain(parts, arrays, frozenset(types))}
    sink = io.BytesIO()
    np.savez(sink, *arrays, np.frombuffer(json.dumps(tree).encode(), np.uint8))
    return sink.getvalue()


def _to_plain(value: Any, arrays: list[npt.NDArray[Any]], types: frozenset[type]) -> Any:
    """Return a value for JSON; each array is added to `arrays`, and its number stands for it."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        arrays.append(value)
        return {_ARRAY: len(arrays) - 1}
    if isinstance(value, dict):
        return {_DICT: {name: _to_plain(item, arrays, types) for name, item in value.items()}}
    if isinstance(value, list | tuple):
        return [_to_plain(item, arrays, types) for item in value]
    if type(value) in types:
        names = [field.name for field in fields(value) if field.init]
        return {type(value).__name__: {name: _to_plain(getattr(value, name), arrays, types) for name in names}}
    if value is None or isinstance(value, str | int | float):
        return value
    raise AdwarmError(f"a forecast cannot be stored: it holds {type(value).__name__}, which could not be read back")


def decode_model(data: bytes, kind: str, version: str, types: Iterable[type]) -> dict[str, Any]:
    """Return the parts that `encode_model` stored; sequences are tuples.

    Raises:
        Corrupt: the bytes are damaged, of another kind or version, or hold a type that is not one of `types`.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            arrays = [stored[name] for name in stored.files]
        tree = json.loads(arrays.pop().tobytes())
        made_by = str(tree["made_by"])
        if made_by == _made_by(kind, version):
            parts: dict[str, Any] = _from_plain(tree["parts"], arrays, {type_.__name__: type_ for type_ in types})
            return parts
    except _READ_ERRORS as error:
        raise Corrupt(f"the stored forecast cannot be read ({type(error).__name__}); train a new one") from error
    raise Corrupt(f"the stored forecast is {made_by}, not {_made_by(kind, version)}; train a new one")


def _from_plain(value: Any, arrays: list[npt.NDArray[Any]], types: dict[str, type]) -> Any:
    if isinstance(value, list):
        return tuple(_from_plain(item, arrays, types) for item in value)
    if not isinstance(value, dict):
        return value
    [(tag, content)] = value.items()
    if tag == _ARRAY:
        return arrays[content]
    items = {name: _from_plain(item, arrays, types) for name, item in content.items()}
    return items if tag == _DICT else types[tag](**items)


def _made_by(kind: str, version: str) -> str:
    return f"{kind} version {version}"


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
        table = pq.ParquetFile(io.BytesIO(data)).read()  # `read_table` imports data sets first
        meta = json.loads((table.schema.metadata or {})[_META])
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        raise Corrupt(f"the stored forecast cannot be read ({type(error).__name__}); train a new one") from error
    if (made_by := _made_by(meta["kind"], meta["version"])) != _made_by(kind, version):
        raise Corrupt(f"the stored forecast is {made_by}, not {_made_by(kind, version)}; train a new one")
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
