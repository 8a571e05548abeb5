"""The schedule of a job as a picture: groups as columns, media agents as boxes with their buffers inside, chains as arrows from
buffer to buffer, and the drives beside their agents.

::

    lettering   how wide a text is, and how much of it fits
    layout      which box stands where
    draw        the SVG
"""

from __future__ import annotations

from tapeloom.picture.draw import svg

__all__ = ["svg"]
