"""Where the files of a registered corpus come from: LMLIB_DATA, then the cache, then the network; never an unverified byte.

Each file in corpora.json states size and SHA-256 of its original bytes, those of the compressed form that LMLIB_DATA may hold
("stored"), and the ways to get it, tried in this order:

  archive    {"url", "folder", "suffix", "form"}: an archive of a public repository; the files of one folder become the lines of one file
  parts      {"url", "form", "members"}: public files, each with its own SHA-256, put one after the other or into a tar
  container  {"url", "sha256", "member" or "lines"}: one member of a zip archive, or the first lines of a text file
  url        the file itself

A download goes to a folder of its own, is verified there, and is then moved into the cache in one step, under a lock: four processes
that ask at once cause one download, and a process that dies leaves nothing that looks like a corpus. Members of archives are read by
their exact names and written under names of ours, so an archive cannot choose where to write.
"""

import hashlib
import io
import json
import os
import shutil
import tarfile
import warnings
import zipfile
from contextlib import ExitStack
from pathlib import Path

from lmlib import runtime
from lmlib.errors import IntegrityError, LmlibError, UnavailableError, storage_errors
from lmlib.text.reading import has_digest

TIMEOUT = 30  # seconds without a byte
RETRIES = 2
MAX_CONTAINER = 1 << 30  # bytes: the size of an archive is not registered, but it ends somewhere
MAX_UNPACKED = 8 << 30


def cache_folder(name):
    """Folder in the cache for the files of corpus `name`."""
    return runtime.cache_dir() / "corpora" / name


def find(name, file, entry):
    """Path of a file that is at hand, verified, or None.

    Args:
      name: name of the corpus.
      file: name of the file.
      entry: the corpus's entry of corpora.json.

    Raises:
      IntegrityError: the file in LMLIB_DATA is not the registered one. One in the cache is fetched again, with a warning.
      UnavailableError: LMLIB_DATA is no folder.
    """
    data = runtime.data_dir()
    if data is not None and not data.is_dir():
        raise UnavailableError(f"LMLIB_DATA is set to {data}, which is no folder: correct it or unset it")
    for folder in ([data / name] if data else []) + [cache_folder(name)]:
        present = [(folder / form["name"], form) for form in _forms(file, entry) if (folder / form["name"]).is_file()]
        for path, form in present:
            if has_digest(path, form["bytes"], form["sha256"]):
                return path
        if present:
            path, form = present[0]
            problem = (
                f"{path} is damaged or not the registered file: it has {path.stat().st_size} bytes, "
                f"and should have {form['bytes']} and SHA-256 {form['sha256']}"
            )
            if data and folder == data / name:
                raise IntegrityError(f"{problem}. Get it again, or remove it to have it downloaded")
            warnings.warn(f"{problem}. It is not used", stacklevel=2)
    return None


def _forms(file, entry):
    """The forms in which a file may lie on a disk: the stored one, which may be compressed, and the original."""
    facts = entry["files"][file]
    original = {"name": file, "bytes": facts["bytes"], "sha256": facts["sha256"]}
    return [facts["stored"], original] if "stored" in facts else [original]


def obtain(name, file, entry):
    """Path of a file, downloaded if it is not at hand; arguments as for `find`.

    Raises:
      UnavailableError: it is not at hand and cannot be downloaded; says what to put where.
      IntegrityError: what was downloaded is not the registered file; nothing of it is kept.
      StorageError: the cache cannot be written.
    """
    if path := find(name, file, entry):
        return path
    if runtime.offline():
        raise UnavailableError(f"LMLIB_OFFLINE=1 forbids the download. {_remedy(name, file, entry)}")
    ways = [way for way in WAYS if way in entry["files"][file]]
    if not ways:
        raise UnavailableError(f"There is no download. {_remedy(name, file, entry)}")

    from filelock import FileLock

    folder = cache_folder(name)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f"{name}.lock"):
            if path := find(name, file, entry):  # another process was faster
                return path
            partial = folder / ".partial"
            shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
            partial.mkdir()
            try:
                _download(name, file, entry, ways, partial)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return find(name, file, entry)


