"""Where corpora come from, against a server on this machine: one verified download, or one clear error and nothing left behind."""

import contextlib
import errno
import gzip
import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from lmlib import errors
from lmlib.text import corpora, fetch
from lmlib.text.corpora import open_corpus

TEXT = "".join(f"line {i} of a small corpus\n" for i in range(2_000)).encode()


def sha(data):
    return hashlib.sha256(data).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        with server.lock:
            server.gets[self.path] += 1
            n = server.gets[self.path]
        time.sleep(server.delay)
        fault, data = server.faults.get(self.path), server.files.get(self.path)
        if data is None or (fault == "busy" and n < 3):
            return self.send_error(404 if data is None else 503)
        self.send_response(200)
        if fault != "no length":
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if fault == "endless":
            with contextlib.suppress(OSError):
                for _ in range(1_000):
                    self.wfile.write(data)
        else:
            self.wfile.write(data[: len(data) // 2] if fault in ("truncated", "no length") else data)
        self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A server of `files`, {"/name": bytes}, that counts what is asked of it; caches and registry are the test's own."""
    http_server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http_server.files, http_server.faults, http_server.gets = {}, {}, Counter()
    http_server.lock, http_server.delay = threading.Lock(), 0
    http_server.url = f"http://127.0.0.1:{http_server.server_port}"
    thread = threading.Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    for name in ("LMLIB_DATA", "LMLIB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("LMLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fetch, "RETRIES", 0)
    yield http_server
    http_server.shutdown()
    thread.join()
    http_server.server_close()


def register(monkeypatch, files, **more):
    entry = {
        "task": "a test", "language": "en", "licence": "none", "read": {"format": "lines"},
        "splits": {"all": {"files": [next(iter(files))]}}, "files": files, **more,
    }  # fmt: skip
    monkeypatch.setattr(corpora, "registry", lambda: {"tiny": entry})
    return entry


def plain(server, data=TEXT):
    """Registry entry of a file at /my.txt."""
    server.files["/my.txt"] = data
    return {"my.txt": {"bytes": len(data), "sha256": sha(data), "url": f"{server.url}/my.txt"}}


def left():
    """Names of the files in the cache, locks aside."""
    folder = fetch.cache_folder("tiny")
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*")) if folder.exists() else []


def test_a_download_is_verified_kept_and_not_repeated(server, monkeypatch):
    register(monkeypatch, plain(server))
    for _ in range(2):
        corpus = open_corpus("tiny")
        assert corpus.text().encode() + b"\n" == TEXT
        assert corpus.sha256 == sha(TEXT)
    assert server.gets["/my.txt"] == 1
    assert left() == ["my.txt"]


def test_a_compressed_file_is_kept_as_it_is_served(server, monkeypatch):
    packed = gzip.compress(TEXT)
    server.files["/a/my.txt.gz"] = packed
    stored = {"name": "my.txt.gz", "bytes": len(packed), "sha256": sha(packed)}
    register(monkeypatch, {"my.txt": {"bytes": len(TEXT), "sha256": sha(TEXT), "stored": stored, "url": f"{server.url}/a/my.txt.gz"}})
    assert open_corpus("tiny").text().encode() + b"\n" == TEXT
    assert left() == ["my.txt.gz"]


def test_four_processes_at_once_cause_one_download(server, monkeypatch, tmp_path):
    server.delay = 0.5
    entry = register(monkeypatch, plain(server))
    (tmp_path / "registry.json").write_text(json.dumps({"tiny": entry}))
    code = (
        "import json, sys; from lmlib.text import corpora; "
        "corpora.registry = lambda: json.load(open(sys.argv[1])); print(corpora.open_corpus('tiny').sha256)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "registry.json")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"LMLIB_JAX_CACHE": "0"}) for _ in range(4)]
    assert [process.communicate(timeout=60)[0].strip() for process in processes] == [sha(TEXT)] * 4
    assert server.gets["/my.txt"] == 1
    assert left() == ["my.txt"]


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        ("truncated", errors.UnavailableError, "could not be downloaded"),
        ("no length", errors.IntegrityError, "is not the registered file"),
        ("endless", errors.IntegrityError, "more than the"),
        ("damaged", errors.IntegrityError, "is not the registered file"),
        ("missing", errors.UnavailableError, "404"),
        ("refused", errors.UnavailableError, "could not be downloaded"),
    ],
)
def test_a_bad_download_is_one_error_and_leaves_nothing(server, monkeypatch, fault, error, says):
    files = plain(server)
    server.faults["/my.txt"] = fault
    if fault == "damaged":
        server.files["/my.txt"] = TEXT[:-1] + b"x"
    if fault == "missing":
        del server.files["/my.txt"]
    if fault == "refused":
        files["my.txt"]["url"] = "http://127.0.0.1:9/my.txt"
    if fault == "endless":
        server.faults["/my.txt"] = "endless"
        server.files["/my.txt"] = TEXT * 50
    register(monkeypatch, files)
    with pytest.raises(error, match=says) as caught:
        open_corpus("tiny")
    assert all(part in str(caught.value) for part in (files["my.txt"]["url"], sha(TEXT), str(fetch.cache_folder("tiny") / "my.txt")))
    assert left() == []


def test_a_busy_server_is_asked_again(server, monkeypatch):
    monkeypatch.setattr(fetch, "RETRIES", 2)
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    server.faults["/my.txt"] = "busy"
    register(monkeypatch, plain(server))
    assert open_corpus("tiny").sha256 == sha(TEXT)
    assert server.gets["/my.txt"] == 3


def zipped(members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def test_a_container_is_read_by_exact_names_and_escapes_nowhere(server, monkeypatch, tmp_path):
    packed = zipped({"../../../evil.txt": b"x", "/evil.txt": b"x", "in/my.txt": TEXT, "in/other.txt": b"b\n", "my.txt": b"wrong"})
    server.files["/a.zip"] = packed
    container = {"url": f"{server.url}/a.zip", "sha256": sha(packed)}
    register(
        monkeypatch,
        {
            "my.txt": {"bytes": len(TEXT), "sha256": sha(TEXT), "container": container | {"member": "in/my.txt"}},
            "b.txt": {"bytes": 2, "sha256": sha(b"b\n"), "container": container | {"member": "in/other.txt"}},
        },
    )
    assert open_corpus("tiny").sha256 == sha(TEXT)
    assert corpora.read_text("tiny", "b.txt") == "b\n"
    assert server.gets["/a.zip"] == 1  # one container serves both
    assert left() == ["b.txt", "my.txt"]
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("member", [TEXT[:-1], TEXT + b"x" * 10_000_000, None])
def test_a_member_that_is_not_the_registered_one_is_an_error(server, monkeypatch, member):
    """Truncated; a bomb, of which no more than the registered size is unpacked; not there."""
    packed = zipped({} if member is None else {"my.txt": member})
    server.files["/a.zip"] = packed
    container = {"url": f"{server.url}/a.zip", "sha256": sha(packed), "member": "my.txt"}
    register(monkeypatch, {"my.txt": {"bytes": len(TEXT), "sha256": sha(TEXT), "container": container}})
    with pytest.raises(errors.IntegrityError, match=r"my\.txt"):
        open_corpus("tiny")
    assert left() == []


def test_the_first_lines_of_a_file(server, monkeypatch):
    server.files["/long.txt"] = TEXT + b"and\nmore"
    container = {"url": f"{server.url}/long.txt", "sha256": sha(TEXT + b"and\nmore"), "lines": 2_000}
    register(monkeypatch, {"my.txt": {"bytes": len(TEXT), "sha256": sha(TEXT), "container": container}})
    assert open_corpus("tiny").sha256 == sha(TEXT)
    assert left() == ["my.txt"]


def test_parts_are_verified_one_by_one_and_joined(server, monkeypatch):
    half = len(TEXT) // 2
    server.files |= {"/p_00": TEXT[:half], "/p_01": TEXT[half:]}
    members = [["00", half, sha(TEXT[:half])], ["01", len(TEXT) - half, sha(TEXT[half:])]]
    parts = {"url": f"{server.url}/p_{{}}", "form": "joined", "members": members}
    register(monkeypatch, {"my.txt": {"bytes": len(TEXT), "sha256": sha(TEXT), "parts": parts}}, repackaged="join them")
    server.faults["/p_01"] = "no length"
    with pytest.raises(errors.IntegrityError, match=r"/p_01 is not the registered file.*\n.*\nRecipe: join them"):
        open_corpus("tiny")
    assert left() == []
    server.faults.clear()
    assert open_corpus("tiny").sha256 == sha(TEXT)
    assert left() == ["my.txt"]


def test_an_archive_gives_lines_and_escapes_nowhere(server, monkeypatch, tmp_path):
    """Links, parents and other folders are passed by; the lines follow the numbers in the names."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in {"r-1/d/10_2.txt": b"ten\there", "r-1/d/9_1.txt": b"nine", "r-1/e/1_1.txt": b"x", "../d/3_3.txt": b"x"}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("r-1/d/11_1.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    server.files["/r.tar.gz"] = out.getvalue()
    want = b"3_3.txt\tx\n9_1.txt\tnine\n10_2.txt\tten\there\n"
    recipe = {"url": f"{server.url}/r.tar.gz", "folder": "d", "suffix": ".txt", "form": "tsv"}
    register(monkeypatch, {"my.tsv": {"bytes": len(want), "sha256": sha(want), "archive": recipe}})
    assert open_corpus("tiny").sha256 == sha(want)
    assert left() == ["my.tsv"]
    assert not list(tmp_path.rglob("3_3*"))

    (fetch.cache_folder("tiny") / "my.tsv").unlink()
    server.files["/r.tar.gz"] = out.getvalue()[: len(out.getvalue()) // 2]
    with pytest.raises(errors.IntegrityError):
        open_corpus("tiny")
    assert left() == []


def test_a_second_way_is_tried_when_the_first_fails(server, monkeypatch):
    files = plain(server)
    packed = server.files["/bad.zip"] = zipped({"my.txt": b"wrong"})
    for url, sha256 in (("/gone.zip", "0" * 64), ("/bad.zip", sha(packed))):
        files["my.txt"]["container"] = {"url": server.url + url, "sha256": sha256, "member": "my.txt"}
        register(monkeypatch, files)
        assert open_corpus("tiny").sha256 == sha(TEXT)
        assert left() == ["my.txt"]
        (fetch.cache_folder("tiny") / "my.txt").unlink()


def test_offline_says_what_to_put_where(server, monkeypatch, tmp_path):
    files = plain(server)
    files["my.txt"]["stored"] = {"name": "my.txt.gz", "bytes": 1_234, "sha256": "f" * 64}
    register(monkeypatch, files)
    monkeypatch.setenv("LMLIB_OFFLINE", "1")
    with pytest.raises(errors.UnavailableError) as caught:
        open_corpus("tiny")
    message = str(caught.value)
    assert all(part in message for part in ("LMLIB_OFFLINE=1", f"{server.url}/my.txt", sha(TEXT), "f" * 64, "LMLIB_DATA"))
    place = next(word for word in message.split() if word.endswith("my.txt") and word.startswith(str(tmp_path)))
    Path(place).parent.mkdir(parents=True)
    Path(place).write_bytes(TEXT)  # doing what it says helps
    assert open_corpus("tiny").sha256 == sha(TEXT)
    assert not server.gets


def test_a_corpus_with_no_download_says_its_recipe(server, monkeypatch):
    register(monkeypatch, {"my.npz": {"bytes": 3, "sha256": "e" * 64}}, repackaged="make it yourself")
    with pytest.raises(errors.UnavailableError, match=r"(?s)no download.*make it yourself.*e{64}"):
        open_corpus("tiny")


@pytest.mark.parametrize("compressed", [True, False])
def test_lmlib_data_comes_first_and_must_be_sound(server, monkeypatch, tmp_path, compressed):
    packed = gzip.compress(TEXT)
    files = plain(server)
    files["my.txt"]["stored"] = {"name": "my.txt.gz", "bytes": len(packed), "sha256": sha(packed)}
    register(monkeypatch, files)
    monkeypatch.setenv("LMLIB_DATA", str(tmp_path / "data"))
    with pytest.raises(errors.UnavailableError, match=r"LMLIB_DATA is set to .* no folder"):
        open_corpus("tiny")
    path = tmp_path / "data" / "tiny" / ("my.txt.gz" if compressed else "my.txt")
    path.parent.mkdir(parents=True)
    path.write_bytes(packed if compressed else TEXT)
    assert open_corpus("tiny").text().encode() + b"\n" == TEXT
    for damage in (path.read_bytes()[:-1], path.read_bytes()[:-1] + b"x"):
        path.write_bytes(damage)
        with pytest.raises(errors.IntegrityError, match=r"data/tiny/my.txt.* damaged"):
            open_corpus("tiny")
    assert not server.gets


def test_a_damaged_cache_is_fetched_again(server, monkeypatch):
    register(monkeypatch, plain(server))
    open_corpus("tiny")
    path = fetch.cache_folder("tiny") / "my.txt"
    path.write_bytes(TEXT[:100])
    with pytest.warns(UserWarning, match="damaged"):
        assert open_corpus("tiny").text().encode() + b"\n" == TEXT
    assert server.gets["/my.txt"] == 2


def test_what_a_killed_download_left_is_swept_away(server, monkeypatch):
    register(monkeypatch, plain(server))
    partial = fetch.cache_folder("tiny") / ".partial"
    partial.mkdir(parents=True)
    (partial / "my.txt").write_bytes(b"half")
    open_corpus("tiny")
    assert left() == ["my.txt"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("where", ["mkdir", "download", "replace"])
def test_a_full_or_read_only_disk_is_a_storage_error(server, monkeypatch, code, where):
    """The system's errors are raised by hand, since tests may run as a user who may write everywhere."""

    def fail(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    register(monkeypatch, plain(server))
    target = {"mkdir": "pathlib.Path.mkdir", "download": "pooch.HTTPDownloader.__call__", "replace": "os.replace"}[where]
    with monkeypatch.context() as patch:
        import pooch  # noqa: F401  imported before the patch

        patch.setattr(target, fail)
        with pytest.raises(errors.StorageError, match="cannot write"):
            open_corpus("tiny")
    assert left() == []
    assert open_corpus("tiny").sha256 == sha(TEXT)
