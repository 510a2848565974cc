"""Packs payloads small, proves them whole on every read, and hands them to clients in a coding they take."""

from adwarm.compression.choice import Packed, pack, transcode, unpack
from adwarm.compression.decoded_cache import CacheCounts, DecodedCache
from adwarm.compression.envelope import CODECS, Codec, Envelope, open_envelope, seal
from adwarm.compression.files import FilesReport, compress_path
from adwarm.compression.negotiation import choose_encoding, content_coding
from adwarm.compression.statistics import CompressionStats

__all__ = [
    "CODECS",
    "CacheCounts",
    "Codec",
    "CompressionStats",
    "DecodedCache",
    "Envelope",
    "FilesReport",
    "Packed",
    "choose_encoding",
    "compress_path",
    "content_coding",
    "open_envelope",
    "pack",
    "seal",
    "transcode",
    "unpack",
]
