"""Results out: tables (CSV, JSON lines) and annotated pictures.

Every output is used in a `with` statement and fed with `write(FrameResult)`. To add a table format, write one
module here with a `TABLES` that names its suffix.
"""

from mien.output.annotated import AnnotatedPictures, annotate
from mien.output.contract import Output
from mien.output.palette import COLOURS
from mien.output.registry import open_table, table_formats
from mien.output.table import CsvTable, JsonlTable, rows, table_columns

__all__ = [
    "COLOURS",
    "AnnotatedPictures",
    "CsvTable",
    "JsonlTable",
    "Output",
    "annotate",
    "open_table",
    "rows",
    "table_columns",
    "table_formats",
]
