"""A small drawing kit on Pillow: paths with curves, gradients, soft shadows, supersampled."""

import re

from PIL import Image, ImageChops, ImageDraw, ImageFilter

SUPERSAMPLING = 3


def rgb(colour):
    """`#rrggbb` as three numbers."""
    return tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5))


def mix(a, b, share):
    """The colour `share` of the way from `a` to `b`."""
    return "#%02x%02x%02x" % tuple(round(x + (y - x) * share) for x, y in zip(rgb(a), rgb(b)))


def _table(stops):
    """256 values for each of red, green, blue and alpha from `(place, colour, alpha)` stops."""
    stops = [(place, rgb(colour) + (round(255 * (rest[0] if rest else 1)),)) for place, colour, *rest in stops]
    tables = [[], [], [], []]
    for step in range(256):
        at = step / 255
        before = max((s for s in stops if s[0] <= at), default=stops[0], key=lambda s: s[0])
        after = min((s for s in stops if s[0] >= at), default=stops[-1], key=lambda s: s[0])
        share = 0 if after[0] == before[0] else (at - before[0]) / (after[0] - before[0])
        for table, x, y in zip(tables, before[1], after[1]):
            table.append(round(x + (y - x) * share))
    return tables


class Linear:
    """A gradient from one point to another."""

    def __init__(self, start, end, *stops):
        self.start, self.end, self.stops = start, end, stops

    def ramp(self, size, scale, origin):
        strip = Image.new("L", (3, 256 * 21), 0)
        strip.paste(Image.linear_gradient("L").resize((3, 256)), (0, 256 * 10))
        strip.paste(255, (0, 256 * 11, 3, 256 * 21))
        (x0, y0), (x1, y1) = self.start, self.end
        dx, dy = x1 - x0, y1 - y0
        norm = 256 / (dx * dx + dy * dy)
        a, b = dx * norm / scale, dy * norm / scale
        c = 2560 + a * origin[0] + b * origin[1] - (x0 * dx + y0 * dy) * norm
        return strip.transform(size, Image.Transform.AFFINE, (0, 0, 1.5, a, b, c), Image.Resampling.BILINEAR)


class Radial:
    """A gradient from a point outwards; `ry` flattens it."""

    def __init__(self, centre, radius, *stops, ry=None):
        self.centre, self.radius, self.ry, self.stops = centre, radius, ry or radius, stops

    def ramp(self, size, scale, origin):
        sx, sy = 128 / self.radius / scale, 128 / self.ry / scale
        cx, cy = 128 - self.centre[0] * 128 / self.radius, 128 - self.centre[1] * 128 / self.ry
        matrix = (sx, 0, cx + sx * origin[0], 0, sy, cy + sy * origin[1])
        # Pillow's gradient reaches 255 in the corners; here the radius ends at the middle of a side.
        gradient = Image.radial_gradient("L").point(lambda v: min(255, round(v * 2**0.5 + 1)))
        return gradient.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=255)


def path(text):
    """An SVG path of absolute M, L, C, Q and Z as lists of points, one list for each M."""
    shapes, points, command, numbers = [], [], None, []
    for token in re.findall(r"[MLCQZ]|-?\d+(?:\.\d+)?", text) + ["M"]:
        if not token.isalpha():
            numbers.append(float(token))
            continue
        pairs = list(zip(numbers[::2], numbers[1::2]))
        if command == "M" and pairs:
            points = list(pairs)
            shapes.append(points)
        elif command == "L":
            points += pairs
        elif command in ("C", "Q"):
            width = 3 if command == "C" else 2
            for at in range(0, len(pairs), width):
                knots = [points[-1], *pairs[at : at + width]]
                for step in range(1, 29):
                    layer, share = knots, step / 28
                    while len(layer) > 1:
                        layer = [
                            (ax + (bx - ax) * share, ay + (by - ay) * share)
                            for (ax, ay), (bx, by) in zip(layer, layer[1:])
                        ]
                    points.append(layer[0])
        command, numbers = token, []
    return shapes


