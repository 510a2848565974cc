"""Compresses payloads, verifies them on every read, and encodes them for clients."""

from adwarm.compression.choice import (
    CompressedPayload,
    compress,
    decompress,
    decompress_envelope,
    open_envelope,
    transcode,
)
from adwarm.compression.envelope import CODECS, Codec, Envelope, decode_envelope, encode_envelope
from adwarm.compression.files import FileCompressionResult, compress_path
from adwarm.compression.negotiation import NotAcceptable, choose_encoding, content_coding
from adwarm.compression.statistics import (
    PROCESS_STATISTICS,
    CompressionStats,
    flush_statistics,
    get_compression_totals,
)
from adwarm.compression.transcodes import RepresentationKey, TranscodeCache, hash_blob

__all__ = [
    "CODECS",
    "PROCESS_STATISTICS",
    "Codec",
    "CompressedPayload",
    "CompressionStats",
    "Envelope",
    "FileCompressionResult",
    "NotAcceptable",
    "RepresentationKey",
    "TranscodeCache",
    "choose_encoding",
    "compress",
    "compress_path",
    "content_coding",
    "decode_envelope",
    "decompress",
    "decompress_envelope",
    "encode_envelope",
    "flush_statistics",
    "get_compression_totals",
    "hash_blob",
    "open_envelope",
    "transcode",
]
