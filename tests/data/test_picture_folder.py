"""Folders of pictures: every format and size comes out alike; what is damaged or hostile is named."""

import os
import struct
import sys
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from auditkit.data.picture_file import read_grey
from auditkit.data.picture_folder import (
    MOST_PICTURES,
    picture_paths,
    read_picture_folder,
    sha256_of_pictures,
)
from auditkit.errors import DataError, UsageError

GREY = np.random.default_rng(0).integers(0, 256, (8, 6), dtype=np.uint8)


def packed(array, kind="PNG", **options):
    stream = BytesIO()
    Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def huge_png(side):
    """A header that promises many pixels, and next to none behind it."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def animated():
    stream = BytesIO()
    first, second = Image.fromarray(GREY), Image.fromarray(255 - GREY)
    first.save(stream, "PNG", save_all=True, append_images=[second])
    return stream.getvalue()


def with_alpha(alpha):
    return packed(np.dstack([GREY] * 3 + [np.full_like(GREY, alpha)]))


# --- what comes out ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.png", packed(GREY)),
        ("a.PNG", packed(np.dstack([GREY] * 3))),
        ("a.png", with_alpha(255)),
        ("a.bmp", packed(GREY, "BMP")),
        ("a.webp", packed(np.dstack([GREY] * 3), "WEBP", lossless=True)),
    ],
)
def test_grey_pictures_of_the_size_of_the_model_come_out_as_they_are(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    found = read_picture_folder(tmp_path, height=8, width=6)
    assert found.dtype == np.uint8
    assert np.array_equal(found, GREY[None])


def test_a_jpeg_of_one_grey_is_that_grey(tmp_path):
    (tmp_path / "a.jpeg").write_bytes(packed(np.full((8, 6), 77, dtype=np.uint8), "JPEG"))
    assert (read_grey(tmp_path / "a.jpeg", height=8, width=6) == 77).all()


def test_of_a_photograph_with_a_preview_behind_it_the_photograph_is_read(tmp_path):
    photograph, preview = Image.new("L", (6, 8), 77), Image.new("L", (3, 4), 10)
    photograph.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[preview])
    assert (read_grey(tmp_path / "a.jpg", height=8, width=6) == 77).all()


def test_colours_become_their_luma(tmp_path):
    (tmp_path / "a.png").write_bytes(packed(np.full((2, 2, 3), (200, 100, 50), dtype=np.uint8)))
    expected = 0.299 * 200 + 0.587 * 100 + 0.114 * 50
    assert read_grey(tmp_path / "a.png", height=2, width=2) == pytest.approx(expected, abs=1)


def test_a_larger_picture_is_the_mean_of_its_blocks(tmp_path):
    (tmp_path / "a.png").write_bytes(packed(GREY.repeat(3, axis=0).repeat(3, axis=1)))
    assert np.array_equal(read_grey(tmp_path / "a.png", height=8, width=6), GREY)


def test_a_picture_of_another_shape_is_cut_in_the_middle(tmp_path):
    beside = np.zeros((8, 3), dtype=np.uint8)
    (tmp_path / "a.png").write_bytes(packed(np.hstack([beside, GREY, beside])))
    assert np.array_equal(read_grey(tmp_path / "a.png", height=8, width=6), GREY)


def test_the_direction_that_a_camera_noted_is_obeyed(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    (tmp_path / "a.png").write_bytes(packed(np.rot90(GREY).copy(), exif=exif))
    assert np.array_equal(read_grey(tmp_path / "a.png", height=8, width=6), GREY)


def test_pictures_stand_in_the_order_of_their_names_and_files_of_systems_are_passed_over(tmp_path):
    for name, grey in (("b.png", GREY), ("a.png", 255 - GREY)):
        (tmp_path / name).write_bytes(packed(grey))
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / name).write_bytes(b"\0")
    assert np.array_equal(read_picture_folder(tmp_path, height=8, width=6), [255 - GREY, GREY])


def test_the_digest_is_that_of_names_and_contents(tmp_path):
    (tmp_path / "a.png").write_bytes(packed(GREY))
    first = sha256_of_pictures(tmp_path)
    (tmp_path / ".DS_Store").write_bytes(b"\0")
    assert sha256_of_pictures(tmp_path) == first
    (tmp_path / "a.png").rename(tmp_path / "b.png")
    renamed = sha256_of_pictures(tmp_path)
    (tmp_path / "b.png").write_bytes(packed(255 - GREY))
    assert len({first, renamed, sha256_of_pictures(tmp_path)}) == 3


# --- what is refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is damaged or no PNG"),
        (b"hello", "is damaged or no PNG"),
        (packed(GREY)[:-20], "is damaged"),
        (packed(GREY)[:-13] + b"\0" + packed(GREY)[-12:], "is damaged"),
        (packed(GREY, "JPEG")[:-30], "is damaged"),
        (packed(GREY, "GIF"), "no PNG/JPEG/WEBP/BMP picture"),
        (packed(GREY, "TIFF"), "no PNG/JPEG/WEBP/BMP picture"),
        (huge_png(10_000), "10000 by 10000 pixels, at most 40,000,000"),
        (huge_png(60_000), "decompression bomb"),
        (animated(), "is animated"),
        (with_alpha(254), "transparent in places"),
        (packed(GREY.astype(np.uint16) * 200), "8 bits per channel"),
    ],
)
def test_a_file_that_is_no_plain_picture_is_named_with_what_is_wrong(tmp_path, content, said):
    (tmp_path / "wrong.png").write_bytes(content)
    (tmp_path / "fine.png").write_bytes(packed(GREY))
    with pytest.raises(DataError, match=r"1 of 2 files cannot be used: 'wrong\.png' ") as caught:
        read_picture_folder(tmp_path, height=8, width=6)
    assert said in str(caught.value)


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    with (tmp_path / "large.png").open("wb") as stream:
        stream.truncate(65 * 2**20)
    with pytest.raises(DataError, match="larger than 64 MiB"):
        read_picture_folder(tmp_path, height=8, width=6)


def test_whatever_is_no_picture_is_named_before_anything_is_opened(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    (tmp_path / "outside.png").write_bytes(packed(GREY))
    (folder / "inside.png").write_bytes(packed(GREY))
    (folder / "a.png").symlink_to(folder / "inside.png")
    (folder / "b.png").symlink_to(tmp_path / "outside.png")
    (folder / "c").mkdir()
    (folder / "d.txt").write_text("x")
    os.mkfifo(folder / "e.png")
    with pytest.raises(DataError) as caught:
        picture_paths(folder)
    text = str(caught.value)
    assert "4 of 6 files cannot be used" in text
    for named in (
        "'b.png' is a link out",
        "'c' is a folder",
        "'d.txt' does not end in",
        "'e.png' is no file",
    ):
        assert named in text


def test_without_pillow_it_is_named_and_no_file_is_blamed(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(packed(GREY))
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(UsageError, match="pip install pillow") as caught:
        read_picture_folder(tmp_path, height=8, width=6)
    assert not isinstance(caught.value, DataError)


def test_a_name_cannot_write_to_the_terminal(tmp_path):
    (tmp_path / "\x1b[2Ja.png").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        read_picture_folder(tmp_path, height=8, width=6)
    assert "\x1b" not in str(caught.value)


def test_of_many_problems_the_first_are_named_and_the_others_counted(tmp_path):
    for index in range(8):
        (tmp_path / f"{index}.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"8 of 8 .*'4\.png'.*; and 3 more"):
        read_picture_folder(tmp_path, height=8, width=6)


def test_a_folder_without_pictures_and_one_with_too_many_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"no pictures in this folder; put \.png"):
        picture_paths(tmp_path)
    for index in range(MOST_PICTURES + 1):
        (tmp_path / f"{index}.png").touch()
    with pytest.raises(DataError, match="more than 5,000 files"):
        picture_paths(tmp_path)
