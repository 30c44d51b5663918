"""Files that are not read, by kind: what they are, by their first bytes or their suffix, and what to do with them."""

from dataclasses import dataclass
from pathlib import PurePath
from typing import Final


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file.

    Attributes:
        one: Its name, with its article.
        many: Its name in the plural.
        advice: What to do in order to have its images read; "" if there is nothing.
        suffixes: Its usual suffixes, in lower case.
        is_image: Whether it holds an image that mien cannot read.
    """

    one: str
    many: str
    advice: str = ""
    suffixes: frozenset[str] = frozenset()
    is_image: bool = False

    def counted(self, number: int) -> str:
        """For example "3 videos"."""
        return f"1 {self.one.partition(' ')[2]}" if number == 1 else f"{number:,} {self.many}"


def _suffixes(text: str) -> frozenset[str]:
    return frozenset(f".{name}" for name in text.split())


RAW: Final = Kind(
    "a camera's raw photo",
    "raw photos of cameras",
    "export as JPEG with the camera's program, darktable or RawTherapee",
    _suffixes(
        "3fr arw cr2 cr3 crw dcr dng erf fff gpr iiq kdc mef mos mrw nef nrw orf pef raf raw rw2 rwl sr2 srf srw x3f"
    ),
    is_image=True,
)
DICOM: Final = Kind(
    "a DICOM image",
    "DICOM images",
    "convert to PNG: dcmj2pnm +on FILE.dcm FILE.png (DCMTK)",
    _suffixes("dcm dicom"),
    is_image=True,
)
PHOTOSHOP: Final = Kind(
    "a Photoshop document", "Photoshop documents", "export as PNG", _suffixes("psd psb"), is_image=True
)
VECTOR: Final = Kind(
    "a vector drawing",
    "vector drawings",
    "export as PNG",
    _suffixes("svg svgz ai eps ps cdr wmf emf"),
    is_image=True,
)
PDF: Final = Kind(
    "a PDF document",
    "PDF documents",
    "extract the images: pdfimages -png FILE.pdf out",
    _suffixes("pdf"),
)
OTHER_IMAGE: Final = Kind(
    "an image of an unknown kind",
    "images of an unknown kind",
    "convert to PNG or JPEG",
    _suffixes(
        "bpg cur dds exr fit fits fli flc flif hdr icns ico jls jng jp jxl jxr kra mng ora pam pcx pic pict qoi ras "
        "rgb rgba sgi wbmp wdp xbm xcf xpm"
    ),
    is_image=True,
)
RENAMED: Final = Kind(
    "an image with another suffix", "images with another suffix", "rename to .jpg or .png", is_image=True
)
VIDEO: Final = Kind(
    "a video",
    "videos",
    "extract frames: ffmpeg -i FILE -vf fps=5 frames/%05d.jpg",
    _suffixes(
        "264 265 3g2 3gp asf avi divx dv f4v flv h264 h265 hevc ivf m2t m2ts m2v m4v mjpeg mjpg mkv mov mp4 mpeg mpg "
        "mts mxf nut ogv rm rmvb vob webm wmv wtv y4m"
    ),
)
AUDIO: Final = Kind("an audio file", "audio files", "", _suffixes("aac aiff flac m4a mp3 ogg opus wav wma"))
ARCHIVE: Final = Kind("an archive", "archives", "unpack first", _suffixes("7z bz2 cbr cbz gz rar tar tgz xz zip zst"))
DOCUMENT: Final = Kind(
    "an office document",
    "office documents",
    "",
    _suffixes("doc docm docx dotx epub odp ods odt pages potx pps ppsx ppt pptm pptx rtf xls xlsb xlsm xlsx xltx"),
)
HTML: Final = Kind("an HTML page", "HTML pages", "a failed download? open it in a browser", _suffixes("htm html xhtml"))
LFS: Final = Kind("a Git LFS pointer", "Git LFS pointers", "fetch the file itself: git lfs pull")
TEXT: Final = Kind(
    "a text file",
    "text files",
    "",
    _suffixes("csv ini json jsonl log md nfo py rst srt sub toml tsv txt xml xmp yaml yml"),
)
OTHER: Final = Kind("a file of another kind", "files of other kinds")

_BY_SUFFIX: Final = {
    suffix: kind
    for kind in (RAW, DICOM, PHOTOSHOP, VECTOR, PDF, OTHER_IMAGE, VIDEO, AUDIO, ARCHIVE, DOCUMENT, HTML, TEXT)
    for suffix in kind.suffixes
}

# The first bytes of files: an offset and the bytes there.
_SIGNATURES: Final[tuple[tuple[int, bytes, Kind], ...]] = (
    (8, b"CR\x02", RAW),  # Canon CR2, which begins as a TIFF file
    (4, b"ftypcrx ", RAW),  # Canon CR3
    (0, b"IIRO", RAW),  # Olympus ORF
    (0, b"IIRS", RAW),
    (0, b"IIU\0", RAW),  # Panasonic RW2
    (0, b"FUJIFILMCCD-RAW", RAW),
    (0, b"FOVb", RAW),  # Sigma X3F
    (128, b"DICM", DICOM),
    (0, b"8BPS", PHOTOSHOP),
    (0, b"%PDF", PDF),
    (0, b"%!PS", VECTOR),
    (0, b"\0\0\1\0", OTHER_IMAGE),  # icon
    (0, b"\xff\x0a", OTHER_IMAGE),  # JPEG XL
    (0, b"\0\0\0\x0cJXL ", OTHER_IMAGE),
    (0, b"\x76\x2f\x31\x01", OTHER_IMAGE),  # OpenEXR
    (0, b"DDS ", OTHER_IMAGE),
    (0, b"gimp xcf", OTHER_IMAGE),
    (0, b"qoif", OTHER_IMAGE),
    (0, b"P7\n", OTHER_IMAGE),  # PAM
    (0, b"SIMPLE  =", OTHER_IMAGE),  # FITS
    (0, b"#?RADIANCE", OTHER_IMAGE),
    (8, b"AVI ", VIDEO),
    (0, b"\x1a\x45\xdf\xa3", VIDEO),  # Matroska, WebM
    (0, b"\0\0\1\xba", VIDEO),  # MPEG
    (0, b"\0\0\1\xb3", VIDEO),
    (0, b"FLV\1", VIDEO),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", VIDEO),  # ASF, WMV
    (4, b"moov", VIDEO),
    (4, b"wide", VIDEO),
    (4, b"mdat", VIDEO),
    (0, b"YUV4MPEG2 ", VIDEO),
    (0, b"DKIF", VIDEO),  # IVF
    (0, b".RMF", VIDEO),  # RealMedia
    (8, b"WAVE", AUDIO),
    (0, b"ID3", AUDIO),
    (0, b"fLaC", AUDIO),
    (0, b"OggS", AUDIO),
    (0, b"PK\3\4", ARCHIVE),
    (0, b"\x1f\x8b", ARCHIVE),
    (0, b"BZh", ARCHIVE),
    (0, b"\xfd7zXZ\0", ARCHIVE),
    (0, b"7z\xbc\xaf\x27\x1c", ARCHIVE),
    (0, b"Rar!", ARCHIVE),
    (257, b"ustar", ARCHIVE),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", DOCUMENT),  # Microsoft Office before 2007; later ones are ZIP files
    (0, b"version https://git-lfs", LFS),
)

# Brands of ISO files that are videos (ISO/IEC 14496-12, 4.3): all others but those of images.
_IMAGE_BRANDS: Final = (b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis", b"hevc", b"hevx", b"jp2 ")


def by_suffix(name: str) -> Kind | None:
    """The kind of a file by the suffix of its name; None for a suffix that is not known, and for none."""
    return _BY_SUFFIX.get(PurePath(name).suffix.lower())


def by_content(prefix: bytes) -> Kind | None:
    """The kind of a file by its first bytes, of which 264 are enough; None if they are not known."""
    for place, signature, kind in _SIGNATURES:
        if prefix[place : place + len(signature)] == signature:
            return kind
    if prefix[4:8] == b"ftyp" and prefix[8:12] not in _IMAGE_BRANDS:
        return AUDIO if prefix[8:11] == b"M4A" else VIDEO
    if _is_transport_stream(prefix):
        return VIDEO
    start = prefix.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return HTML
    if b"<svg" in start and start.startswith(b"<"):
        return VECTOR
    return TEXT if _is_text(prefix) else None


def _is_transport_stream(prefix: bytes) -> bool:
    """Whether packets of an MPEG transport stream are at their places (ISO/IEC 13818-1, 2.4.3); 192 bytes on discs."""
    for start, step in ((0, 188), (4, 192)):
        syncs = prefix[start : start + 1] + prefix[start + step : start + step + 1]
        if syncs == b"GG" and prefix[start + 1] < 0x80:  # the bit of a damaged packet is not set
            return True
    return False


def _is_text(prefix: bytes) -> bool:
    """Whether the bytes are text in UTF-8, whose last character may be cut, or in UTF-16 with its mark."""
    if prefix.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    text = prefix.decode("utf-8", "ignore")
    whole = len(prefix) - len(text.encode()) < 4 and bool(text)
    return whole and all(letter.isprintable() or letter in "\t\n\r\f" for letter in text)
