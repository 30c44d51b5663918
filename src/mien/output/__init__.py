"""Results out: tables (CSV, JSON lines, Parquet, pandas), JSON, and annotated images.

Every output is used in a `with` statement and fed with `write(FrameResult)`. To add a table format, write one
module here with a `TABLES` that names its suffix.
"""

from mien.output.base import Output
from mien.output.dataframe import to_pandas
from mien.output.drawing.annotated import OVERLAYS, AnnotatedImages, Overlay, annotate
from mien.output.drawing.palette import COLOURS
from mien.output.rows import rows
from mien.output.schema import SCHEMA, document, table_columns
from mien.output.styles import STYLES
from mien.output.tables import open_table, table_formats
from mien.output.tables.parquet import ParquetTable
from mien.output.tables.text import CsvTable, JsonlTable

__all__ = [
    "COLOURS",
    "OVERLAYS",
    "SCHEMA",
    "STYLES",
    "AnnotatedImages",
    "CsvTable",
    "JsonlTable",
    "Output",
    "Overlay",
    "ParquetTable",
    "annotate",
    "document",
    "open_table",
    "rows",
    "table_columns",
    "table_formats",
    "to_pandas",
]
