"""The schedule of a job as a picture.

Groups are columns, media agents boxes with their buffers inside, chains arrows from buffer to buffer; the drives stand
beside their agents.

::

    lettering   how wide a text is, and how much of it fits
    geometry    boxes, lanes, links, columns, and their measures
    layout      which box stands in which column, and how wide columns are
    arrange     order and heights within the columns
    draw        the SVG
"""

from __future__ import annotations

from tapeloom.picture.draw import svg

__all__ = ["svg"]