def _download(name, file, entry, ways, partial):
    """Try the ways in turn; move what came and is right into the cache."""
    problems = []
    for way in ways:
        try:
            WAYS[way](file, entry, partial)
            break
        except LmlibError as error:
            problems.append(error)
    else:
        kind = IntegrityError if isinstance(problems[-1], IntegrityError) else UnavailableError
        raise kind(f"{'; '.join(map(str, problems))}. {_remedy(name, file, entry)}") from problems[-1]
    for kept in {form["name"] for other in entry["files"] for form in _forms(other, entry)}:  # and nothing that a failed way left there
        if (partial / kept).exists():
            os.replace(partial / kept, cache_folder(name) / kept)


def _remedy(name, file, entry):
    """What is missing, where it can be had, and where to put it."""
    facts = entry["files"][file]
    urls = [facts[way] if way == "url" else facts[way]["url"] for way in WAYS if way in facts]
    places = [f"  {cache_folder(name) / form['name']}  (SHA-256 {form['sha256']}, {form['bytes']} bytes)" for form in _forms(file, entry)]
    return "\n".join(
        [f"{name}/{file} is not at hand."]
        + ([f"It comes from {' or '.join(urls)}"] if urls else [])
        + ([f"Recipe: {entry['repackaged']}"] if "repackaged" in entry else [])
        + [f"Put it into the folder {name}/ of LMLIB_DATA, or at" if len(places) == 1 else "Put one of its forms into LMLIB_DATA, or at"]
        + places
    )


def _get(url, path, sha256, cap):
    """Download one file to `path`, with a progress bar on a terminal, retries and a timeout.

    Args:
      sha256: the digest it must have, or None where only what is made of it is verified.
      cap: the most bytes to accept.
    """
    import pooch
    import requests
    from tqdm import tqdm

    class Progress(tqdm):
        def __bool__(self):
            return True  # pooch asks before it sets the total, and tqdm has no answer then

        def update(self, n=1):
            self.got = getattr(self, "got", 0) + n
            if self.got > cap + (1 << 16):  # pooch counts whole blocks
                raise IntegrityError(f"{url} sends more than the {cap} bytes that are registered")
            super().update(n)

        def reset(self, total=None):
            self.got = 0
            super().reset(total)

    def downloader(url, output, manager):
        progress = Progress(desc=path.name, unit="B", unit_scale=True, disable=None)
        hooks = {"response": lambda response, **_: stack.enter_context(response)}  # pooch leaves it open when something fails
        with ExitStack() as stack:
            pooch.HTTPDownloader(progressbar=progress, chunk_size=1 << 16, timeout=TIMEOUT, hooks=hooks)(url, output, manager)

    pooch.get_logger().setLevel("WARNING")
    manager = pooch.create(path.parent, base_url="", registry={path.name: sha256}, urls={path.name: url}, retry_if_failed=RETRIES)
    try:
        manager.fetch(path.name, downloader=downloader)
    except requests.RequestException as error:
        raise UnavailableError(f"{url} could not be downloaded ({type(error).__name__}: {error})") from error
    except ValueError as error:
        raise IntegrityError(f"{url} is not the registered file: its SHA-256 is not {sha256}") from error


def _keep(data, file, entry, partial):
    """Write the bytes of a file if they are the registered ones."""
    if hashlib.sha256(data).hexdigest() != entry["files"][file]["sha256"]:
        raise IntegrityError(f"what was made of the download is not the registered {file}: its SHA-256 is another one")
    (partial / file).write_bytes(data)


def _from_url(file, entry, partial):
    """The file itself, in its stored form where the URL serves that (e.g. train.en.gz)."""
    facts = entry["files"][file]
    served = [form for form in _forms(file, entry) if facts["url"].endswith("/" + form["name"])]
    form = served[0] if served else {"name": file, "bytes": facts["bytes"], "sha256": facts["sha256"]}
    _get(facts["url"], partial / form["name"], form["sha256"], form["bytes"])


