"""Own pictures: what a file may hold, and how it is resized."""

import struct
import zlib

import numpy
import pytest
import torch
from PIL import Image, features

from config.load import check_config, read_config
from config.problems import ConfigError
from config.schema import BatchTransformsConfig
from data_loader.build import build_batch_transforms
from data_loader.pictures.decoding import read_picture
from data_loader.pictures.folder import ImageFolder
from script import load_registries
from tests import running
from tests.make_data import write_pictures
from utils.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding:DeprecationWarning")


def saved(folder, values, name="a.png", mode=None, **options):
    """The path of a picture file with these values (a colour for 8 x 8 pixels, or an array)."""
    picture = Image.new(mode, (8, 8), values) if mode else Image.fromarray(values)
    picture.save(folder / name, **options)
    return folder / name


def first_pixel(path):
    picture = read_picture(path, None)
    assert (picture.dtype, len(picture)) == (torch.uint8, 3)
    return picture[:, 0, 0].tolist()


def write_grey_tiff(path, data, bits, sample_format=1, photometric=1):
    """An uncompressed TIFF file of 2 x 1 pixels, with `bits` a pixel."""
    tags = [(256, 2), (257, 1), (258, bits), (259, 1), (262, photometric), (273, 8), (278, 1), (279, len(data))]
    tags.append((339, sample_format))
    padded = data + bytes(-len(data) % 2)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    path.write_bytes(struct.pack("<2sHI", b"II", 42, 8 + len(padded)) + padded + directory)
    return path


def write_png(path, stream, side, bits=8, colours=2):
    """A PNG file of side x side pixels with right checksums, whatever its compressed stream is."""
    header = struct.pack(">IIBBBBB", side, side, bits, colours, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", stream), (b"IEND", b"")]
    content = [struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
               for kind, data in chunks]  # fmt: skip
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(content))


def test_formats_are_decoded_alike(tmp_path):
    endings = ["bmp", "ppm", "tif", "webp"] + (["avif"] if features.check("avif") else [])
    write_pictures(tmp_path, ["a"], num_each=1, ending=".png", size=(5, 7))
    with Image.open(tmp_path / "a" / "0000.png") as picture:
        for ending in endings:
            lossless = {"webp": {"lossless": True}, "avif": {"quality": 100, "subsampling": "4:4:4"}}
            picture.save(tmp_path / "a" / f"z.{ending}", **lossless.get(ending, {}))
        picture.convert("L").save(tmp_path / "a" / "zz.JFIF", "jpeg")
        picture.save(tmp_path / "a" / "zzz.jpg", "bmp")  # what it holds counts, not what it is called
    data = ImageFolder("train", str(tmp_path), valid_fraction=0, test_fraction=0)
    shown = [data[index][0].int() for index in range(len(data))]
    assert data.notes == [f"'{tmp_path}': one class only, a"] and len(shown) == len(endings) + 3
    furthest = {name: int((picture - shown[0]).abs().max()) for name, picture in zip(data.names, shown, strict=True)}
    assert furthest.pop("a/zz.JFIF") > 50 and furthest.pop("a/z.avif", 0) < 8  # which is never without loss
    assert set(furthest.values()) == {0}


def test_sixteen_bits_are_scaled_to_eight(tmp_path):
    """Not cut off at 255, which makes a white picture."""
    grey = numpy.array([[0, 256, 40000, 65535]], dtype=numpy.uint16)
    paths = [saved(tmp_path, grey, name) for name in ("a.png", "a.tif")]
    Image.fromarray(grey.byteswap().view(">u2")).save(tmp_path / "big.tif")
    (tmp_path / "a.pgm").write_bytes(b"P5 4 1 65535\n" + grey.byteswap().tobytes())
    twelve = write_grey_tiff(tmp_path / "twelve.tif", bytes([0xFF, 0xF8, 0x00]), bits=12)  # 4095 and 2048
    inverted = write_grey_tiff(tmp_path / "inverted.tif", struct.pack("<HH", 0, 40000), bits=16, photometric=0)
    for path in [*paths, tmp_path / "big.tif", tmp_path / "a.pgm"]:
        assert read_picture(path, None)[0, 0].tolist() == [0, 1, 156, 255]
    assert read_picture(twelve, None)[1, 0].tolist() == [255, 128]
    assert read_picture(inverted, None)[2, 0].tolist() == [255, 99]


