"""The reader's own text: a file, a folder, CSV, TSV or JSON lines; any of them compressed with gzip or xz; always streamed.

notes.txt            one document a line, empty lines included
folder/              one document a file: all .txt and .md below it, in the order of their paths, hidden ones left out
reviews.csv          one document a row; the first row names the columns; quotes as in RFC 4180
reviews.tsv          the same with tabs; quotes are literal
reviews.jsonl        one JSON object a line
"""

import csv
import json
import re
from pathlib import Path

from lmlib.errors import EmptyCorpusError, EncodingError, FormatError, UnknownNameError, nearest
from lmlib.text import reading

_TABLES = (".csv", ".tsv", ".jsonl")
_FOLDER = (".txt", ".md")
_SURROGATE = re.compile("[\ud800-\udfff]")


def files_of(path):
    """The files that make the corpus at `path`, {name: path}: itself, or the texts below a folder in the order of their names."""
    if not path.is_dir():
        return {path.name: path}
    found = {}
    for file in path.rglob("*"):
        name = file.relative_to(path).as_posix()
        hidden = any(part.startswith(".") for part in name.split("/"))
        if file.is_file() and not hidden and Path(reading.plain_name(file)).suffix.lower() in _FOLDER:
            found[name] = file
    if not found:
        raise EmptyCorpusError(f"{path} has no .txt or .md file below it")
    return dict(sorted(found.items()))


def is_table(path):
    """Whether a path names a table, with columns to choose from."""
    return Path(reading.plain_name(path)).suffix.lower() in _TABLES


def records(path, text=None, label=None):
    """Yield a record for each document at `path`: {"text": …}; for a table all columns of the row, the chosen ones as "text" and "label".

    Args:
      path: a file or a folder.
      text: for a table, the column of the text; it may be left out if there is only one column or one that is called "text".
      label: for a table, the column of the label, if any.

    Raises:
      FormatError: a row that does not follow its format; names file and line.
      EncodingError: bytes or characters that are not valid UTF-8.
    """
    if path.is_dir():
        for file in files_of(path).values():
            yield {"text": "\n".join(reading.lines(file))}
    elif is_table(path):
        yield from _table(path, text, label)
    else:
        for line in reading.lines(path):
            yield {"text": line}


def _table(path, text, label):
    suffix = Path(reading.plain_name(path)).suffix.lower()
    rows = {".csv": _csv_rows, ".tsv": _tsv_rows, ".jsonl": _jsonl_rows}[suffix](path)
    for number, row in rows:
        text = text or _only_text_column(path, row)
        for column in filter(None, (text, label)):
            if column not in row:
                raise UnknownNameError(
                    f"{path} line {number} has no column {column!r}{nearest(column, row)} (columns: {', '.join(map(str, row))})"
                )
        if not isinstance(row[text], str):
            raise FormatError(f"{path} line {number}: column {text!r} is {type(row[text]).__name__}, not text")
        if _SURROGATE.search(row[text]):  # JSON can spell half a character, "\ud83d", which no UTF-8 file can hold
            raise EncodingError(f"{path} line {number}: column {text!r} has half of a surrogate pair, which is not valid text")
        yield row | {"text": row[text]} | ({"label": row[label]} if label else {})


def _only_text_column(path, row):
    if len(row) == 1:
        return next(iter(row))
    if "text" in row:
        return "text"
    raise UnknownNameError(
        f"{path} has several columns ({', '.join(map(str, row))}): say which holds the text, e.g. text={next(iter(row))!r}"
    )


def _csv_rows(path):
    """(line, row) of a CSV; a quoted field may hold newlines, and be as long as it likes."""
    csv.field_size_limit(max(csv.field_size_limit(), 2**31 - 1))  # the module's own limit is 128 kB
    reader = csv.reader((line + "\n" for line in reading.lines(path)), strict=True)
    try:
        header = _header(path, next(reader, []))
        for fields in reader:
            if fields:  # an empty line is no row
                yield reader.line_num, _row(path, reader.line_num, header, fields)
    except csv.Error as error:
        raise FormatError(f"{path} line {reader.line_num} is not valid CSV: {error}") from error


def _tsv_rows(path):
    numbered = enumerate(reading.lines(path), 1)
    header = _header(path, next(numbered, (1, ""))[1].split("\t"))
    for number, line in numbered:
        if line:
            yield number, _row(path, number, header, line.split("\t"))


def _jsonl_rows(path):
    for number, line in enumerate(reading.lines(path), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:  # JSON's own errors are ValueErrors, and so is a number of 5,000 digits
            raise FormatError(f"{path} line {number} is not valid JSON: {error}") from error
        if not isinstance(row, dict):
            raise FormatError(f"{path} line {number} is a JSON {type(row).__name__}, not an object with named fields")
        yield number, row


def _header(path, names):
    if not any(names):
        raise EmptyCorpusError(f"{path} has no header: the first line must name the columns")
    if len(set(names)) < len(names):
        raise FormatError(f"{path} line 1 names a column twice: {', '.join(names)}")
    return names


def _row(path, number, header, fields):
    if len(fields) != len(header):
        raise FormatError(f"{path} line {number} has {len(fields)} fields, but the header names {len(header)} columns")
    return dict(zip(header, fields, strict=True))