def _from_container(file, entry, partial):
    """A member of a zip; every other registered file of the same zip is unpacked on the way."""
    container = entry["files"][file]["container"]
    packed = partial / "container"
    _get(container["url"], packed, container["sha256"], MAX_CONTAINER)
    if "lines" in container:
        kept = packed.read_bytes().split(b"\n", container["lines"])[: container["lines"]]
        _keep(b"\n".join(kept) + b"\n", file, entry, partial)
    else:
        with zipfile.ZipFile(packed) as archive:
            for other, facts in entry["files"].items():
                if facts.get("container", {}).get("url") == container["url"]:
                    try:
                        with archive.open(facts["container"]["member"]) as member:
                            _keep(member.read(facts["bytes"] + 1), other, entry, partial)
                    except (KeyError, zipfile.BadZipFile) as error:
                        raise IntegrityError(f"{container['url']} does not hold a sound {facts['container']['member']}") from error
    packed.unlink()


def _from_parts(file, entry, partial):
    """Public files joined, or put into a tar with zero times, as corpora.json says."""
    parts = entry["files"][file]["parts"]
    members = {}
    for member, size, sha256 in parts["members"]:
        path = partial / f"part-{len(members)}"
        _get(parts["url"].replace("{}", member), path, sha256, size)
        members[member] = path.read_bytes()
        path.unlink()
    if parts["form"] == "joined":
        return _keep(b"".join(members.values()), file, entry, partial)
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for member, data in members.items():
            info = tarfile.TarInfo(parts["form"].replace("{}", member))
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return _keep(tar.getvalue(), file, entry, partial)


def _from_archive(file, entry, partial):
    """The files of a folder of a repository as the lines of one file; every registered file of that repository on the way."""
    url = entry["files"][file]["archive"]["url"]
    wanted = {f: facts["archive"] for f, facts in entry["files"].items() if facts.get("archive", {}).get("url") == url}
    packed = partial / "archive"
    _get(url, packed, None, MAX_CONTAINER)  # archives are made anew by the server; the lines are verified instead
    found = {f: {} for f in wanted}
    try:
        with tarfile.open(packed, mode="r|gz") as archive:
            unpacked = 0
            for member in archive:
                unpacked += member.size
                if unpacked > MAX_UNPACKED:
                    raise IntegrityError(f"{url} unpacks to more than {MAX_UNPACKED} bytes")
                folder, _, base = member.name.partition("/")[2].rpartition("/")  # the first folder is repository-commit
                for f, recipe in wanted.items():
                    if member.isreg() and folder == recipe["folder"] and base.endswith(recipe["suffix"]):
                        if member.size > entry["files"][f]["bytes"]:
                            raise IntegrityError(f"{member.name} of {url} is larger than all of the registered {f}")
                        found[f][base] = archive.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise IntegrityError(f"{url} is truncated or damaged ({error})") from error
    for f, recipe in wanted.items():
        _keep(_lines_of(found[f], recipe["form"]), f, entry, partial)
    packed.unlink()


def _lines_of(members, form):
    """One line for each file: "name TAB bytes" in the order of the number that begins the name, or JSON in the order of names."""
    if form == "tsv":
        names = sorted(members, key=lambda name: int(name.partition("_")[0]))
        return b"".join(name.encode() + b"\t" + members[name] + b"\n" for name in names)
    rows = ({"id": name, "text": members[name].decode()} for name in sorted(members))
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


WAYS = {"archive": _from_archive, "parts": _from_parts, "container": _from_container, "url": _from_url}


def where(name, entry):
    """Where all files of a corpus lie, without reading them: "LMLIB_DATA", "cache", "to download" or "by recipe"."""
    data = runtime.data_dir()
    for place, folder in ([("LMLIB_DATA", Path(data) / name)] if data else []) + [("cache", cache_folder(name))]:
        if all(any((folder / form["name"]).is_file() for form in _forms(file, entry)) for file in entry["files"]):
            return place
    return "to download" if all(any(way in facts for way in WAYS) for facts in entry["files"].values()) else "by recipe"