def test_floats_from_0_to_1_are_scaled_and_others_are_refused(tmp_path):
    fitting = saved(tmp_path, numpy.array([[0, 0.25, 0.5, 1]], dtype=numpy.float32), "a.tif")
    assert read_picture(fitting, None)[1, 0].tolist() == [0, 64, 128, 255]
    for values in ([0, 255.0], [-0.1, 1], [0, numpy.nan], [0, numpy.inf]):
        path = saved(tmp_path, numpy.array([values], dtype=numpy.float32), "b.tif")
        with pytest.raises(OSError, match=r"it holds floats from \S+ to \S+, and does not say which one is white"):
            read_picture(path, None)


@pytest.mark.parametrize(
    ("pixels", "bits", "sample_format"),
    [("<2i", 32, 2), ("<2I", 32, 1), ("<2h", 16, 2)],
)
def test_whole_numbers_whose_white_is_unknown_are_refused(tmp_path, pixels, bits, sample_format):
    path = write_grey_tiff(tmp_path / "a.tif", struct.pack(pixels, 5, 1000), bits, sample_format)
    with pytest.raises(OSError, match="it holds whole numbers with a sign or with 32 bits, and does not say which one"):
        read_picture(path, None)


@pytest.mark.parametrize(
    ("name", "mode", "colour", "options", "expected"),
    [
        ("a.png", "RGBA", (200, 0, 0, 0), {}, [255, 255, 255]),  # a hidden colour
        ("a.png", "RGBA", (200, 0, 0, 51), {}, [244, 204, 204]),
        ("a.webp", "RGBA", (200, 0, 0, 51), {"lossless": True}, [244, 204, 204]),
        ("a.tif", "RGBA", (200, 0, 0, 51), {}, [244, 204, 204]),
        ("a.png", "LA", (100, 51), {}, [224, 224, 224]),
        ("a.png", "P", 0, {"transparency": 0}, [255, 255, 255]),
        ("a.gif", "P", 0, {"transparency": 0}, [255, 255, 255]),
        ("a.png", "RGB", (7, 8, 9), {"transparency": (7, 8, 9)}, [255, 255, 255]),
        ("a.png", "P", 0, {}, [0, 0, 0]),
        ("a.png", "1", 1, {}, [255, 255, 255]),
        ("a.tif", "1", 0, {}, [0, 0, 0]),
        ("a.tif", "CMYK", (255, 0, 0, 0), {}, [0, 255, 255]),
        ("a.jpg", "CMYK", (255, 0, 0, 0), {}, [0, 255, 255]),
    ],
)
def test_all_kinds_of_colours_become_rgb_and_what_is_transparent_white(tmp_path, name, mode, colour, options, expected):
    path = saved(tmp_path, colour, name, mode, **options)
    assert first_pixel(path) == pytest.approx(expected, abs=2 if name == "a.jpg" else 0)


def test_sixteen_bits_with_transparency_are_shown_on_white(tmp_path):
    from torchvision.io import decode_image

    pixel = struct.pack(">B4H", 0, 51400, 0, 0, 13107)  # 200 and 51 of 255
    write_png(tmp_path / "a.png", zlib.compress(pixel), side=1, bits=16, colours=6)
    assert decode_image(str(tmp_path / "a.png")).dtype == torch.uint16
    assert first_pixel(tmp_path / "a.png") == [244, 204, 204]


@pytest.mark.parametrize("name", ["a.gif", "a.tif", "a.webp", "a.png"])
def test_the_first_of_several_frames_is_taken(tmp_path, name):
    others = [Image.new("RGB", (8, 8), (0, 0, 250))]
    lossless = {"lossless": True} if name == "a.webp" else {}
    path = saved(tmp_path, (250, 0, 0), name, "RGB", save_all=True, append_images=others, **lossless)
    assert first_pixel(path) == [250, 0, 0]


