"""The pipeline: a batch is a pure function of (seed, k), for any process count."""

import collections

import numpy as np
import pytest

from lsgm.config import ConfigError, build
from lsgm.data.errors import DataError
from lsgm.data.images import Images
from lsgm.data.sources.arrays import ArrayExamples

MNIST = dict(target="lsgm.data.sources.mnist5k:MNIST5k")


class Numbered:
    """``n`` images of h x w whose label, and every pixel, is the index."""

    prepared = True

    def __init__(self, n, size=2):
        self.n, self.size, self.reads = n, size, collections.Counter()

    def splits(self):
        return ("train", "test")

    def open(self, split):
        label = np.arange(self.n)
        images = np.zeros((self.n, self.size, self.size, 1), np.uint8)
        images += (label % 256).astype(np.uint8)[:, None, None, None]
        outer = self

        class Counted(ArrayExamples):
            def __getitem__(self, i):
                outer.reads[i] += 1
                return super().__getitem__(i)

        return Counted(images=images, labels=label, place=split)


def numbered(n=11, **fields):
    return Images(source=Numbered(n), image_shape=(2, 2, 1), **fields)


def mnist(**fields):
    spec = dict(target="lsgm.data.images:Images", source=MNIST, image_shape=[28, 28, 1])
    return build(spec | fields, "data")


def binarised():
    return mnist(num_bits=1, binarize="dynamic", flip=True)


