"""Files that are whole or not there: the ways in which results are written and read.

A file is replaced in one step, a record of a log is appended in one write, and the bytes depend on nothing but the content.
"""

import csv
import errno
import hashlib
import io
import json
import numbers
import os
import shutil
import warnings
from pathlib import Path

import numpy as np

from lmlib.errors import ConfigError, EncodingError, FormatError, storage_errors

DIGITS = 6  # of every number in a table


def digest_of(path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_bytes(path, content: bytes):
    """Write a file so that at every moment it is the old one or the new one, whole."""
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(beside, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


def json_bytes(value, indent=None) -> bytes:
    """Plain values as JSON and a line break. Half a surrogate pair, which UTF-8 cannot hold, becomes its escape, as JSON wants it."""
    return (json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8", "backslashreplace")


def write_json(path, value):
    """Write plain values as JSON, one to a line, so that changes are easy to read."""
    write_bytes(path, json_bytes(value, indent=1))


def append_line(path, record: dict):
    """Append a record to a JSONL file in one write, so that it is there whole or, if the machine dies, as a torn last line."""
    line = json_bytes(record)
    with storage_errors(path):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            size = os.fstat(file).st_size
            if os.write(file, line) < len(line):  # the system took what fitted: take it back, so that the log stays whole
                os.ftruncate(file, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(file)


def read_lines(path) -> list[dict]:
    """The records of a JSONL file, none if it is not there. A torn last line is skipped with a warning.

    Raises:
      FormatError: another line is no JSON; names it.
    """
    path = Path(path)
    *lines, tail = path.read_bytes().split(b"\n") if path.exists() else [b""]
    records = []
    for number, line in enumerate([*lines, tail] if tail else lines, 1):
        try:
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError(f"a {type(record).__name__}, not an object")
            records.append(record)
        except (RecursionError, ValueError) as error:
            if number <= len(lines):
                raise FormatError(f"{path}, line {number}: no JSON record ({error})") from None
            warnings.warn(f"{path}: the last record was torn by a crash and is skipped", stacklevel=2)
    return records


def mend_lines(path):
    """Make a JSONL file fit for appending: a torn last line goes to <name>.torn, one that lacks only its end gets it."""
    path = Path(path)
    content = path.read_bytes() if path.exists() else b""
    whole, _, tail = content.rpartition(b"\n")
    if not tail:
        return
    try:
        json.loads(tail)
        write_bytes(path, content + b"\n")
    except ValueError:
        with storage_errors(path), open(f"{path}.torn", "ab") as torn:
            torn.write(tail + b"\n")
        write_bytes(path, whole + b"\n" if whole else b"")


def delete(path):
    """Delete a file or a folder, if it is there."""
    path = Path(path)
    with storage_errors(path):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def csv_bytes(name, frame) -> bytes:
    """A DataFrame as CSV: numbers to six significant digits, missing values empty, lines ending in a line feed on every system.

    Not pandas' own writer, whose form of a number depends on the column's type and on the version.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(frame.columns)
    columns = [[_cell(name, column, value) for value in frame[column]] for column in frame.columns]
    writer.writerows(zip(*columns, strict=True))
    try:
        return buffer.getvalue().encode("utf-8")
    except UnicodeEncodeError as error:
        raise EncodingError(f"table {name!r} cannot be written as UTF-8: {error}") from None


def _cell(table, column, value):
    import pandas as pd

    if isinstance(value, str | bool | np.bool_):
        return str(value)
    if not isinstance(value, numbers.Number) and pd.api.types.is_list_like(value):
        raise ConfigError(f"table {table!r}, column {column!r}: a cell must be a number or text, got {type(value).__name__}")
    if pd.isna(value):
        return ""
    if isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral):
        return f"{float(value) + 0.0:.{DIGITS}g}"  # + 0.0 turns -0.0 into 0.0
    return str(value)
