"""A preparation that is killed, done in parallel, damaged, or read with a gap."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lsgm.data.errors import DataError
from lsgm.data.fit import Fit
from lsgm.data.images import Images
from lsgm.data.preparation import manifest, parts
from lsgm.data.preparation.prepare import prepare
from lsgm.data.sources.image_folder import FolderExamples
from lsgm.data.sources.image_zip import ImageZip
from lsgm.data.sources.tfds_source import TFDS

ROOT = Path(__file__).parents[3]
X = np.random.default_rng(0).integers(0, 256, (9, 256, 256, 3)).astype(np.uint8)
FIT = Fit(image_shape=(32, 32, 3), grey=False, resize="box")


@pytest.fixture
def folder(tmp_path):
    """Nine images as a flat folder of files."""
    (tmp_path / "flat").mkdir()
    for i, image in enumerate(X):
        file = tmp_path / "flat" / f"{i}.png"
        Image.fromarray(image).save(file, compress_level=1)
    return tmp_path / "flat"


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of two images, here and where the variable is read."""
    monkeypatch.setattr(parts, "PART_EXAMPLES", 2)


def splits(folder):
    paths = tuple(str(folder / f"{i}.png") for i in range(9))
    return {
        "train": FolderExamples(paths=paths[:7], labels=None),
        "test": FolderExamples(paths=paths[7:], labels=None),
    }


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def record(folder):
    return json.loads((folder / manifest.RECORD).read_text())


class Stops:
    """Raises at the n-th image, like a kill that leaves a part unfinished."""

    def __init__(self, examples, n):
        self.examples, self.n = examples, n

    def __len__(self):
        return len(self.examples)

    def __getitem__(self, i):
        if i == self.n:
            raise KeyboardInterrupt
        return self.examples[i]

    def shape(self, i):
        return self.examples.shape(i)

    def name(self, i):
        return self.examples.name(i)


@pytest.mark.usefixtures("small_parts")
def test_a_stopped_preparation_goes_on_to_the_same_bytes(folder, tmp_path):
    whole = prepare(splits(folder), name="a", data_dir=str(tmp_path / "1"), fit=FIT)
    assert whole.num_encoded == 9
    where = dict(name="a", data_dir=str(tmp_path / "2"), fit=FIT)
    cut = splits(folder)
    cut["train"] = Stops(cut["train"], 5)
    with pytest.raises(KeyboardInterrupt):
        prepare(cut, **where)
    assert not (tmp_path / "2" / "a" / "1.0.0").exists()
    resumed = prepare(splits(folder), **where)
    assert resumed.num_encoded == 9 - 4
    assert contents(resumed.folder) == contents(whole.folder)
    assert [p.name for p in (tmp_path / "2" / "a").iterdir()] == ["1.0.0"]


