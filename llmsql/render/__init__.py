"""A result as text: `text(result, "csv")`. Box, table, csv, json, jsonlines, markdown, list, line.

The formats are in `formats`, one function each; how a value is spelled is in `cells`;
how boxes are laid out in `box`; how wide text is in `measure`. Nothing here runs or prints a thing.
"""

from llmsql.render.box import Page
from llmsql.render.cells import Column, is_plan, is_shown
from llmsql.render.formats import FORMATS, text

__all__ = ["FORMATS", "Column", "Page", "is_plan", "is_shown", "text"]
