"""From bytes on a disk to text: strict UTF-8, streamed, in linear time, and nothing changed but the ends of lines.

Lines end at "\\n" alone; one "\\r" before it is dropped (Windows), and one byte-order mark at the start of a file. Every other character
is kept, NUL and the line separators of Unicode among them (`str.splitlines` would split at twelve kinds of character). What is not valid
UTF-8 is an error that names file and byte offset: replacing it would change the text in silence.
"""

import gzip
import hashlib
import json
import lzma
import zlib
from functools import cache
from pathlib import Path

from lmlib.errors import EncodingError, IntegrityError, StorageError, UnavailableError

COMPRESSED = (".gz", ".xz")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_CHUNK = 1 << 20


def plain_name(path):
    """Name of a file without its .gz or .xz."""
    name = Path(path).name
    return name[: -len(Path(name).suffix)] if Path(name).suffix in COMPRESSED else name


def chunks(path):
    """Yield the bytes of a file in pieces, decompressed if its name ends in .gz or .xz.

    Raises:
      IntegrityError: the compressed stream is cut off or damaged.
      StorageError: the file may not be read.
      UnavailableError: it is gone, or its disk is.
    """
    opener = {".gz": gzip.open, ".xz": lzma.open}.get(Path(path).suffix, open)
    try:
        with opener(path, "rb") as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk
    except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
        raise IntegrityError(f"{path} is truncated or damaged ({error}): get the file again") from error
    except PermissionError as error:
        raise StorageError(f"cannot read {path}: permission denied") from error
    except OSError as error:
        raise UnavailableError(f"cannot read {path}: {error.strerror or error}") from error


def lines(path, encoding="utf-8"):
    """Yield the lines of a text file, plain or compressed, without their ends. A last line needs no newline.

    Raises:
      EncodingError: the bytes are not text in this encoding; names the file and the offset of the first such byte.
    """
    pending, offset = [], 0  # an unfinished line is kept in pieces and joined once, so that a line of 10 MB takes linear time
    for chunk in chunks(path):
        cut = chunk.rfind(b"\n") + 1
        if not cut:
            pending.append(chunk)
            continue
        block = b"".join([*pending, chunk[:cut]])
        yield from _split(decode(block, path, encoding, offset))
        pending, offset = [chunk[cut:]], offset + len(block)
    if last := decode(b"".join(pending), path, encoding, offset):
        yield last.removesuffix("\r")


def _split(text):
    """Lines of a text that ends with a newline."""
    found = text.split("\n")[:-1]
    return [line.removesuffix("\r") for line in found] if "\r" in text else found


def decode(data, path, encoding="utf-8", offset=0):
    """Decode bytes strictly; `offset` is where in the (decompressed) file at `path` they begin."""
    if offset == 0:
        if _is_utf16(data):
            raise EncodingError(
                f"{path} is UTF-16 or UTF-32, and lmlib reads UTF-8: save it as UTF-8, e.g. `iconv -f UTF-16 -t UTF-8 old.txt > new.txt`"
            )
        if encoding == "utf-8" and data.startswith(BYTE_ORDER_MARK):
            data, offset = data[len(BYTE_ORDER_MARK) :], len(BYTE_ORDER_MARK)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        at = offset + error.start
        unpacked = " of the decompressed text" if Path(path).suffix in COMPRESSED else ""
        raise EncodingError(
            f"{path} is not valid UTF-8: byte 0x{data[error.start]:02x} at offset {at}{unpacked} ({error.reason}). "
            "If the file is in another encoding, convert it, e.g. `iconv -f LATIN1 -t UTF-8 old.txt > new.txt`; "
            "if it is damaged, get it again; if it is no text (.pdf, .docx), save it as text"
        ) from None


def _is_utf16(data):
    """A UTF-16 or UTF-32 byte-order mark, or a NUL at most even or at most odd places, as Latin letters in UTF-16 have it."""
    head = data[:4096]
    if head[:2] in (b"\xff\xfe", b"\xfe\xff") or head[:4] == b"\0\0\xfe\xff":
        return True
    return len(head) >= 4 and any(half.count(0) * 2 > len(half) for half in (head[::2], head[1::2])) and head.count(0) < len(head)


def read_all(path):
    """All bytes of a file, decompressed."""
    return b"".join(chunks(path))


def sha256_of(path):
    """SHA-256 of the original bytes of a file, that is of the decompressed ones, in constant memory."""
    digest = hashlib.sha256()
    for chunk in chunks(path):
        digest.update(chunk)
    return digest.hexdigest()


def sha256_of_many(digests):
    """One SHA-256 for several files, {name: sha256}: that of the lines "sha256  name", as `sha256sum` prints them."""
    digests = list(digests.items())
    if len(digests) == 1:
        return digests[0][1]
    return hashlib.sha256("".join(f"{sha256}  {name}\n" for name, sha256 in digests).encode("utf-8", "surrogateescape")).hexdigest()


def sha256_of_documents(documents):
    """SHA-256 of documents in memory: of each as a JSON string on a line of its own, so that no two lists of documents share it."""
    digest = hashlib.sha256()
    for document in documents:
        digest.update(json.dumps(document).encode() + b"\n")
    return digest.hexdigest()


def has_digest(path, size, sha256):
    """Whether a file, taken as it lies on the disk, has this size and SHA-256. Read once per process unless the file changes."""
    stat = Path(path).stat()
    return stat.st_size == size and _stored_sha256(str(path), stat.st_size, stat.st_mtime_ns) == sha256


@cache
def _stored_sha256(path, _size, _mtime):
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
