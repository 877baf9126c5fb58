"""Draws the letters that label the demo's sheets: ASCII 33 to 126, one beside the other.

    python -m world.glyphs models/glyphs.png

So the labels look the same on every machine, also where no font is installed. The font is the one
that comes with Pillow (Aileron, CC0).
"""

import sys

from PIL import Image, ImageDraw, ImageFont

CELL = (16, 18)


def main():
    font = ImageFont.load_default(size=13)
    strip = Image.new('L', (CELL[0] * 94, CELL[1]), 255)
    pen = ImageDraw.Draw(strip)
    for i in range(94):
        pen.text((i * CELL[0] + 1, 1), chr(33 + i), font=font, fill=0)
    strip.save(sys.argv[1], optimize=True)


if __name__ == '__main__':
    main()
