"""Which files DATA is: one, those of a folder (parts, by date, as Spark and warehouses write them), those of a glob."""

from glob import glob, has_magic
from pathlib import Path

from schemas.errors import UsageError


def data_files(path: Path) -> list[Path]:
    """Return the files in the order of their names, those of a folder from all depths.

    A name that starts with a dot or an underscore is none of the data (`_SUCCESS`, `.part-0.crc`). Raises UsageError
    where there is none.
    """
    if path.is_dir():
        found = _below(path)
        if not found:
            raise UsageError(f"{path} is a directory without a file to read; name the folder that holds the data")
        return found
    if path.exists() or not has_magic(str(path)):
        return [path]
    matches = [Path(name) for name in sorted(glob(str(path), recursive=True))]  # noqa: PTH207 - a whole path
    found = [file for match in matches for file in (_below(match) if match.is_dir() else [match])]
    if not found:
        raise UsageError(f"no file is called like {path}; see `ls {path}`")
    return list(dict.fromkeys(found))


def _below(folder: Path) -> list[Path]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(file for file in files if not any(part[0] in "._" for part in file.relative_to(folder).parts))
