"""The files of a store: in a folder, or at a URL through a cache of files on this machine.

Any URL that fsspec knows will do: https://, s3://, gs://, sftp://, memory://. A file is fetched
when it is first asked for, whole or not at all, so that several processes may share the cache.
"""

import hashlib
from pathlib import Path

from simcrop.data.atomic import atomic_path
from simcrop.errors import DataError, complain


class StoreFiles:
    """Find the files of a store on this machine, fetching them where needed.

    Args:
        location: folder or URL.
        cache: where files of a URL are kept; by default `.cache/simcrop` in the user's home.

    Attributes:
        location: as given; a folder absolute.
        folder: the folder on this machine, of the store or of its cache.

    Raises:
        DataError: if the URL is of a kind for which no package is installed.
    """

    def __init__(self, location: Path | str, cache: Path | None = None) -> None:
        self._remote = None
        if "://" not in str(location):
            self.folder = Path(location)
            self.location = str(self.folder.absolute())
            return
        import fsspec

        self.location = str(location).rstrip("/")
        try:
            self._remote, self._root = fsspec.core.url_to_fs(self.location)
        except (ImportError, ValueError) as error:
            raise DataError(
                complain(
                    f"{self.location}: {error}",
                    "a folder, or a URL for which fsspec has a package",
                    "Install it, such as s3fs for s3:// or gcsfs for gs://.",
                ),
                "unreachable",
            ) from error
        name = hashlib.sha256(self.location.encode()).hexdigest()[:16]
        self.folder = (cache or Path.home() / ".cache" / "simcrop") / "files" / name

    @property
    def is_remote(self) -> bool:
        """Whether the store is at a URL."""
        return self._remote is not None

    def find(self, name: str, num_bytes: int | None = None) -> Path | None:
        """Return where a file is on this machine, or None if the store has no such file.

        Args:
            name: path below the store.
            num_bytes: its size, if known; a file of a URL is fetched again if that differs. Tables
                are fetched every time, as they may have changed.

        Raises:
            DataError: if the place cannot be reached.
        """
        path = self.folder / name
        if self._remote is None:
            return path if path.exists() else None
        is_table = "/" not in name
        if path.exists() and not is_table and num_bytes in (None, path.stat().st_size):
            return path
        try:
            with atomic_path(path, shared=True) as temporary:
                self._remote.get_file(f"{self._root}/{name}", str(temporary))
        except FileNotFoundError:
            return None
        except Exception as error:  # whatever the package of this protocol raises
            raise DataError(
                complain(
                    f"{self.location}/{name}: not reached ({error})",
                    "a store that can be read from here",
                    "Check the URL, the network and your credentials.",
                ),
                "unreachable",
            ) from error
        return path
