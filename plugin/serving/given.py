"""Pictures that people give to search by: decoded like any stranger's, and kept so that a URL can name them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
from pathlib import Path

from crosslens.errors import QueryError
from crosslens.ingest.sources.formats.common import PictureRules
from crosslens.ingest.sources.images import open_image

# What is sent at most; a camera's largest JPEGs have 20 MB.
MOST_BYTES = 32_000_000
# Of those sent, more pixels than a camera makes are refused before they are decoded.
_MOST_PIXELS = 100_000_000
# No encoder looks at more than half of that.
_SIDE = 768


class GivenPictures:
    """Pictures by id in a folder, up to ``most_bytes`` in all; those not used for longest go.

    What is kept is not what was sent but the decoded picture, upright and at most 768 pixels on its shorter side, as
    WebP without metadata: no byte of the sender's is ever sent to anybody. The same picture has the same id, so that
    several processes may share the folder. May be used from several threads.
    """

    def __init__(self, folder: Path, most_bytes: int = 500_000_000):
        self._folder, self._most = folder, most_bytes

    def keep(self, data: bytes) -> str:
        """Decode a picture, keep it, and return its id.

        Raises `ImageError` where it can't be decoded, and `QueryError` for one that is too large.
        """
        if len(data) > MOST_BYTES:
            raise QueryError(f"the picture has more than the {MOST_BYTES:,} bytes that are allowed")
        picture = open_image(data, target=_SIDE, rules=PictureRules(_MOST_PIXELS, name="the picture"))
        shorter = min(picture.size)
        if shorter > _SIDE:
            # By its longer side a strip would be reduced to nothing.
            picture = picture.reduce(max(1, shorter // _SIDE))
        # The format's own limit of a side.
        picture.thumbnail((16_383, 16_383))
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", quality=95)
        made = buffer.getvalue()
        id = hashlib.sha256(made).hexdigest()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._path(id)
        if not path.exists():
            # Whoever reads sees all of it or nothing.
            handle, beside = tempfile.mkstemp(dir=self._folder, suffix=".part")
            with os.fdopen(handle, "wb") as file:
                file.write(made)
            Path(beside).replace(path)
            self._make_room()
        return id

    def read(self, id: str) -> bytes:
        """Return a kept picture, as WebP. Raises `QueryError` where there is none of this id, or none any more."""
        path = self._path(id)
        try:
            data = path.read_bytes()
            os.utime(path)
        except OSError as error:
            raise QueryError("the picture that this search is for is not kept any more; give it again") from error
        return data

    def _path(self, id: str) -> Path:
        # Ids come from URLs.
        if len(id) != 64 or set(id) - set("0123456789abcdef"):
            raise QueryError("that is not the id of a picture")
        return self._folder / f"{id}.webp"

    def _make_room(self) -> None:
        found = []
        for path in self._folder.iterdir():
            # Another process may have removed it.
            with contextlib.suppress(OSError):
                state = path.stat()
                found.append((state.st_mtime_ns, state.st_size, path))
        excess = sum(size for _, size, _ in found) - self._most
        for _, size, path in sorted(found):
            if excess <= 0:
                break
            with contextlib.suppress(OSError):
                path.unlink()
            excess -= size
