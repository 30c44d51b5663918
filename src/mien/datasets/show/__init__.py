"""What a store holds: figures as text, and pictures for those who want to see it."""

from mien.datasets.show.summary import Summary, counts_table, summarise, text

__all__ = ["Summary", "counts_table", "summarise", "text"]
