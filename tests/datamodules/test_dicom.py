"""DICOM files: damaged headers and pixels, encodings, units, windows; our own files, and those that pydicom ships."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from datamodules.pictures import UnreadableError
from datamodules.preparation.dicom import (
    ShortPixelsError,
    grey_levels,
    grey_values,
    is_inverted,
    pixel_spacing,
    pointwise,
    read_dicom,
    rescaled,
    stated_window,
    stored_values,
)
from tests.raw.dicom import write_dicom

pydicom = pytest.importorskip("pydicom")

FILE = Path("film.dcm")
RAMP = np.arange(64, dtype=np.uint16).reshape(8, 8)
SHIPPED = sorted((Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm"))


def shipped(name: str) -> Path:
    """A file that comes with pydicom, or with pydicom-data where that is installed."""
    from pydicom.data import get_testdata_file

    found = get_testdata_file(name, download=False)
    if found is None:
        pytest.skip(f"{name} comes with pydicom-data")
    return Path(str(found))


def written(pixels: NDArray[np.uint8 | np.uint16 | np.int16] = RAMP, /, **tags: object) -> Path:
    write_dicom(FILE, pixels, **tags)
    return FILE


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
@pytest.mark.parametrize("shape", [(5, 7), (3, 5, 7)])
def test_stored_values_are_what_was_written(dtype: type[np.uint8], shape: tuple[int, ...]) -> None:
    limits = np.iinfo(dtype)
    pixels = np.random.default_rng(0).integers(limits.min, limits.max, shape, endpoint=True).astype(dtype)
    values = stored_values(read_dicom(written(pixels)))
    np.testing.assert_array_equal(values, pixels)
    assert values.dtype == dtype


def test_bits_that_are_not_stored_are_ignored() -> None:
    pixels = np.array([[0x0FFF, 0x0800, 0xF001, 0xA7FF]], dtype=np.uint16)
    assert stored_values(read_dicom(written(pixels, BitsStored=12))).tolist() == [[4095, 2048, 1, 2047]]
    assert stored_values(read_dicom(written(pixels.view(np.int16), BitsStored=12))).tolist() == [[-1, -2048, 1, 2047]]


@pytest.mark.parametrize("implicit", [False, True])
def test_a_file_without_preamble_is_read(implicit: bool) -> None:
    data = pydicom.dcmread(written())
    data.preamble = None
    del data.file_meta
    data.save_as(FILE, implicit_vr=implicit, little_endian=True)
    assert FILE.read_bytes()[128:132] != b"DICM"
    np.testing.assert_array_equal(stored_values(read_dicom(FILE)), RAMP)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "the file is absent"),
        (b"", "is no DICOM file"),
        (b"<html>503 Service Unavailable</html>", "is no DICOM file"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF" * 40, "DICOM"),
        (b"\0" * 128 + b"DICM", "is no DICOM file, or only the beginning of one"),
    ],
)
def test_what_is_no_dicom_is_refused(content: bytes | None, reason: str) -> None:
    if content is not None:
        FILE.write_bytes(content)
    with pytest.raises(UnreadableError, match=reason):
        read_dicom(FILE)


def test_a_folder_is_refused() -> None:
    with pytest.raises(UnreadableError, match="is no file"):
        read_dicom(Path())


def test_a_file_cut_anywhere_is_refused_with_a_reason() -> None:
    content = written().read_bytes()
    header = content.index(b"\xe0\x7f\x10\x00")
    outcomes = set()
    for length in [*range(0, header, 7), *range(header, len(content), 16)]:
        FILE.write_bytes(content[:length])
        with pytest.raises(UnreadableError) as error:
            stored_values(read_dicom(FILE))
        outcomes.add(str(error.value))
    assert {"its pixels are cut short", "holds no pixels"} < outcomes
    assert all(outcomes)


@pytest.mark.parametrize("length", [0, 2, 126])
def test_pixels_that_are_too_few_have_an_error_of_their_own(length: int) -> None:
    with pytest.raises(ShortPixelsError, match="cut short"):
        stored_values(read_dicom(written(PixelData=RAMP.tobytes()[:length])))


def test_padding_behind_the_pixels_is_ignored() -> None:
    np.testing.assert_array_equal(stored_values(read_dicom(written(PixelData=RAMP.tobytes() + b"1234"))), RAMP)


def test_a_file_without_pixels_is_refused() -> None:
    with pytest.raises(UnreadableError, match="holds no pixels"):
        stored_values(read_dicom(written(PixelData=None)))
    with pytest.raises(UnreadableError, match="holds no pixels"):
        stored_values(read_dicom(written(), pixels=False))


def test_a_header_alone_has_everything_but_pixels() -> None:
    data = read_dicom(written(PatientID="p1"), pixels=False)
    assert (data.PatientID, data.Rows) == ("p1", 8)
    assert "PixelData" not in data


def test_values_that_break_the_rules_are_taken_as_they_are() -> None:
    # pytest makes errors of warnings.
    tags = {"SOPInstanceUID": "1.2.abc", "PatientID": "p" * 90, "PixelSpacing": ["0.12345678901234567890", "0.5"]}
    data = read_dicom(written(**tags, SeriesDescription="d" * 90, WindowCenter="12345678901234567890", WindowWidth="2"))
    assert (data.SOPInstanceUID, data.PatientID) == ("1.2.abc", "p" * 90)
    assert pixel_spacing(data) == (0.12345678901234568, 0.5)
    assert stated_window(data) == (12345678901234567889.0, 12345678901234567891.0)


@pytest.mark.parametrize("number", [b"zz", b"  ", b"1,"])
def test_values_that_cannot_be_understood_count_as_absent(number: bytes) -> None:
    written(WindowCenter="12", WindowWidth="34", InstanceNumber="56", PixelSpacing=["78", "78"], BitsStored=12)
    content = FILE.read_bytes()
    for text in (b"12", b"56", b"78\\78"):
        assert content.count(b"\x02\0" + text) + content.count(b"\x06\0" + text) == 1
        content = content.replace(text, number + text[2:])
    FILE.write_bytes(content)
    data = read_dicom(FILE)
    assert stated_window(data) == (0, 4095)
    assert pixel_spacing(data) is None
    np.testing.assert_array_equal(stored_values(data), RAMP)


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "holds colour: expected grey values"),
        ({"SamplesPerPixel": 3, "PlanarConfiguration": 0}, "holds colour: expected grey values"),
        ({"Rows": 60000, "Columns": 60000}, "3600000000 pixels are more than the limit of 1073741824"),
        ({"NumberOfFrames": 2**30}, "68719476736 pixels are more than the limit"),
        ({"BitsAllocated": 13}, "its pixels cannot be decoded: .*13"),
    ],
)
def test_pixels_of_another_kind_are_refused(tags: dict[str, object], reason: str) -> None:
    written()
    data = pydicom.dcmread(FILE)
    for keyword, value in tags.items():
        setattr(data, keyword, value)
    data.save_as(FILE)
    with pytest.raises(UnreadableError, match=reason):
        stored_values(read_dicom(FILE))


def test_more_than_16_bits_are_refused() -> None:
    with pytest.raises(UnreadableError, match="holds uint32 values: expected whole numbers of at most 16 bits"):
        stored_values(read_dicom(shipped("rtdose_rle_1frame.dcm")))


def test_a_compressed_bomb_is_refused_before_it_is_decoded() -> None:
    data = pydicom.dcmread(shipped("MR_small_RLE.dcm"))
    data.Rows = data.Columns = 65535
    data.save_as(FILE)
    with pytest.raises(UnreadableError, match="4294836225 pixels are more than the limit"):
        stored_values(read_dicom(FILE))


def test_colour_becomes_luma() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (2, 9, 7, 3)).astype(np.uint8)
    luma = colours @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey_values(read_dicom(written(colours, SamplesPerPixel=3))) - luma).max() < 0.51  # rounded
    one = grey_values(read_dicom(written(colours[0], SamplesPerPixel=3)))
    assert one.shape == (9, 7)
    np.testing.assert_array_equal(grey_values(read_dicom(written())), RAMP)
    with pytest.raises(UnreadableError, match="holds uint16 colour: expected 8 bits"):
        grey_values(read_dicom(written(colours.astype(np.uint16), SamplesPerPixel=3)))


def test_units_are_slope_and_intercept() -> None:
    data = read_dicom(written(RescaleSlope="0.5", RescaleIntercept="-1024"))
    np.testing.assert_array_equal(rescaled(data, stored_values(data)), RAMP * 0.5 - 1024)
    np.testing.assert_array_equal(rescaled(read_dicom(written()), RAMP), RAMP)


def test_units_may_be_looked_up() -> None:
    table = pydicom.Dataset()
    table.LUTDescriptor = [64, 0, 16]
    table.LUTData = (np.arange(64, dtype=np.uint16) ** 2).tobytes()
    data = read_dicom(written(ModalityLUTSequence=[table]))
    np.testing.assert_array_equal(rescaled(data, stored_values(data)), RAMP.astype(np.float64) ** 2)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
def test_pointwise_is_the_function(dtype: type[np.uint8]) -> None:
    limits = np.iinfo(dtype)
    values = np.array([[limits.min, limits.max], [3, limits.max // 2]], dtype=dtype)
    np.testing.assert_array_equal(pointwise(values, lambda v: 3.0 * v - 7), 3.0 * values.astype(np.float64) - 7)


def test_grey_levels_are_inverted_after_scaling() -> None:
    upright = read_dicom(written(RescaleSlope="2", RescaleIntercept="-10"))
    inverted = read_dicom(written(RescaleSlope="2", RescaleIntercept="-10", PhotometricInterpretation="MONOCHROME1"))
    by_window = np.rint(((RAMP * 2.0 - 10 - 20) * 255 / 60).clip(0, 255))
    np.testing.assert_array_equal(grey_levels(upright, RAMP, (20, 80)), by_window)
    np.testing.assert_array_equal(grey_levels(inverted, RAMP, (20, 80)), 255 - by_window)
    by_maximum = RAMP.astype(np.int64) * 255 // 63
    np.testing.assert_array_equal(grey_levels(upright, RAMP, None), by_maximum)
    np.testing.assert_array_equal(grey_levels(inverted, RAMP, None), 255 - by_maximum)


@pytest.mark.parametrize(
    ("tags", "window"),
    [
        ({"WindowCenter": "40", "WindowWidth": "80"}, (0, 80)),
        ({"WindowCenter": ["40", "600"], "WindowWidth": ["80", "2800"]}, (0, 80)),
        ({"WindowCenter": "40", "WindowWidth": "0", "BitsStored": 12}, (0, 4095)),
        ({"WindowCenter": "40", "BitsStored": 10}, (0, 1023)),
        ({}, (0, 65535)),
        ({"PixelRepresentation": 1, "BitsStored": 12}, (-2048, 2047)),
        ({"BitsStored": 12, "RescaleSlope": "2", "RescaleIntercept": "-1000"}, (-1000, 7190)),
        ({"BitsStored": 8, "RescaleSlope": "-1", "RescaleIntercept": "0"}, (-255, 0)),
    ],
)
def test_the_stated_window(tags: dict[str, object], window: tuple[float, float]) -> None:
    assert stated_window(read_dicom(written(**tags))) == window


@pytest.mark.parametrize(
    ("tags", "spacing"),
    [
        ({"PixelSpacing": ["0.2", "0.3"]}, (0.2, 0.3)),
        ({"ImagerPixelSpacing": ["0.2", "0.3"]}, (0.2, 0.3)),
        ({"PixelSpacing": ["0.5", "0.5"], "ImagerPixelSpacing": ["0.2", "0.3"]}, (0.5, 0.5)),
        ({"PixelSpacing": ["0", "0"], "ImagerPixelSpacing": ["0.2", "0.3"]}, (0.2, 0.3)),
        ({"PixelSpacing": ["0.000", "0.000"]}, None),
        ({"PixelSpacing": ["-1", "1"]}, None),
        ({"PixelSpacing": ["nan", "1"]}, None),
        ({"PixelSpacing": ["inf", "1"]}, None),
        ({"PixelSpacing": "0.5"}, None),
        ({"PixelSpacing": ""}, None),
        ({}, None),
    ],
)
def test_the_spacing_of_pixels(tags: dict[str, object], spacing: tuple[float, float] | None) -> None:
    assert pixel_spacing(read_dicom(written(**tags))) == spacing


@pytest.mark.parametrize(
    ("kind", "inverted"), [("MONOCHROME1", True), ("monochrome1 ", True), ("MONOCHROME2", False), (None, False)]
)
def test_which_files_are_inverted(kind: str | None, inverted: bool) -> None:
    assert is_inverted(read_dicom(written(PhotometricInterpretation=kind))) is inverted


@pytest.mark.parametrize(
    "encoding", ["RLE", "jp2klossless", "jpeg_ls_lossless", "bigendian", "implicit", "expb", "padded"]
)
def test_encodings_of_one_image_give_the_same_values(encoding: str) -> None:
    if encoding.startswith("j"):
        pytest.importorskip("gdcm")
    values = stored_values(read_dicom(shipped(f"MR_small_{encoding}.dcm")))
    np.testing.assert_array_equal(values, stored_values(read_dicom(shipped("MR_small.dcm"))))


def test_lossless_jpeg_is_decoded() -> None:
    pytest.importorskip("gdcm")
    lossless = grey_values(read_dicom(shipped("SC_rgb_jpeg_gdcm.dcm")))
    np.testing.assert_array_equal(lossless, grey_values(read_dicom(shipped("SC_rgb_rle.dcm"))))
    assert len(np.unique(lossless)) > 2


def test_a_truncated_real_file_is_short_of_pixels() -> None:
    with pytest.raises(ShortPixelsError):
        stored_values(read_dicom(shipped("MR_truncated.dcm")))


def test_a_real_head_is_in_hounsfield_units() -> None:
    data = read_dicom(shipped("CT_small.dcm"))
    values = stored_values(data)
    np.testing.assert_array_equal(rescaled(data, values), values.astype(np.int64) - 1024)


def test_a_real_film_without_spacing_is_inverted() -> None:
    data = read_dicom(shipped("RG1_UNCR.dcm"))
    assert is_inverted(data)
    assert pixel_spacing(data) is None
    assert stored_values(data).shape == (1955, 1841)


def test_no_shipped_file_makes_trouble() -> None:
    """Among them are damaged ones, plans, structured reports, overlays, and values of every kind."""
    pytest.importorskip("gdcm")
    read, refused = 0, []
    for file in SHIPPED:
        if file.stat().st_size > 200_000:
            continue
        try:
            data = read_dicom(file)
            pixel_spacing(data)
            read += grey_levels(data, grey_values(data), stated_window(data)).dtype == np.uint8
        except UnreadableError as error:
            refused.append(str(error))
    assert read > 40
    assert refused
    assert all(refused)