@pytest.mark.usefixtures("small_parts")
def test_stopped_while_tfds_writes(folder, tmp_path, monkeypatch):
    where = dict(name="a", data_dir=str(tmp_path), fit=FIT)

    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(manifest, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare(splits(folder), **where)
    assert not (tmp_path / "a" / "1.0.0").exists()
    done = prepare(splits(folder), **where)
    assert done.num_encoded == 0 and not manifest.verify(done.folder)


def test_another_preparation_does_not_go_on(folder, tmp_path):
    where = dict(name="a", data_dir=str(tmp_path), fit=FIT)
    cut = splits(folder)
    cut["train"] = Stops(cut["train"], 5)
    with pytest.raises(KeyboardInterrupt):
        prepare(cut, **where)
    other = Fit(image_shape=(16, 16, 3), grey=False, resize="box")
    with pytest.raises(ValueError, match=r"1\.0\.0\.partial.*unfinished"):
        prepare(splits(folder), **where | {"fit": other})
    with pytest.raises(ValueError, match="unfinished"):
        prepare({"train": splits(folder)["test"]}, **where)


@pytest.mark.usefixtures("small_parts")
def test_processes_do_not_change_what_is_written(folder, tmp_path):
    one, two = (
        prepare(
            splits(folder),
            name="a",
            data_dir=str(tmp_path / str(n)),
            fit=FIT,
            num_processes=n,
        )
        for n in (1, 2)
    )
    assert contents(one.folder) == contents(two.folder)


@pytest.mark.usefixtures("small_parts")
def test_an_error_in_a_worker_names_the_file(folder, tmp_path):
    (folder / "3.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"3\.png.*unreadable") as error:
        prepare(
            splits(folder),
            name="a",
            data_dir=str(tmp_path),
            fit=FIT,
            num_processes=2,
        )
    assert error.value.argument == "root"


def test_pixels_and_record(folder, tmp_path):
    """The set holds the means of 8x8 blocks, which Pillow rounds twice."""
    about = {"source": {"kind": "folder"}}
    done = prepare(
        splits(folder), name="a", data_dir=str(tmp_path), fit=FIT, about=about
    )
    means = X.reshape(9, 32, 8, 32, 8, 3).astype(float).mean((2, 4))
    data = Images(
        source=TFDS(dataset="a", data_dir=str(tmp_path)), image_shape=(32, 32, 3)
    )
    for split, part in (("train", slice(7)), ("test", slice(7, 9))):
        count = data.num_examples(split)
        images = data.eval_batches(split, count).batch(0)["levels"].astype(float)
        expected = means[part]
        error = np.abs(images[:, None] - expected[None]).max((2, 3, 4)).min(1)
        assert count == len(expected) and error.max() <= 1
    written = record(done.folder)
    assert written["source"] == {"kind": "folder"} and written["resize"] == "box"
    assert written["image_shape"] == [32, 32, 3] and written["skipped"] == []
    assert [written["splits"][s]["num_examples"] for s in ("train", "test")] == [7, 2]
    assert {*written["files"]} == {*contents(done.folder)} - {manifest.RECORD}
    with Image.open(done.folder / manifest.PREVIEW) as preview:
        width, height = preview.size
    assert width == 8 * 65 - 1 + 16 and height == 2 * (20 + 65 + 8)


def test_pixel_checksum_knows_pixels_and_not_their_order():
    """preparation, Eq. (1)."""
    digests = [parts.digest(image) for image in X[:3]]
    assert manifest.joined(digests) == manifest.joined(digests[::-1])
    changed = X[2].copy()
    changed[100, 100, 1] ^= 1
    other = [*digests[:2], parts.digest(changed)]
    assert manifest.joined(other) != manifest.joined(digests)


def test_verify_sees_every_change(folder, tmp_path):
    done = prepare(splits(folder), name="a", data_dir=str(tmp_path), fit=FIT)
    assert manifest.verify(done.folder) == []
    (shard,) = done.folder.glob("*test.array_record*")
    raw = shard.read_bytes()
    shard.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    assert manifest.verify(done.folder) == [f"{shard.name} has changed"]
    shard.rename(done.folder / "stray")
    missing, new = manifest.verify(done.folder)
    assert missing == f"{shard.name} is missing" and new == "stray is new"
    (done.folder / "stray").rename(shard)
    shard.write_bytes(raw)
    about = record(done.folder)
    about["splits"]["test"]["pixels_sha256"] = "0" * 64
    (done.folder / manifest.RECORD).write_text(json.dumps(about))
    (wrong,) = manifest.verify(done.folder)
    assert "pixels of test" in wrong


@pytest.mark.usefixtures("small_parts")
def test_unreadable_images_are_skipped_and_listed(folder, tmp_path):
    """The first too, although it gives the shape; skipping goes on after a fatal."""
    for name in ("0.png", "4.png"):
        (folder / name).write_bytes(b"no image")
    where = dict(name="a", data_dir=str(tmp_path), fit=FIT)
    with pytest.raises(DataError, match=r"0\.png.*unreadable"):
        prepare(splits(folder), **where)
    done = prepare(splits(folder), **where, unreadable="skip")
    assert [Path(s["name"]).name for s in done.skipped] == ["0.png", "4.png"]
    written = record(done.folder)
    assert written["skipped"] == done.skipped
    assert "unreadable image" in written["skipped"][0]["reason"]
    assert written["splits"]["train"]["num_examples"] == 5
    shapeless = prepare(
        splits(folder), name="b", data_dir=str(tmp_path), unreadable="skip"
    )
    assert record(shapeless.folder)["image_shape"] == [256, 256, 3]


def test_wrong_sizes_are_never_skipped(folder, tmp_path):
    Image.fromarray(X[0][:9]).save(folder / "2.png")
    with pytest.raises(DataError, match=r"2\.png is 9x256x3"):
        prepare(splits(folder), name="a", data_dir=str(tmp_path), unreadable="skip")


def test_nothing_left_of_a_split(folder, tmp_path):
    for name in ("7.png", "8.png"):
        (folder / name).write_bytes(b"no image")
    with pytest.raises(ValueError, match="without a readable image"):
        prepare(splits(folder), name="a", data_dir=str(tmp_path), unreadable="skip")
    with pytest.raises(ValueError, match="no split, or an empty one"):
        prepare({}, name="b", data_dir=str(tmp_path))


def command(*flags):
    return [sys.executable, "-m", "experiments.prepare_data", *map(str, flags)]


def run(*flags):
    return subprocess.run(
        command(*flags), cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.fixture
def archive(tmp_path):
    """A zip of sixty 64x64 images in no folder of a split."""
    path = tmp_path / "faces.zip"
    with zipfile.ZipFile(path, "w") as file:
        for i in range(60):
            png = io.BytesIO()
            Image.fromarray(X[i % 9, i : i + 64, i : i + 64]).save(png, "PNG")
            file.writestr(f"faces/{i:02d}.png", png.getvalue())
    return path


def test_command_in_order_with_progress_and_verified(archive, tmp_path):
    """The page's line for CelebA-HQ, in small; then verified, then damaged."""
    where = ("--name=celeba", f"--data_dir={tmp_path}")
    flags = ("--from=zip", f"--root={archive}", *where)
    done = run(*flags, "--first=train=50,test=10")
    assert done.returncode == 0, done.stderr
    assert "60 images in" in done.stdout and "images/s" in done.stdout
    folder = tmp_path / "celeba" / "1.0.0"
    written = record(folder)
    assert written["rule"] == {"first": {"train": "50", "test": "10"}}
    assert written["source"] == dict(
        kind="zip", root=str(archive), labels=False, flat=True, max_pixels=64 * 2**20
    )
    source = TFDS(dataset="celeba", data_dir=str(tmp_path))
    images = source.open("test")
    found = {images[i]["image"].tobytes() for i in range(10)}
    flat = ImageZip(root=str(archive), flat=True).open("train")
    assert found == {flat[i]["image"].tobytes() for i in range(50, 60)}
    good = run("--verify", *where)
    assert good.returncode == 0 and "train: 50 examples, as prepared" in good.stdout
    (folder / manifest.PREVIEW).write_bytes(b"")
    bad = run("--verify", *where)
    assert bad.returncode == 1 and "preview.png has changed" in bad.stderr


def test_command_by_lists(archive, tmp_path):
    lists = {"train": "00.png\nfaces/01.png\n", "validation": "59.png\n\n"}
    for split, text in lists.items():
        (tmp_path / f"{split}.txt").write_text(text)
    given = ",".join(f"{split}={tmp_path / split}.txt" for split in lists)
    flags = ("--from=zip", f"--root={archive}", "--name=l", f"--data_dir={tmp_path}")
    done = run(*flags, f"--split_files={given}", "--rename=validation=test")
    assert done.returncode == 0, done.stderr
    counts = {
        s: e["num_examples"]
        for s, e in record(tmp_path / "l" / "1.0.0")["splits"].items()
    }
    assert counts == {"train": 2, "test": 1}


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--first=train=61"], "60 at most"),
        (["--first=train=9", "--hold_out=test=0.1"], "one of them"),
        ([], "nothing names a split"),
        (["--rename=valid=test", "--first=train=9"], "--rename=valid"),
        (["--first=train=9", "--group_by=x", "--labels"], "no class folder"),
    ],
)
@pytest.mark.slow
def test_command_errors(archive, tmp_path, flags, words):
    where = ("--from=zip", f"--root={archive}", "--name=e", f"--data_dir={tmp_path}")
    done = run(*where, *flags)
    assert done.returncode == 1 and words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_killed_command_with_processes(folder, tmp_path):
    """SIGKILL in the middle: no process stays, and the end is the same."""
    big = tmp_path / "big"
    big.mkdir()
    for i in range(240):
        image = np.roll(X[i % 9], i, axis=1).repeat(2, 0).repeat(2, 1)
        Image.fromarray(image).save(big / f"{i:03d}.png", compress_level=0)
    flags = ["--from=folder", f"--root={big}", "--name=k", "--first=train=200,test=40"]
    flags += ["--num_processes=2"]
    process = subprocess.Popen(
        command(*flags, f"--data_dir={tmp_path / 'a'}"), cwd=ROOT
    )
    done = tmp_path / "a" / "k" / "1.0.0.partial" / "parts"
    while not (done.exists() and any(p.suffix == ".zip" for p in done.iterdir())):
        assert process.poll() is None
        time.sleep(0.02)
    children = _children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 20
    while any(os.path.exists(f"/proc/{child}") for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    again = run(*flags, f"--data_dir={tmp_path / 'a'}")
    assert again.returncode == 0, again.stderr
    assert "240 images in" not in again.stdout
    fresh = run(*flags[:-1], f"--data_dir={tmp_path / 'b'}")
    assert fresh.returncode == 0, fresh.stderr
    one, other = (contents(tmp_path / n / "k" / "1.0.0") for n in "ab")
    assert one == other


def _children(pid):
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in listed.split()]