def equal(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_same_seed_and_step_same_batch():
    """From a data set opened anew, and whatever was read before."""
    first, second = (binarised().train_batches(7, 32) for _ in range(2))
    later = first.batch(300)
    assert equal(first.batch(2), second.batch(2))
    assert equal(later, second.batch(300))
    assert not equal(later, first.batch(2))
    assert not equal(later, binarised().train_batches(8, 32).batch(300))


def test_iteration_is_the_numbered_batches():
    batches = binarised().train_batches(3, 16)
    iterator = iter(batches)
    for k in range(5):
        assert equal(next(iterator), batches.batch(k))
    iterator.close()


def test_resume_gives_the_next_batch():
    """By the iterator's saved state, and by the step number alone."""
    batches = binarised().train_batches(3, 1000)
    iterator = iter(batches)
    for _ in range(6):  # past an epoch's end: 4 steps
        next(iterator)
    state = iterator.get_state()
    following = next(iterator)
    again = binarised().train_batches(3, 1000)
    restored = iter(again)
    restored.set_state(state)
    assert equal(next(restored), following)
    started = again.iterate(start=6)
    assert equal(next(started), following)
    for opened in (iterator, restored, started):
        opened.close()


@pytest.mark.parametrize("count", [2, 4])
def test_processes_share_one_global_batch(count):
    data = binarised()
    whole = data.train_batches(5, 32)
    parts = [
        data.train_batches(5, 32, process_index=r, process_count=count)
        for r in range(count)
    ]
    for k in (0, 124, 125):
        slices = [part.batch(k) for part in parts]
        joined = {n: np.concatenate([s[n] for s in slices]) for n in slices[0]}
        assert equal(joined, whole.batch(k))


def test_evaluation_is_shared_alike():
    data = binarised()
    whole = data.eval_batches("test", 64, num_examples=70)
    parts = [
        data.eval_batches("test", 64, 70, process_index=r, process_count=2)
        for r in range(2)
    ]
    for k in range(2):
        slices = [part.batch(k) for part in parts]
        joined = {n: np.concatenate([s[n] for s in slices]) for n in slices[0]}
        assert equal(joined, whole.batch(k))


def test_an_epoch_sees_each_example_once_and_drops_the_remainder():
    """Eqs. (1) and (3): 11 examples by 4 are two steps; orders differ."""
    batches = numbered(11).train_batches(0, 4)
    assert batches.steps_per_epoch == 2
    orders, dropped = [], set()
    for epoch in range(20):
        steps = [batches.batch(2 * epoch + j)["label"] for j in range(2)]
        order = np.concatenate(steps)
        assert len(set(order.tolist())) == 8
        orders.append(tuple(order.tolist()))
        dropped |= set(range(11)) - set(order.tolist())
    assert len(set(orders)) == 20
    assert dropped == set(range(11))  # no example is always left out


def test_first_example_of_an_epoch_is_uniform():
    """Chi-square of 3,000 orders of 5 within four standard errors of its mean."""
    counts = np.zeros(5)
    batches = numbered(5).train_batches(1, 5)
    for k in range(3000):
        counts[batches.batch(k)["label"][0]] += 1
    chi2 = np.sum((counts - 600) ** 2) / 600
    assert chi2 < 4 + 4 * np.sqrt(8)


def test_labels_stay_with_their_images():
    batch = numbered(200).train_batches(0, 64).batch(1)
    assert batch["label"].dtype == np.int32
    np.testing.assert_array_equal(batch["levels"][:, 0, 0, 0], batch["label"])


def test_evaluation_drops_nothing_and_keeps_the_shape():
    batches = numbered(11).eval_batches("test", 4)
    seen = []
    for batch in batches:
        assert batch["levels"].shape == (4, 2, 2, 1)
        seen += batch["label"][batch["mask"]].tolist()
    assert len(batches) == 3
    assert seen == list(range(11))
    assert batch["mask"].tolist() == [True, True, True, False]
    assert batch["label"][3] == 10  # a real image fills up


def test_evaluation_does_not_depend_on_the_batch_size():
    """Binarised bits belong to the example: batches of one, of 7, and ``example``."""
    data = binarised()

    def images(size):
        batches = data.eval_batches("validation", size, num_examples=20)
        return np.concatenate([b["levels"][b["mask"]] for b in batches])

    np.testing.assert_array_equal(images(1), images(7))
    np.testing.assert_array_equal(
        images(20)[13], data.example("validation", 13)["levels"]
    )
    np.testing.assert_array_equal(images(20), images(20))


def test_num_examples():
    assert [mnist().num_examples(s) for s in ("train", "test")] == [4000, 500]


def test_example_reads_its_label():
    digit = mnist().example("test", 0)
    assert digit["levels"].shape == (28, 28, 1)
    stored = build(MNIST, "data.source").open("test").labels
    assert digit["label"] == stored[0] and "mask" not in digit


def test_flips_in_training_and_never_in_evaluation():
    stored = build(MNIST, "data.source").open("test").images
    data = mnist(flip=True)
    read = data.eval_batches("test", 500).batch(0)["levels"]
    np.testing.assert_array_equal(read, stored)
    plain, flipped = (d.train_batches(0, 100).batch(0) for d in (mnist(), data))
    same = np.all(plain["levels"] == flipped["levels"], axis=(1, 2, 3))
    assert 20 < same.sum() < 80
    mirrored = flipped["levels"][~same][:, :, ::-1]
    np.testing.assert_array_equal(mirrored, plain["levels"][~same])


def test_small_sets_are_decoded_once_and_large_ones_streamed():
    kept, streamed = numbered(10), numbered(10, cache_bytes=10 * 4 - 1)
    for data, times in ((kept, 1), (streamed, 3)):
        batches = data.train_batches(0, 10)
        data.source.reads.clear()
        for k in range(3):
            batches.batch(k)
        assert set(data.source.reads.values()) == {times}
    assert equal(
        kept.train_batches(0, 5).batch(1), streamed.train_batches(0, 5).batch(1)
    )


@pytest.mark.parametrize(
    "call, key, words",
    [
        (lambda d: d.train_batches(0, 4001), "batch_size", "4000 examples"),
        (lambda d: d.train_batches(0, 9, process_count=2), "batch_size", "2 processes"),
        (lambda d: d.train_batches(0, 0), "batch_size", "positive"),
        (lambda d: d.eval_batches("test", 9, 501), "num_examples", "500"),
        (lambda d: d.open("valid"), "split", "did you mean 'validation'"),
    ],
)
def test_impossible_requests(call, key, words):
    with pytest.raises(DataError, match=words) as error:
        call(mnist())
    assert error.value.argument == key


@pytest.mark.parametrize(
    "fields, words",
    [
        (dict(num_bits=0), "num_bits = 0"),
        (dict(num_bits=9), "num_bits = 9"),
        (dict(binarize="dynamic"), "binarised data has 1 bit"),
        (dict(binarize="dynamc"), "data.binarize"),
        (dict(image_shape=[28, 28, 2]), "c 1 or 3"),
        (dict(image_shape=[32, 32, 3], grey=True), "grey = True"),
        (dict(read_threads=0), "read_threads"),
        (
            dict(source=dict(target="lsgm.data.sources.mnist5k:MNIST")),
            "did you mean 'MNIST5k'",
        ),
    ],
)
def test_impossible_fields(fields, words):
    with pytest.raises(ConfigError, match=words) as error:
        mnist(**fields)
    assert error.value.key.startswith("data")


def test_wrong_image_shape_names_the_key_and_the_file():
    with pytest.raises(DataError, match=r"mnist5k/train\[0\] is 28x28x1") as error:
        mnist(image_shape=[32, 32, 1]).train_batches(0, 4)
    assert error.value.argument == "image_shape"


def test_past_the_end():
    with pytest.raises(IndexError, match="batch 500 of 500"):
        mnist().example("test", 500)
