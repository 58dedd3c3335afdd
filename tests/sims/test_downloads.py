"""Downloads are whole, remembered by checksum, resumed, and safe among processes."""

import hashlib
import multiprocessing
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cmbml.sims import downloads
from cmbml.sims.downloads import DownloadError, Library

NAME = "pysm_2/template.bin"
CONTENT = bytes(range(256)) * 4096
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Site:
    """A server on loopback that counts requests, knows ranges, and can break off half-way."""

    def __init__(self):
        self.requests: list[str | None] = []
        self.break_after: int | None = None
        self.etag = '"one"'
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                asked = self.headers.get("Range")
                site.requests.append(asked)
                if self.path != f"/data/{NAME}":
                    self.send_error(404)
                    return
                same = asked is not None and self.headers.get("If-Range") == site.etag
                begin = int(asked.removeprefix("bytes=").rstrip("-")) if same else 0
                if begin >= len(CONTENT):
                    self.send_error(416)
                    return
                self.send_response(206 if same else 200)
                self.send_header("Content-Length", str(len(CONTENT) - begin))
                self.send_header("ETag", site.etag)
                self.end_headers()
                end = len(CONTENT) if site.break_after is None else begin + site.break_after
                self.wfile.write(CONTENT[begin:end])

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}/data/"


@pytest.fixture
def site():
    site = Site()
    yield site
    site.server.shutdown()
    site.server.server_close()


@pytest.fixture(autouse=True)
def fresh_process():
    downloads._verified.clear()


def test_the_checksum_is_recorded_at_first_use_and_nothing_is_fetched_twice(site, tmp_path):
    library = Library(tmp_path, site.url)
    path = library.get(NAME)
    assert path.read_bytes() == CONTENT
    assert library.recorded() == {NAME: DIGEST}
    assert library.get(NAME) == path
    assert len(site.requests) == 1
    assert sorted(p.name for p in path.parent.iterdir()) == ["template.bin"]


def test_a_changed_file_is_found_out_in_the_next_process(site, tmp_path):
    library = Library(tmp_path, site.url)
    path = library.get(NAME)
    downloads._verified.clear()
    path.write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(DownloadError, match=rf"template.bin has changed.*{DIGEST}.*Delete the file") as failure:
        library.get(NAME)
    assert "SHA256SUMS" in str(failure.value)


def test_an_interrupted_download_leaves_no_file_and_goes_on_where_it_stopped(site, tmp_path):
    library = Library(tmp_path, site.url, retries=0)
    site.break_after = 300_000
    with pytest.raises(DownloadError, match="the connection broke after 300000 of 1048576 bytes"):
        library.get(NAME)
    assert not (tmp_path / NAME).exists()
    assert library.recorded() == {}
    site.break_after = None
    assert library.get(NAME).read_bytes() == CONTENT
    assert site.requests == [None, "bytes=300000-"]


def test_a_broken_connection_is_taken_up_again_unasked(site, tmp_path):
    site.break_after = 400_000
    assert Library(tmp_path, site.url, retries=3).get(NAME).read_bytes() == CONTENT
    assert site.requests == [None, "bytes=400000-", "bytes=800000-"]


def test_a_file_that_changed_on_the_site_is_not_patched_together(site, tmp_path):
    library = Library(tmp_path, site.url, retries=0)
    part = tmp_path / (NAME + ".part")
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)
    part.with_name(part.name + ".tag").write_text('"zero"')
    assert library.get(NAME).read_bytes() == CONTENT


def test_a_part_that_is_complete_already_is_not_an_obstacle(site, tmp_path):
    part = tmp_path / (NAME + ".part")
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT)
    part.with_name(part.name + ".tag").write_text(site.etag)
    assert Library(tmp_path, site.url).get(NAME).read_bytes() == CONTENT


def _get(folder, url, queue):
    queue.put(hashlib.sha256(Library(Path(folder), url).get(NAME).read_bytes()).hexdigest())


def test_many_processes_at_once_fetch_once(site, tmp_path):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=_get, args=(str(tmp_path), site.url, queue)) for _ in range(6)]
    for worker in workers:
        worker.start()
    digests = [queue.get(timeout=30) for _ in workers]
    for worker in workers:
        worker.join()
    assert digests == [DIGEST] * 6
    assert len(site.requests) == 1
    assert Library(tmp_path, site.url).recorded() == {NAME: DIGEST}


def test_a_mirror_is_asked_before_the_site(site, tmp_path):
    mirror = tmp_path / "mirror"
    (mirror / NAME).parent.mkdir(parents=True)
    (mirror / NAME).write_bytes(CONTENT)
    library = Library(tmp_path / "cache", site.url, mirror=mirror)
    assert library.has(NAME)
    assert library.get(NAME).read_bytes() == CONTENT
    assert site.requests == []
    shutil.rmtree(mirror)
    assert library.get(NAME).read_bytes() == CONTENT


def test_a_file_that_cannot_be_had_names_the_file_the_address_and_the_mends(site, tmp_path):
    library = Library(tmp_path, site.url)
    with pytest.raises(DownloadError, match=r"404") as failure:
        library.get("pysm_2/nowhere.fits")
    message = str(failure.value)
    for part in ("pysm_2/nowhere.fits", site.url + "pysm_2/nowhere.fits", "mirror=", "data_folder=", "sky=embedded"):
        assert part in message
    with pytest.raises(DownloadError, match="switched off"):
        Library(tmp_path, site.url, download=False).get(NAME)
    with pytest.raises(DownloadError, match="refused"):
        Library(tmp_path, "http://127.0.0.1:9/", retries=0).get(NAME)


def test_the_record_is_what_sha256sum_reads(site, tmp_path):
    Library(tmp_path, site.url).get(NAME)
    assert (tmp_path / "SHA256SUMS").read_text() == f"{DIGEST}  {NAME}\n"


def test_a_folder_that_cannot_be_written_is_named(site, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(DownloadError, match=r"cannot keep .* Set cache_folder"):
        Library(blocked / "cache", site.url).get(NAME)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
