"""Compresses payloads, verifies them on every read, and encodes them for clients."""

from adwarm.compression.choice import CompressedPayload, compress, decompress, transcode
from adwarm.compression.decoded_cache import DecodedCache
from adwarm.compression.document import CONTENT_TYPE, Document, decode_document, encode_document, unpack_document
from adwarm.compression.envelope import CODECS, Codec, Envelope, decode_envelope, encode_envelope
from adwarm.compression.files import FileCompressionResult, compress_path
from adwarm.compression.negotiation import choose_encoding, content_coding
from adwarm.compression.shapes import Shape, TableName, parse_shape, parse_table, render_shape
from adwarm.compression.statistics import CompressionStats

__all__ = [
    "CODECS",
    "CONTENT_TYPE",
    "Codec",
    "CompressedPayload",
    "CompressionStats",
    "DecodedCache",
    "Document",
    "Envelope",
    "FileCompressionResult",
    "Shape",
    "TableName",
    "choose_encoding",
    "compress",
    "compress_path",
    "content_coding",
    "decode_document",
    "decode_envelope",
    "decompress",
    "encode_document",
    "encode_envelope",
    "parse_shape",
    "parse_table",
    "render_shape",
    "transcode",
    "unpack_document",
]
