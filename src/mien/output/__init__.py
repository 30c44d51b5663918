"""Results out: tables (CSV, JSON lines, Parquet, pandas), JSON, annotated images, and the terminal.

Every output is used in a `with` statement and given results with `write(FrameResult)`.
"""

from mien.output.base import Output
from mien.output.drawing.annotated import OVERLAYS, AnnotatedImages, Overlay, annotate
from mien.output.drawing.palette import COLOURS
from mien.output.schema import SCHEMA, Layout, document, rows, table_columns
from mien.output.styles import STYLES
from mien.output.tables import open_table, table_formats, to_pandas

__all__ = [
    "COLOURS",
    "OVERLAYS",
    "SCHEMA",
    "STYLES",
    "AnnotatedImages",
    "Layout",
    "Output",
    "Overlay",
    "annotate",
    "document",
    "open_table",
    "rows",
    "table_columns",
    "table_formats",
    "to_pandas",
]
