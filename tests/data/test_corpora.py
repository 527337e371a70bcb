"""Corpora are found under $AUDIOREC_DATA, unpacked once, and a message says what to put where."""

import tarfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from audiorec.data.corpora import download, find_corpus
from audiorec.errors import UserError


def test_folder_archive_and_nothing(tmp_path, monkeypatch):
    home, cache = tmp_path / "home", tmp_path / "cache"
    monkeypatch.setenv("AUDIOREC_DATA", str(home))
    with pytest.raises(UserError, match=r"corpus tiny: neither .*tiny nor .*tiny\.tar"):
        find_corpus("tiny", cache)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "a.txt").write_text("a")
    home.mkdir()
    with tarfile.open(home / "tiny.tar", "w") as tar:
        tar.add(tmp_path / "tiny", "tiny")
    found = find_corpus("tiny", cache)
    assert (found / "a.txt").read_text() == "a" and [p.name for p in cache.iterdir()] == ["tiny"]
    (home / "tiny.tar").unlink()
    assert find_corpus("tiny", cache) == found  # unpacked once
    (home / "tiny").mkdir()
    assert find_corpus("tiny", cache) == home / "tiny"
    (home / "torn.tar").write_bytes(b"not a tar")
    with pytest.raises(UserError, match=r"torn\.tar: not a tar archive"):
        find_corpus("torn", cache)
    monkeypatch.delenv("AUDIOREC_DATA")
    assert find_corpus("tiny", cache) == found
    with pytest.raises(UserError, match="corpus torn: set AUDIOREC_DATA"):
        find_corpus("torn", cache)


CONTENT = bytes(range(256)) * 20_000


class Home(BaseHTTPRequestHandler):
    """Sends CONTENT, from where it is asked to; /cut ends early, /whole knows no ranges."""

    def do_GET(self):
        asked = self.headers.get("Range")
        start = int(asked[6:-1]) if asked and self.path != "/whole" else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.server.sent.append(start)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start : 3_000_000 if self.path == "/cut" else None])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with HTTPServer(("127.0.0.1", 0), Home) as server:
        server.sent = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_download_that_was_cut_off_goes_on_where_it_ended(server, tmp_path):
    url, path = f"http://127.0.0.1:{server.server_port}", tmp_path / "a.tar"
    with pytest.raises(OSError, match="the connection ended after 2 of 4 MB"):
        download(f"{url}/cut", path)
    assert not path.exists()
    download(f"{url}/rest", path)
    assert path.read_bytes() == CONTENT and server.sent == [0, 3_000_000]
    assert [file.name for file in tmp_path.iterdir()] == ["a.tar"]


def test_a_download_begins_anew_where_the_server_knows_no_ranges_and_ends_where_all_is_there(server, tmp_path):
    url, path, part = f"http://127.0.0.1:{server.server_port}", tmp_path / "a.tar", tmp_path / "a.tar.part"
    part.write_bytes(b"other bytes")
    download(f"{url}/whole", path)
    assert path.read_bytes() == CONTENT
    part.write_bytes(CONTENT)
    download(f"{url}/rest", path)
    assert path.read_bytes() == CONTENT and server.sent == [0]
    with pytest.raises(OSError):
        download(f"http://127.0.0.1:{server.server_port + 1 if server.server_port < 65535 else 1}/none", path)
