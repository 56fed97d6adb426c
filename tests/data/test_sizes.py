"""One picture at several sizes is seen; pictures that only share names are not."""

import numpy as np
import pytest
from PIL import Image

from lsgm.data.errors import DataError
from lsgm.data.fit import Fit
from lsgm.data.images import Images
from lsgm.data.sizes import require_one_size
from lsgm.data.sources.arrays import ArrayExamples
from lsgm.data.sources.image_folder import ImageFolder

X = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3)).astype(np.uint8)


def at(size, pictures=X):
    """Pictures of 4x4 cells, of this size."""
    factor = size // 4
    images = pictures.repeat(factor, 1).repeat(factor, 2)
    return ArrayExamples(images=images, place=f"celeba-{size}.tfrecords")


def folder(root, **pictures):
    for name, examples in pictures.items():
        (root / "train" / name).mkdir(parents=True)
        for i, image in enumerate(examples.images):
            Image.fromarray(image).save(root / "train" / name / f"{i}.png")
    return ImageFolder(root=str(root))


def test_records_of_several_resolutions():
    with pytest.raises(DataError, match=r"4\.tfrecords\[0\] \(4x4\) and .*\(16x16\)"):
        require_one_size({"train": at(4), "test": at(16)})
    require_one_size({"train": at(4), "test": at(16, X[::-1] // 2)})
    require_one_size({"train": at(16), "test": at(16)})


def test_thumbnails_beside_originals(tmp_path):
    source = folder(tmp_path, originals=at(16), thumbs=at(8))
    data = Images(source=source, image_shape=(8, 8, 3), resize="box")
    with pytest.raises(DataError, match=r"originals/0\.png.*thumbs/0\.png.*same pict"):
        data.open("train")


def test_classes_that_number_alike(tmp_path):
    source = folder(tmp_path, cat=at(16), dog=at(8, 255 - X))
    data = Images(source=source, image_shape=(8, 8, 3), resize="box")
    assert data.num_examples("train") == 6


@pytest.mark.parametrize("shape", [(4, 64), (64, 4), (4, 4)])
def test_enlargement_has_to_be_asked_for(shape):
    image = np.zeros((*shape, 3), np.uint8)
    fit = Fit(image_shape=(64, 64, 3), grey=False, resize="box")
    with pytest.raises(DataError, match="too small; enlarge = True"):
        fit(image, "a.png")
    asked = Fit(image_shape=(64, 64, 3), grey=False, resize="box", enlarge=True)
    assert asked(image, "a.png").shape == (64, 64, 3)


def test_enlargement_needs_a_filter():
    with pytest.raises(ValueError, match="enlarge = True: resize = 'none'"):
        Images(source=ImageFolder(root="a"), image_shape=(4, 4, 3), enlarge=True)
