"""Fetching: checksums, archives, and files that are there already."""

import gzip
import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from antiphon.errors import UserError
from antiphon.recipes.fetch import fetch, text
from antiphon.recipes.recipe import File

LINES = "".join(f"{a} {b}\n" for a in ("red", "blue", "green") for b in ("old", "new"))
SHA256 = hashlib.sha256(LINES.encode()).hexdigest()


class Server(SimpleHTTPRequestHandler):
    """Serves a folder, and notes what was asked for."""

    asked: list[str]

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        self.asked.append(self.path)

    def log_error(self, format: str, *args: object) -> None:
        pass


class Site:
    """A folder that is served over HTTP."""

    def __init__(self, folder: Path, url: str, asked: list[str]) -> None:
        self.folder, self.url, self.asked = folder, url, asked

    def file(self, name: str, **more: object) -> File:
        return File.model_validate({"url": f"{self.url}/{name}", "sha256": SHA256, "local": f"words/{name}"} | more)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.delenv("ANTIPHON_DATA", raising=False)
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "all.txt.gz").write_bytes(gzip.compress(LINES.encode()))
    (folder / "other.txt").write_text("another text\n", encoding="utf-8")
    (folder / "broken.txt.gz").write_bytes((folder / "all.txt.gz").read_bytes()[:-12])
    asked: list[str] = []
    handler = type("Handler", (Server,), {"asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Site(folder, f"http://127.0.0.1:{server.server_address[1]}", asked)
        server.shutdown()
        thread.join()


def get(tmp_path: Path, name: str, file: File) -> Path:
    return fetch(name, file, tmp_path / "data", tmp_path / "downloads")


def test_the_local_folder_comes_before_the_network(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = tmp_path / "corpora" / "words" / "all.txt.gz"
    local.parent.mkdir(parents=True)
    local.write_bytes((site.folder / "all.txt.gz").read_bytes())
    monkeypatch.setenv("ANTIPHON_DATA", str(tmp_path / "corpora"))
    assert text(get(tmp_path, "all.txt.gz", site.file("all.txt.gz"))) == LINES and not site.asked


def test_a_file_is_downloaded_once(site: Site, tmp_path: Path) -> None:
    for _ in range(2):
        assert text(get(tmp_path, "all.txt.gz", site.file("all.txt.gz"))) == LINES
    assert site.asked == ["/all.txt.gz"]


def test_a_damaged_file_is_fetched_again(site: Site, tmp_path: Path) -> None:
    path = get(tmp_path, "all.txt.gz", site.file("all.txt.gz"))
    path.write_bytes((site.folder / "broken.txt.gz").read_bytes())
    assert text(get(tmp_path, "all.txt.gz", site.file("all.txt.gz"))) == LINES


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("other.txt", r"words: its text has the checksum .* another version of the corpus"),
        ("broken.txt.gz", r"words: cannot be unpacked"),
        ("missing.txt", r"missing\.txt: cannot be downloaded: .* ANTIPHON_DATA"),
    ],
)
def test_what_cannot_be_had_is_said_and_leaves_nothing(site: Site, tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        get(tmp_path, "words", site.file(name))
    assert list((tmp_path / "data").iterdir()) == []


def test_a_file_without_an_address_is_asked_for(site: Site, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"words: no official address has this file; put it at .* ANTIPHON_DATA"):
        get(tmp_path, "words", site.file("all.txt.gz", url=""))
    assert list((tmp_path / "data").iterdir()) == []


def test_one_column_of_a_file(site: Site, tmp_path: Path) -> None:
    table = "".join(f"{line}\t{number}\n" for number, line in enumerate(LINES.splitlines()))
    (site.folder / "table.txt").write_text(table, encoding="utf-8", newline="\n")
    assert text(get(tmp_path, "words", site.file("table.txt", column=1))) == LINES


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_files_of_an_archive_need_one_download(kind: str, site: Site, tmp_path: Path) -> None:
    """A member is written to its own place, whatever path the archive gives it."""
    archive = site.folder / f"words.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as zipped:
            zipped.writestr("../words/all.txt", LINES)
    else:
        with tarfile.open(archive, "w:gz") as tar:
            info = tarfile.TarInfo("../words/all.txt")
            info.size = len(LINES)
            tar.addfile(info, io.BytesIO(LINES.encode()))
    for name in ("first", "second"):
        assert text(get(tmp_path, name, site.file(archive.name, member="../words/all.txt"))) == LINES
    assert site.asked == [f"/{archive.name}"]
    with pytest.raises(UserError, match="no file other in it"):
        get(tmp_path, "third", site.file(archive.name, member="other"))
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["first", "second"]


def test_many_small_files_of_an_archive_become_one(site: Site, tmp_path: Path) -> None:
    with zipfile.ZipFile(site.folder / "words.zip", "w") as zipped:
        for number, line in enumerate(LINES.splitlines(keepends=True)):
            zipped.writestr(f"words/{number}.txt", line)

    def pack(archive: Path, folder: str, out: Path) -> None:
        with zipfile.ZipFile(archive) as zipped:
            out.write_bytes(b"".join(zipped.read(name) for name in zipped.namelist() if name.startswith(folder)))

    file = site.file("words.zip", member="words/")
    assert text(fetch("all.txt", file, tmp_path / "data", tmp_path / "downloads", pack)) == LINES
