"""Real DICOM files, in small."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, config
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid


def write_dicom(path: Path, pixels: NDArray[np.uint8 | np.uint16 | np.int16], **tags: object) -> None:
    """Write a DICOM file (Explicit VR Little Endian).

    Values are not validated, as nobody validated those of real files. Identifiers that are not given depend on the
    pixels and the last parts of the path alone.

    Args:
        path: The file; its folder is made.
        pixels: ``(H, W)`` or ``(frames, H, W)``, or with a last axis of three colours under ``SamplesPerPixel=3``.
        tags: DICOM keywords and their values, beside or instead of the usual ones; None leaves an element out.
    """
    colours = tags.get("SamplesPerPixel", 1)
    height, width = pixels.shape[-3:-1] if colours == 3 else pixels.shape[-2:]
    bits = 8 * pixels.dtype.itemsize
    stored = tags.get("BitsStored", bits)
    content = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    salt = ["/".join(path.parts[-3:]), hashlib.sha256(content).hexdigest()]
    usual: dict[str, object] = {
        "SOPClassUID": MRImageStorage,
        "SOPInstanceUID": generate_uid(entropy_srcs=[*salt, "instance"]),
        "StudyInstanceUID": generate_uid(entropy_srcs=[*salt, "study"]),
        "SeriesInstanceUID": generate_uid(entropy_srcs=[*salt, "series"]),
        "PatientID": "anonymous",
        "Modality": "OT",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "RGB" if colours == 3 else "MONOCHROME2",
        "Rows": height,
        "Columns": width,
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": stored - 1 if isinstance(stored, int) else bits - 1,
        "PixelRepresentation": int(np.issubdtype(pixels.dtype, np.signedinteger)),
        "PixelData": content + b"\0" * (len(content) % 2),  # elements have an even length
    }
    if colours == 3:
        usual["PlanarConfiguration"] = 0
    if pixels.ndim == (4 if colours == 3 else 3):
        usual["NumberOfFrames"] = len(pixels)
    data = Dataset()
    with config.disable_value_validation():
        for keyword, value in (usual | tags).items():
            if value is not None:
                setattr(data, keyword, value)
        if data.get("PixelData"):
            data["PixelData"].VR = "OB" if bits == 8 else "OW"
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path.parent.mkdir(parents=True, exist_ok=True)
        data.save_as(path, enforce_file_format=True)