@pytest.mark.parametrize("content", [b"", b"text", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF1234WEBPVP8X"])
def test_what_is_no_picture_is_told_as_an_unreadable_file(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(OSError, match=r"^[^/]+$"):  # without a place in the source of a library
        read_picture(tmp_path / "a.png", None)


ROWS = b"".join(b"\1" + bytes(range(row, row + 48)) for row in range(16))  # of 16 x 16 pixels, each after its filter
WHOLE = zlib.compress(ROWS)


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"no stream at all",
        bytes(2) + WHOLE[2:],
        WHOLE[: len(WHOLE) // 2],
        WHOLE[:-4] + b"sums",
        zlib.compress(ROWS[:300]),
        zlib.compress(b"\x77" + ROWS[1:]),
        *(WHOLE[:place] + bytes([WHOLE[place] ^ 255]) + WHOLE[place + 1 :] for place in range(2, len(WHOLE), 9)),
    ],
    ids=lambda stream: f"{zlib.crc32(stream):08x}",
)
def test_a_png_with_right_checksums_and_a_broken_stream_is_unreadable(tmp_path, stream):
    """torchvision's decoder ends the process with it."""
    write_png(tmp_path / "a.png", WHOLE, side=16)
    assert read_picture(tmp_path / "a.png", None).shape == (3, 16, 16)
    write_png(tmp_path / "a.png", stream, side=16)
    with pytest.raises(OSError, match=r"^[^/]+$"):
        read_picture(tmp_path / "a.png", None)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.bmp", "a.gif", "a.ppm", "a.tif"])
def test_a_damaged_file_is_unreadable_or_a_picture(tmp_path, name):
    """And never another error, which would end a run that may skip bad samples."""
    generator = numpy.random.default_rng(0)
    whole = saved(tmp_path, generator.integers(0, 256, (8, 8, 3), dtype=numpy.uint8), name).read_bytes()
    num_unreadable = 0
    for _ in range(150):
        damaged = bytearray(whole[: generator.integers(len(whole))] if generator.random() < 0.3 else whole)
        for place in generator.integers(0, max(1, len(damaged)), 4):
            damaged[place : place + 1] = bytes([generator.integers(256)])
        (tmp_path / name).write_bytes(damaged)
        try:
            assert read_picture(tmp_path / name, (8, 8)).shape == (3, 8, 8)
        except OSError:
            num_unreadable += 1
    assert num_unreadable > 10


@pytest.mark.parametrize("shape", [(40, 30), (30, 40), (20, 20), (7, 100), (1, 300)])
def test_pictures_are_stretched_cropped_or_padded(tmp_path, shape):
    from torchvision.transforms import v2

    generator = numpy.random.default_rng(0)
    path = saved(tmp_path, generator.integers(0, 256, (*shape, 3), dtype=numpy.uint8))
    whole = read_picture(path, None)
    usual = v2.Compose([v2.Resize(20, antialias=True), v2.CenterCrop(20)])
    assert torch.equal(read_picture(path, (20, 20), "crop"), usual(whole))
    assert torch.equal(read_picture(path, (20, 20)), v2.functional.resize(whole, [20, 20], antialias=True))
    for size in ((20, 20), (16, 24), (24, 16)):
        padded = read_picture(path, size, "pad")
        scale = min(size[0] / shape[0], size[1] / shape[1])
        inner = [max(1, int(side * scale + 1e-9)) for side in shape]
        top, left = ((side - inside) // 2 for side, inside in zip(size, inner, strict=True))
        middle = padded[:, top : top + inner[0], left : left + inner[1]]
        assert padded.shape == (3, *size) and padded.sum() == middle.sum()
        assert torch.equal(middle, v2.functional.resize(whole, inner, antialias=True))
        assert read_picture(path, size, "crop").shape == (3, *size)


def test_resize_without_a_size_is_told(tmp_path):
    write_pictures(tmp_path, num_each=2)
    with pytest.raises(UserError, match=r"dataset.args.resize: found pad, but without dataset.args.size nothing is"):
        ImageFolder("train", str(tmp_path), resize="pad")
    with pytest.raises(ConfigError, match=r"dataset.args.resize: found 'squash'"):
        running.read(tmp_path, f"dataset={{type: ImageFolder, args: {{root: {tmp_path}, resize: squash}}}}")


def test_the_shipped_config_has_one_size(tmp_path):
    """Training and evaluation see pictures of dataset.args.size, whatever it is."""
    config = check_config(
        read_config(["config/image_folder.yaml"], ["dataset.args.size=128", f"dataset.args.root={tmp_path}"]),
        load_registries,
    )
    pictures = torch.rand(2, 3, 128, 128)
    for split in ("train", "eval"):
        assert build_batch_transforms(config.dataset.batch_transforms, split, {})(pictures).shape == pictures.shape


@pytest.mark.parametrize(("name", "side"), [("cifar10_fast", 32), ("cifar10_resnet", 32), ("image_folder", 128)])
def test_a_crop_without_a_size_is_one_of_the_pictures_size(tmp_path, name, side):
    overrides = ["dataset.args={root: .}"]
    config = check_config(read_config([f"config/{name}.yaml"], overrides), load_registries)
    crop, pictures = config.dataset.batch_transforms.train[0], torch.rand(8, 3, side, side)
    assert crop.type == "RandomCrop" and "size" not in crop.args
    cut = []
    for args in (crop.args, crop.args | {"size": [side, side]}):
        torch.manual_seed(0)
        only = BatchTransformsConfig(train=[crop.model_copy(update={"args": args})])
        cut.append(build_batch_transforms(only, "train", {})(pictures))
    assert torch.equal(*cut) and not torch.equal(cut[0], pictures)
