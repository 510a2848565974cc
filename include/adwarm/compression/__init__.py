"""Compresses payloads, verifies them on every read, and encodes them for clients."""

from adwarm.compression.choice import (
    CompressedPayload,
    compress,
    decompress,
    decompress_envelope,
    open_envelope,
)
from adwarm.compression.document import (
    Shape,
    TableName,
    encode_document,
    parse_shape,
    parse_table,
    render_shape,
    unpack_document,
)
from adwarm.compression.envelope import CODECS, Codec, Envelope, decode_envelope, encode_envelope
from adwarm.compression.files import FileCompressionResult, compress_path
from adwarm.compression.statistics import (
    PROCESS_STATISTICS,
    CompressionStats,
    flush_statistics,
    get_compression_totals,
)
from adwarm.compression.transcodes import (
    NotAcceptable,
    RepresentationKey,
    TranscodeCache,
    choose_encoding,
    content_coding,
)
from adwarm_client.document import CONTENT_TYPE, Document, decode_document

__all__ = [
    "CODECS",
    "CONTENT_TYPE",
    "PROCESS_STATISTICS",
    "Codec",
    "CompressedPayload",
    "CompressionStats",
    "Document",
    "Envelope",
    "FileCompressionResult",
    "NotAcceptable",
    "RepresentationKey",
    "Shape",
    "TableName",
    "TranscodeCache",
    "choose_encoding",
    "compress",
    "compress_path",
    "content_coding",
    "decode_document",
    "decode_envelope",
    "decompress",
    "decompress_envelope",
    "encode_document",
    "encode_envelope",
    "flush_statistics",
    "get_compression_totals",
    "open_envelope",
    "parse_shape",
    "parse_table",
    "render_shape",
    "unpack_document",
]
