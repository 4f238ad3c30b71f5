"""Finding and downloading published files."""

import gzip
import hashlib
import io
import urllib.error
import zipfile

import pytest

from auditkit.data.published import PublishedFile, differences, locate, open_https
from auditkit.errors import DataError

CONTENT = b"a,b\n1,2\n"
PLAIN = PublishedFile("toy", "toy.csv", hashlib.sha256(CONTENT).hexdigest(), "https://data.example/toy.csv")
PACKED = PublishedFile("toy", "toy.csv.gz", PLAIN.sha256, "https://data.example/toy.csv.gz")
IN_ARCHIVE = PublishedFile("toy", "toy.csv", PLAIN.sha256, "https://data.example/toy.zip", "toy.csv")


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No data folder of the user, and an empty cache."""
    monkeypatch.delenv("AUDITKIT_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def serving(content):
    def open_url(url):
        return io.BytesIO(content)

    return open_url


def refusing(url):
    raise AssertionError(f"asked for {url}")


def archive(**members) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made:
        for name, content in members.items():
            made.writestr(name.replace("_", "."), content)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("file", "served"),
    [
        (PLAIN, CONTENT),
        (PACKED, gzip.compress(CONTENT, mtime=0)),
        (IN_ARCHIVE, archive(toy_csv=CONTENT)),
    ],
)
def test_a_download_is_checked_kept_and_not_fetched_again(nowhere, file, served):
    path = locate(file, open_url=serving(served))
    assert path == nowhere / "cache" / "auditkit" / "toy" / file.name
    assert [entry.name for entry in path.parent.iterdir()] == [file.name]
    assert locate(file, open_url=refusing) == path


def test_the_folder_of_the_user_comes_first_packed_or_plain(nowhere, monkeypatch):
    monkeypatch.setenv("AUDITKIT_DATA", str(nowhere / "own"))
    (nowhere / "own" / "toy").mkdir(parents=True)
    plain = nowhere / "own" / "toy" / "toy.csv"
    plain.write_bytes(CONTENT)
    assert locate(PACKED, open_url=refusing) == plain


@pytest.mark.parametrize("served", [b"something else", b""])
def test_another_content_is_refused_and_not_kept(nowhere, served):
    with pytest.raises(DataError, match="other content than expected") as caught:
        locate(PLAIN, open_url=serving(served))
    assert PLAIN.sha256 in str(caught.value)
    assert not list((nowhere / "cache").rglob("*.csv"))


@pytest.mark.parametrize("file", [PACKED, IN_ARCHIVE])
def test_a_damaged_archive_is_refused(nowhere, file):
    with pytest.raises(DataError, match="could not be downloaded"):
        locate(file, open_url=serving(b"not an archive"))


def test_offline_the_address_and_the_variable_are_named(nowhere):
    def offline(url):
        raise urllib.error.URLError("no route to host")

    with pytest.raises(DataError) as caught:
        locate(PLAIN, open_url=offline)
    assert PLAIN.url in str(caught.value)
    assert "AUDITKIT_DATA" in str(caught.value)
    assert "no route to host" in str(caught.value)


def test_only_https_is_opened():
    with pytest.raises(ValueError, match="not an https address"):
        open_https("file:///etc/hosts")


def test_a_file_that_differs_from_the_published_one_is_stated(tmp_path):
    path = tmp_path / "toy.csv"
    path.write_bytes(CONTENT)
    assert differences([(PLAIN, path)]) == ()
    path.write_bytes(CONTENT + b"3,4\n")
    (statement,) = differences([(PLAIN, path)])
    assert str(statement).startswith("toy.csv differs from the published toy data")
