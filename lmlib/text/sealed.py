"""JSON files that carry the digest of their own content, so that damage is found when they are read and never silently used."""

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path

from lmlib.errors import FormatError, IntegrityError, UnavailableError, storage_errors


def digest(values):
    """SHA-256 of the canonical JSON of some plain values: the same for the same content, whatever the order of the keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def write_sealed(path, kind, values):
    """Write `values` (a dict of plain JSON values) with their digest; byte-identical for equal values, and never half a file.

    Args:
      path: file to write; its folder is made, an older file is replaced in one step.
      kind: what the file is and in which version, e.g. "lmlib tokenizer 1"; `read_sealed` asks for the same.
      values: the content; its keys must not be "format" or "digest".
    """
    path = Path(path)
    text = json.dumps({"format": kind, "digest": digest(values), **values}, sort_keys=True, ensure_ascii=False, indent=1)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode() + b"\n")
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise


def read_sealed(path, kind):
    """Read a file of `write_sealed` and return its values.

    Raises:
      UnavailableError: there is no such file.
      FormatError: it is not such a file, or not of this kind and version; names the line where there is one.
      IntegrityError: its content does not have the digest that it states.
    """
    try:
        values = json.loads(Path(path).read_bytes().decode("utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UnavailableError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise FormatError(f"{path} is a folder, not a file") from error
    except json.JSONDecodeError as error:
        raise FormatError(f"{path}, line {error.lineno}: not JSON ({error.msg}); the file is damaged or of another kind") from error
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}, byte {error.start}: not UTF-8; the file is damaged or of another kind") from error
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, brackets in brackets
        raise FormatError(f"{path}: not JSON of ours ({error}); the file is damaged or of another kind") from error
    except OSError as error:
        raise UnavailableError(f"cannot read {path}: {error.strerror or error}") from error
    found = values.pop("format", None) if isinstance(values, dict) else None
    if found != kind:
        raise FormatError(f"{path}: format {found!r} where {kind!r} is needed")
    stated, have = values.pop("digest", None), digest(values)
    if stated != have:
        raise IntegrityError(f"{path}: the content has digest {have}, but the file states {stated}; it was damaged or edited: make it anew")
    return values
