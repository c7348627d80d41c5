#!/usr/bin/env python3
"""Draws the pictures of the papers from their text: each NAME.txt beside this file becomes NAME.svg.

A text is drawn as it stands, letter by letter in a grid, so that it reads the same in a terminal. Run again, it draws the
same; a test compares. Only the standard library is used."""

from html import escape
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = sorted(HERE.glob("*.txt"))
WIDTH, HEIGHT, MARGIN = 8.4, 18, 20
BOX = set("─│┌┐└┘├┤┬┴┼▶◀▲▼")


def target(source):
    return source.with_suffix(".svg")


def drawn(text):
    """The picture of a text. Its first line is its title."""
    title, _, body = text.partition("\n")
    lines = body.strip("\n").split("\n")
    wide = MARGIN * 2 + max(map(len, lines)) * WIDTH
    high = MARGIN * 2 + (len(lines) + 1) * HEIGHT
    made = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide:.0f}" height="{high:.0f}" viewBox="0 0 {wide:.0f} {high:.0f}" role="img">',
        f"<title>{escape(title)}</title>",
        '<style>text{font:14px ui-monospace,Menlo,Consolas,monospace;white-space:pre;fill:#1f2937}.b{fill:#2563eb}.t{font-weight:bold}'
        "rect{fill:#f8fafc}@media(prefers-color-scheme:dark){text{fill:#e5e7eb}.b{fill:#60a5fa}rect{fill:#111827}}</style>",
        f'<rect width="{wide:.0f}" height="{high:.0f}" rx="8"/>',
        f'<text class="t" x="{MARGIN}" y="{MARGIN + 4}">{escape(title)}</text>',
    ]
    for row, line in enumerate(lines):
        y = MARGIN + (row + 1.5) * HEIGHT
        for begin, part, is_box in runs(line):
            kind = ' class="b"' if is_box else ""
            long = len(part) * WIDTH
            made.append(f'<text{kind} x="{MARGIN + begin * WIDTH:.1f}" y="{y:.1f}" textLength="{long:.1f}">{escape(part)}</text>')
    return "\n".join([*made, "</svg>", ""])


def runs(line):
    """Runs of letters and of lines, each with its place; runs of blanks are left out."""
    begin = 0
    for end in range(1, len(line) + 1):
        if end == len(line) or kind(line[end]) != kind(line[begin]):
            part = line[begin:end]
            if part.strip():
                yield begin, part, kind(part[0]) == "box"
            begin = end


def kind(letter):
    return "box" if letter in BOX else "blank" if letter == " " else "letter"


if __name__ == "__main__":
    for one in SOURCES:
        target(one).write_text(drawn(one.read_text()))
        print(target(one).relative_to(HERE.parents[1]))
