"""The reader gives back what a writer put in, whatever the geometry; what no importer takes is refused."""

import io
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocifree_pipeline.sandbox.disks.qcow2 import Qcow2 as SandboxReader
from ocifree_pipeline.systems.images.disk import Unreadable, UnusableImage
from ocifree_pipeline.systems.images.qcow2 import Qcow2, read_header
from ocifree_pipeline_tests.systems.images.disks import qcow2


def reader(image: bytes) -> Qcow2:
    file = io.BytesIO(image)
    return Qcow2(file, read_header(file, "disk"), "disk")


@st.composite
def geometries(draw: st.DrawFn) -> tuple[dict[int, bytes], dict[str, object]]:
    bits = draw(st.integers(9, 13))
    clusters = draw(st.integers(1, 3 * (1 << bits) // 8))
    numbers = st.integers(0, clusters - 1)
    disk = draw(st.dictionaries(numbers, st.binary(min_size=1, max_size=1 << bits), max_size=6))
    packed = frozenset(draw(st.sets(st.sampled_from(sorted(disk))))) if disk else frozenset()
    zeros = draw(st.frozensets(numbers, max_size=2)) - disk.keys()
    options = {"bits": bits, "version": draw(st.sampled_from([2, 3])), "packed": packed, "zeros": zeros}
    return disk, {"size": clusters << bits, **options}


@given(geometries(), st.data())
@settings(max_examples=150, deadline=None)
def test_any_range_reads_as_it_was_written(geometry, data):
    disk, options = geometry
    if options["version"] == 2:
        options["zeros"] = frozenset()
    image = qcow2(disk, **options)
    size, bits = options["size"], options["bits"]
    near = data.draw(st.sampled_from([0, *(number << bits for number in disk)]))
    offset = max(0, near + data.draw(st.integers(-600, 600)))
    length = data.draw(st.integers(0, 3 << bits))
    whole = bytearray(offset + length + size)
    for number, content in disk.items():
        whole[number << bits : (number << bits) + len(content)] = content
    assert reader(image).read(offset, length) == bytes(whole[offset : offset + length])
    assert reader(image).size == size
    assert SandboxReader(io.BytesIO(image)).read(offset, length) == bytes(whole[offset : offset + length])


GOOD = qcow2({0: b"boot", 5: b"data"}, 1 << 20, packed=frozenset({5}))


def changed(at: int, form: str, value: int) -> bytes:
    image = bytearray(GOOD)
    struct.pack_into(form, image, at, value)
    return bytes(image)


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (b"", "ends at byte 0"),
        (GOOD[:60], "ends at byte 60"),
        (GOOD[:80], "in the middle of what describes the rest"),
        (b"QFI\xfa" + GOOD[4:], "qcow2 magic"),
        (changed(4, ">I", 1), "version is 1"),
        (changed(8, ">Q", 512), "backing file"),
        (changed(32, ">I", 1), "encrypted"),
        (changed(20, ">I", 8), r"2\^8 bytes"),
        (changed(20, ">I", 40), r"2\^40 bytes"),
        (changed(24, ">Q", 1 << 50), "needs"),
        (changed(36, ">I", 0xFFFFFFFF), "first table"),
        (changed(72, ">Q", 1), "not closed properly"),
        (changed(72, ">Q", 2), "corrupt"),
        (changed(72, ">Q", 4), "another file"),
        (changed(72, ">Q", 16), "subclusters"),
    ],
)
def test_what_no_importer_takes_is_refused(image, why):
    with pytest.raises(UnusableImage) as caught:
        read_header(io.BytesIO(image), "disk")
    import re

    assert re.search(why, caught.value.why), caught.value.why
    assert "qemu-img" in caught.value.fix


def test_tables_that_point_nowhere_are_refused():
    image = GOOD[: 3 << 16]
    with pytest.raises(UnusableImage, match="not a usable qcow2"):
        reader(image).read(0, 4)


def test_a_packed_cluster_that_is_garbage_is_refused():
    image = bytearray(GOOD)
    image[-2 << 16 :] = b"\xff" * (2 << 16)  # behind it is only the table of references
    with pytest.raises(UnusableImage):
        reader(bytes(image)).read(5 << 16, 4)


def test_zstd_is_said_to_be_unreadable_and_not_called_broken():
    image = bytearray(changed(72, ">Q", 8))
    struct.pack_into(">I", image, 100, 112)
    image[104] = 1
    with pytest.raises(Unreadable, match="zstd"):
        reader(bytes(image)).read(5 << 16, 4)
    assert reader(bytes(image)).read(0, 4) == b"boot"


@pytest.mark.real("qemu-img")
@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="needs qemu-img (Debian: qemu-utils)")
@pytest.mark.parametrize(
    "arguments", [[], ["-c"], ["-o", "cluster_size=8k"], ["-c", "-o", "cluster_size=4k,compat=0.10"]]
)
def test_the_reader_agrees_with_qemu(arguments):
    content = bytes(range(256)) * 4096 + bytes(3 << 20) + b"end of disk".ljust(1 << 16, b"\7")
    with tempfile.TemporaryDirectory() as folder:
        raw, image = Path(folder) / "raw", Path(folder) / "image.qcow2"
        raw.write_bytes(content)
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *arguments, raw, image], check=True)
        assert reader(image.read_bytes()).read(0, len(content)) == content


@pytest.mark.real("qemu-img")
@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="needs qemu-img (Debian: qemu-utils)")
def test_qemu_agrees_with_the_writer_of_these_tests(tmp_path):
    (tmp_path / "image.qcow2").write_bytes(GOOD)
    subprocess.run(["qemu-img", "convert", "-O", "raw", tmp_path / "image.qcow2", tmp_path / "raw"], check=True)
    assert (tmp_path / "raw").read_bytes() == reader(GOOD).read(0, 1 << 20)