class Canvas:
    """A picture drawn in its own coordinates, larger than it will be saved."""

    def __init__(self, width, height, ground=None):
        self.size = (width, height)
        self.scale = SUPERSAMPLING
        self.image = Image.new("RGBA", (width * self.scale, height * self.scale), (0, 0, 0, 0))
        self.move = (0, 0, 1)
        if ground:
            self.rect(0, 0, width, height, ground)

    def at(self, x, y, zoom=1):
        """From here on coordinates are relative to this place and size."""
        self.move = (x, y, zoom)
        return self

    def _device(self, points):
        x, y, zoom = self.move
        return [((px * zoom + x) * self.scale, (py * zoom + y) * self.scale) for px, py in points]

    def mask(self, draw):
        """What `draw(pen, device, unit)` paints, as a mask."""
        mask = Image.new("L", self.image.size, 0)
        draw(ImageDraw.Draw(mask), self._device, self.scale * self.move[2])
        return mask

    def paint(self, mask, colour, opacity=1.0, clip=None, blur=0):
        """Lays a colour or gradient over the picture where the mask is."""
        if blur:
            mask = mask.filter(ImageFilter.GaussianBlur(blur * self.scale * self.move[2]))
        if clip is not None:
            mask = ImageChops.multiply(mask, clip)
        box = mask.getbbox()
        if not box:
            return mask
        part = mask.crop(box)
        if opacity < 1:
            part = part.point(lambda v: round(v * opacity))
        if isinstance(colour, str):
            layer = Image.new("RGB", part.size, rgb(colour))
        else:
            x, y, zoom = self.move
            scale = self.scale * zoom
            origin = (box[0] - x * self.scale, box[1] - y * self.scale)
            ramp = colour.ramp(part.size, scale, origin)
            red, green, blue, alpha = _table(colour.stops)
            layer = Image.merge("RGB", [ramp.point(red), ramp.point(green), ramp.point(blue)])
            part = ImageChops.multiply(part, ramp.point(alpha))
        layer.putalpha(part)
        self.image.alpha_composite(layer, box[:2])
        return mask

    def fill(self, shape, colour, **how):
        """Fills a path."""
        shapes = path(shape) if isinstance(shape, str) else [shape]

        def draw(pen, device, _unit):
            for points in shapes:
                pen.polygon(device(points), fill=255)

        return self.paint(self.mask(draw), colour, **how)

    def line(self, shape, colour, width, **how):
        """Strokes a path with round ends."""
        shapes = path(shape) if isinstance(shape, str) else [shape]

        def draw(pen, device, unit):
            half = width * unit / 2
            for points in map(device, shapes):
                pen.line(points, fill=255, width=max(1, round(width * unit)), joint="curve")
                for x, y in (points[0], points[-1]):
                    pen.ellipse((x - half, y - half, x + half, y + half), fill=255)

        return self.paint(self.mask(draw), colour, **how)

    def rect(self, x, y, width, height, colour, radius=0, **how):
        """Fills a rectangle with round corners."""

        def draw(pen, device, unit):
            (left, top), (right, bottom) = device([(x, y), (x + width, y + height)])
            pen.rounded_rectangle((left, top, right - 1, bottom - 1), radius * unit, fill=255)

        return self.paint(self.mask(draw), colour, **how)

    def oval(self, x, y, rx, ry, colour, **how):
        """Fills an ellipse around a point."""

        def draw(pen, device, _unit):
            pen.ellipse([*device([(x - rx, y - ry)])[0], *device([(x + rx, y + ry)])[0]], fill=255)

        return self.paint(self.mask(draw), colour, **how)

    def save(self, file, quality=82):
        """Writes the picture at its own size: WebP, or PNG by the name."""
        picture = self.image.resize(self.size, Image.Resampling.LANCZOS)
        if picture.getextrema()[3][0] == 255:
            picture = picture.convert("RGB")
        if str(file).endswith(".png"):
            picture.save(file, optimize=True)
        else:
            picture.save(file, quality=quality, method=6)
