"""Sound and footage: where their bytes come from, and what is in them, decoded in a child process."""

from crosslens.ingest.sources.decoding.shapes import Cue, Cutting, MediaInfo, MediaLimits, Moment
from crosslens.ingest.sources.media.captions import read_captions
from crosslens.ingest.sources.media.opened import Media, open_media, poster
from crosslens.ingest.sources.media.reader import MediaFile, MediaReader

__all__ = [
    "Cue",
    "Cutting",
    "Media",
    "MediaFile",
    "MediaInfo",
    "MediaLimits",
    "MediaReader",
    "Moment",
    "open_media",
    "poster",
    "read_captions",
]
