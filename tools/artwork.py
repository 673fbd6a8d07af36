#!/usr/bin/env python3
"""Draws the pictures of the demo bundle into creatives/demo/assets.

    pip install pillow && python3 tools/artwork.py [NAME...] [--out DIR] [--png]

The same source gives the same pictures: nothing is random without a fixed seed.
"""

import argparse
import math
import pathlib
import random

from brush import Canvas, Linear, Radial, mix, path

PINE, MOSS, PAPER, EMBER, SUN = "#12352f", "#2f6b55", "#f7f2e8", "#e8643c", "#f6b557"
VIOLET, CORAL, SEA, SAND = "#2a1458", "#ff6b4a", "#073b4c", "#f2dcb3"


def ridge(width, base, height, seed, roughness=0.55, start=5):
    """The outline of a mountain range: midpoint displacement with a fixed seed."""
    draw = random.Random(seed)
    heights = [draw.uniform(-1, 1) for _ in range(start)]
    swing = 0.55
    while len(heights) < 180:
        finer = []
        for a, b in zip(heights, heights[1:]):
            finer += [a, (a + b) / 2 + draw.uniform(-swing, swing)]
        heights, swing = finer + [heights[-1]], swing * roughness
    step = width / (len(heights) - 1)
    return [(at * step, base - h * height) for at, h in enumerate(heights)]


def land(canvas, outline, colour, bottom):
    """Fills below an outline."""
    return canvas.fill([*outline, (outline[-1][0], bottom), (outline[0][0], bottom)], colour)


def pine_tree(canvas, x, foot, height, colour):
    """A conifer of drooping tiers."""
    tiers, half = 6, height * 0.2
    right = []
    for tier in range(tiers):
        top, low = foot - height + height * 0.93 * tier / tiers, foot - height + height * 0.93 * (tier + 1.25) / tiers
        reach = half * (tier + 1.2) / tiers
        right += [(x + reach * 0.38 * (tier > 0), top), (x + reach, low)]
    left = [(2 * x - px, py) for px, py in reversed(right)]
    canvas.fill([(x, foot - height), *right, (x + 2, foot - height * 0.05), (x + 2, foot + 4), (x - 2, foot + 4), *left], colour)


def peaks(width, height, tall=False):
    """First light over layered ridges, with a lit tent among pines."""
    c = Canvas(width, height, Linear((0, 0), (0, height), (0, "#1c5562"), (0.26, "#4f9592"), (0.46, "#f2d79b"), (0.58, "#f9b27c"), (1, "#e98a6a")))
    sun_x, sun_y = width * (0.62 if tall else 0.6), height * (0.4 if tall else 0.42)
    reach = min(width, height)
    c.oval(sun_x, sun_y, reach * 1.1, reach * 1.1, Radial((sun_x, sun_y), reach * 1.1, (0, "#fff1c9", 0.75), (0.25, "#ffd9a0", 0.4), (1, "#ffd9a0", 0)))
    c.oval(sun_x, sun_y, reach * 0.1, reach * 0.1, "#fff6dc")
    layers = [
        (0.56, 0.10, 41, "#c9937f", "#e9b592", 7),
        (0.60, 0.16, 24, "#8f8077", "#d8a689", 5),
        (0.70, 0.13, 57, "#56756c", "#a9a18a", 6),
        (0.80, 0.10, 12, "#2c5a50", "#5f8573", 6),
    ]
    for base, rise, seed, top, mist, start in layers:
        outline = ridge(width, height * base, height * rise * (0.62 if tall else 1), seed, roughness=0.47 if tall else 0.55, start=start - 2 * tall)
        crest = min(y for _, y in outline)
        mask = land(c, outline, Linear((0, crest), (0, height * (base + 0.2)), (0, top), (0.55, mix(top, mist, 0.4)), (1, mist)), height)
        c.line(outline, "#ffe3b8", 2.2, opacity=0.35, clip=mask)
    hill = ridge(width, height * 0.9, height * 0.035, 8, roughness=0.4)
    far = random.Random(5)
    for _ in range(46 if not tall else 18):
        x = far.uniform(0, width)
        pine_tree(c, x, height * 0.9 + far.uniform(-4, 8), height * far.uniform(0.06, 0.12), mix("#24534a", PINE, far.random() * 0.6))
    land(c, hill, Linear((0, height * 0.86), (0, height), (0, "#1d473e"), (1, "#0d2823")), height)
    tx, ty, size = (width * 0.5, height * 0.935, height * 0.1) if tall else (width * 0.44, height * 0.94, height * 0.125)
    c.oval(tx, ty, size * 2.6, size * 1.3, Radial((tx, ty), size * 2.6, (0, "#ffd27a", 0.55), (1, "#ffd27a", 0), ry=size * 1.3))
    c.fill([(tx - size, ty), (tx - size * 0.05, ty - size * 0.95), (tx + size * 0.25, ty)], Linear((tx, ty - size), (tx, ty), (0, "#ffb45e"), (1, "#ffe6a6")))
    c.fill([(tx - size * 0.05, ty - size * 0.95), (tx + size * 1.15, ty - size * 0.05), (tx + size * 0.25, ty)], Linear((tx, ty), (tx + size, ty), (0, "#e8743f"), (1, "#a84a2c")))
    c.fill([(tx - size * 0.42, ty), (tx - size * 0.05, ty - size * 0.95), (tx - size * 0.1, ty)], "#7c3a22", opacity=0.55)
    near = random.Random(19)
    if tall:
        places = [(0.04, 0.36), (0.16, 0.24), (0.9, 0.42), (0.99, 0.3), (0.77, 0.2)]
    else:
        places = [(0.015, 0.5), (0.07, 0.36), (0.12, 0.24), (0.17, 0.3), (0.84, 0.28), (0.89, 0.4), (0.945, 0.55), (0.99, 0.42), (0.79, 0.2), (0.3, 0.13), (0.33, 0.17)]
    for x, tall_share in places:
        pine_tree(c, width * x, height * near.uniform(0.97, 1.0), height * tall_share, mix("#0a211d", "#16392f", near.random()))
    return c


def shoe(c, x, y, zoom, upper, deep, pop, sole="#fff3e6", ground=True):
    """A trail running shoe seen from its side, toe to the right: 620 wide, 330 high."""
    c.at(x, y, zoom)
    if ground:
        c.oval(318, 312, 300, 20, "#000000", opacity=0.38, blur=11)
    for at in range(15):
        left = 58 + at * 34
        drop = 296 - max(0, at - 11) ** 2 * 3.4
        c.fill([(left, drop - 14), (left + 27, drop - 14 - max(0, at - 11) * 3), (left + 23, drop + 13 - max(0, at - 11) * 3), (left + 6, drop + 13)], mix(deep, "#000000", 0.35))
    body = "M 52 238 C 40 196 40 142 58 98 C 64 80 88 78 100 92 C 116 118 150 130 184 114 L 228 58 C 240 44 262 48 270 66 C 296 112 372 156 446 176 C 520 194 590 208 604 246 C 560 262 480 262 400 256 C 280 246 160 250 52 238 Z"
    inside = "M 92 96 C 104 82 214 44 246 50 L 226 74 L 186 118 C 150 134 112 122 92 96 Z"
    c.fill(inside, mix(deep, "#000000", 0.25))
    mask = c.fill(body, Linear((250, 50), (330, 262), (0, mix(upper, "#ffffff", 0.18)), (0.5, upper), (1, mix(upper, deep, 0.55))))
    # Mesh: rows of small dots that follow the foot.
    for row in range(13):
        for column in range(36):
            px, py = 200 + column * 11 + (row % 2) * 5.5, 84 + row * 12 + column * 1.6
            c.oval(px, py, 1.9, 1.9, deep, opacity=0.28, clip=mask)
    # Heel counter, toe guard and mud guard.
    c.fill("M 30 250 L 40 90 C 92 120 118 170 142 252 Z", Linear((50, 110), (140, 250), (0, mix(deep, "#ffffff", 0.12)), (1, deep)), clip=mask)
    c.fill("M 430 270 C 470 214 540 196 640 220 L 640 280 Z", Linear((470, 200), (590, 260), (0, mix(deep, "#ffffff", 0.16)), (1, deep)), clip=mask)
    c.fill("M 120 270 C 250 222 350 236 470 270 Z", deep, clip=mask, opacity=0.75)
    # The brand's ridge on the flank.
    c.fill("M 148 238 L 232 134 L 268 176 L 312 124 L 412 240 L 372 240 L 312 172 L 270 222 L 234 180 L 186 239 Z", Linear((150, 130), (410, 240), (0, mix(pop, "#ffffff", 0.25)), (1, pop)), clip=mask)
    # Throat, tongue and laces.
    c.fill("M 196 108 L 236 52 C 248 44 266 52 274 70 C 300 114 372 154 440 172 C 410 190 386 184 350 168 C 296 146 240 122 196 108 Z", Linear((220, 60), (420, 180), (0, deep), (1, mix(deep, upper, 0.35))), clip=mask)
    c.fill("M 222 62 L 236 30 C 250 20 274 34 276 56 L 286 86 Z", Linear((230, 30), (280, 90), (0, mix(pop, "#ffffff", 0.2)), (1, mix(pop, deep, 0.3))))
    for at in range(5):
        px, py = 226 + at * 38, 104 + at * 17.5
        c.line([(px, py + 8), (px + 46, py - 18 + at * 2)], mix(deep, "#000000", 0.4), 11, opacity=0.45)
        c.line([(px, py + 5), (px + 46, py - 22 + at * 2)], sole, 9)
        c.oval(px - 2, py + 7, 5, 5, mix(deep, "#000000", 0.3))
    c.line("M 64 96 C 80 84 92 90 100 100", pop, 9)
    c.line("M 46 150 C 44 130 50 106 58 92", pop, 7)
    c.line("M 102 92 C 118 118 150 130 184 114", mix(deep, "#ffffff", 0.3), 6, opacity=0.9)
    # Light from above along the instep and a seam line.
    c.line("M 284 92 C 330 130 390 156 452 174 C 510 188 566 202 592 228", "#ffffff", 5, opacity=0.4, blur=2, clip=mask)
    # Midsole: two foams and a rocker groove.
    foam = "M 40 232 C 26 258 30 288 62 294 L 440 300 C 520 300 590 282 620 246 C 624 234 616 228 604 232 C 556 256 480 256 400 250 C 280 240 160 246 40 232 Z"
    foam_mask = c.fill(foam, Linear((0, 236), (0, 300), (0, sole), (0.55, mix(sole, upper, 0.12)), (1, mix(sole, deep, 0.4))))
    c.fill("M 20 300 L 34 262 C 180 286 330 262 470 284 C 540 292 600 270 640 240 L 640 320 L 20 320 Z", Linear((40, 0), (620, 0), (0, pop), (1, mix(pop, upper, 0.6))), clip=foam_mask)
    c.line("M 60 262 C 160 276 250 262 340 262", mix(sole, deep, 0.45), 3, opacity=0.6, clip=foam_mask)
    c.line("M 44 238 C 160 250 280 244 400 254 C 480 260 556 260 606 236", mix(deep, "#000000", 0.3), 4, opacity=0.35, blur=1.5, clip=foam_mask)
    c.at(0, 0)


def trail(width, height, tall=False):
    """A bright trail shoe leaping out of contour lines."""
    c = Canvas(width, height, Linear((0, 0), (width * 0.8, height), (0, "#ff8a5c"), (0.35, "#ef4f6e"), (0.72, "#7a2fa0"), (1, VIOLET)))
    cx, cy = width * 0.5, height * (0.46 if tall else 0.5)
    big = width * (0.62 if tall else 0.36)
    c.oval(cx, cy, big * 1.5, big * 1.5, Radial((cx, cy), big * 1.5, (0, "#ffd9a8", 0.55), (1, "#ffd9a8", 0)))
    c.oval(cx, cy, big * 0.86, big * 0.86, Linear((cx - big, cy - big), (cx + big, cy + big), (0, "#ffd28a"), (1, "#ff7a5c")))
    draw = random.Random(3)
    waves = [(draw.uniform(0.03, 0.09), n, draw.uniform(0, math.tau)) for n in (2, 3, 5)]
    for level in range(22):
        r = big * (0.3 + level * 0.155)
        outline = []
        for step in range(241):
            angle = math.tau * step / 240
            swell = 1 + sum(size * math.sin(n * angle + phase + level * 0.09) for size, n, phase in waves)
            outline.append((cx + r * swell * 1.25 * math.cos(angle), cy + r * swell * math.sin(angle)))
        c.line(outline, "#fff1e0", 1.7, opacity=0.24 if level % 4 else 0.5)
    for at, (dx, dy, size) in enumerate([(-0.42, 0.26, 7), (-0.36, 0.31, 4), (-0.47, 0.17, 4), (-0.4, 0.36, 6), (0.4, -0.3, 5), (0.45, -0.2, 3), (-0.33, 0.2, 3)]):
        c.oval(cx + dx * width, cy + dy * height, size, size, "#ffe0b0" if at % 2 else "#fff6ea", opacity=0.85)
    zoom = width / 620 * (0.92 if tall else 0.62)
    left, top = cx - 318 * zoom, cy - 170 * zoom
    c.oval(cx, top + 345 * zoom, 260 * zoom, 26 * zoom, "#1c0b3a", opacity=0.55, blur=14 * zoom)
    shoe(c, left, top, zoom, "#19d3c5", "#33157a", "#ffe14d", ground=False)
    return c


def suitcase(c, x, y, zoom, shell="#ff8a5c", deep="#c8492f"):
    """A hard-shell cabin case, 220 wide, 420 high with its handle out."""
    c.at(x, y, zoom)
    c.oval(120, 414, 170, 14, "#000000", opacity=0.35, blur=8)
    for left in (66, 146):
        c.rect(left, 0, 9, 110, Linear((left, 0), (left + 9, 0), (0, "#5d6b74"), (0.5, "#e9f0f3"), (1, "#7b8a93")))
    c.rect(58, -8, 105, 20, Linear((0, -8), (0, 12), (0, "#3f4b54"), (1, "#1f282e")), radius=9)
    for left in (22, 166):
        c.rect(left, 388, 30, 26, "#232c33", radius=9)
        c.rect(left + 8, 392, 14, 18, "#56646d", radius=6)
    body = c.rect(0, 90, 220, 308, Linear((0, 0), (220, 0), (0, mix(shell, "#ffffff", 0.22)), (0.35, shell), (1, deep)), radius=30)
    for at in range(5):
        left = 32 + at * 34
        c.rect(left, 102, 16, 284, Linear((left, 0), (left + 16, 0), (0, deep), (0.5, mix(shell, "#ffffff", 0.28)), (1, shell)), radius=8, opacity=0.75, clip=body)
    c.rect(0, 236, 220, 15, mix(deep, "#000000", 0.22), clip=body, opacity=0.85)
    c.rect(0, 251, 220, 3, "#ffffff", clip=body, opacity=0.3)
    for px, py in ((0, 90), (176, 90), (0, 354), (176, 354)):
        c.rect(px, py, 44, 44, mix(deep, "#000000", 0.12), radius=12, clip=body, opacity=0.9)
    c.rect(78, 84, 64, 16, "#2b343b", radius=8)
    c.rect(95, 228, 30, 32, "#f7d27a", radius=6)
    c.oval(110, 243, 5, 5, "#8b6420")
    c.line("M 12 150 C 10 190 12 230 12 330", "#ffffff", 5, opacity=0.45, blur=2, clip=body)
    c.line("M 136 94 C 170 110 184 128 188 150", "#2b343b", 4)
    c.fill("M 170 150 L 206 142 L 222 200 C 212 212 194 214 184 208 Z", Linear((170, 150), (220, 210), (0, "#fff8ea"), (1, "#f0d9b0")))
    c.oval(189, 155, 4, 4, "#8b6420")
    c.fill("M 186 194 L 196 176 L 201 184 L 206 178 L 213 192 Z", MOSS)
    c.at(0, 0)


def coast(width, height, tall=False):
    """A cabin case on a terrace above a bright bay."""
    horizon = height * (0.42 if tall else 0.46)
    c = Canvas(width, height, Linear((0, 0), (0, horizon), (0, "#2f9fc4"), (0.55, "#8fd6dc"), (1, "#fff0cf")))
    sx, sy = width * (0.7 if tall else 0.72), horizon * 0.5
    reach = min(width, height)
    c.oval(sx, sy, reach * 0.9, reach * 0.9, Radial((sx, sy), reach * 0.9, (0, "#fffbe6", 0.9), (0.2, "#fff0c0", 0.45), (1, "#fff0c0", 0)))
    c.oval(sx, sy, reach * 0.085, reach * 0.085, "#fffdf2")
    for cloud_x, cloud_y, size in ((0.12, 0.2, 1.0), (0.87, 0.62, 0.8), (0.36, 0.58, 0.7)):
        px, py, s = width * cloud_x, horizon * cloud_y, reach * 0.11 * size
        for dx, dy, r in ((-1.1, 0.1, 0.5), (-0.4, -0.2, 0.75), (0.5, -0.05, 0.62), (1.2, 0.15, 0.42)):
            c.oval(px + dx * s, py + dy * s, r * s, r * s * 0.62, "#ffffff", opacity=0.8, blur=3)
    ax, ay, a = (width * 0.34, horizon * 0.2, reach * 0.00085) if tall else (width * 0.42, horizon * 0.2, reach * 0.0009)
    c.line([(ax - 330 * a, ay + 92 * a), (ax, ay)], Linear((ax - 330 * a, 0), (ax, 0), (0, "#ffffff", 0), (1, "#ffffff", 0.95)), 6 * a)
    c.at(ax, ay, a)
    c.fill("M -14 10 L 78 -18 C 92 -22 100 -14 88 -8 L 52 6 L 24 44 L 12 46 L 24 14 L -2 20 L -14 32 L -22 32 L -18 16 Z M 40 -8 L 6 -34 L 18 -36 L 62 -14 Z", "#ffffff")
    c.at(0, 0)
    for reach_x, rise, seed, near, far in ((0.5, 0.17, 15, "#5da3a6", "#b9dcd0"), (0.3, 0.24, 4, "#2f7d78", "#86bfae")):
        draw = random.Random(seed)
        outline = [(0, horizon - height * rise)]
        for step in range(1, 60):
            share = step / 60
            fall = (1 - share) ** 0.7 * (0.86 + 0.14 * math.cos(share * 11 + seed))
            outline.append((width * reach_x * share, horizon - height * rise * fall + draw.uniform(-2, 2)))
        outline.append((width * reach_x, horizon + 1))
        land(c, outline, Linear((0, horizon - height * rise), (0, horizon), (0, near), (1, far)), horizon + 2)
    c.rect(0, horizon, width, height - horizon, Linear((0, horizon), (0, height * 0.86), (0, "#5cc9cf"), (0.35, "#1b93ab"), (1, SEA)))
    glints = random.Random(11)
    for _ in range(170):
        depth = glints.random() ** 1.5
        py = horizon + 4 + depth * (height * 0.8 - horizon)
        px = sx + glints.gauss(0, width * (0.05 + 0.28 * depth))
        long = (8 + 52 * depth) * reach / 628
        c.rect(px - long / 2, py, long, 1.4 + 2.6 * depth, "#fff6d8", radius=2, opacity=0.2 + 0.4 * glints.random())
    bx, by, b = (width * 0.2, horizon + height * 0.055, reach * 0.0011) if tall else (width * 0.24, horizon + height * 0.06, reach * 0.0013)
    c.at(bx, by, b)
    c.fill("M -30 0 L 34 0 L 24 12 L -20 12 Z", "#fffaf0")
    c.fill("M 0 -64 L 0 -5 L 34 -5 Z", "#fffaf0")
    c.fill("M -4 -52 L -4 -5 L -26 -5 Z", "#ffd9a0")
    c.rect(-40, 14, 80, 3, "#ffffff", radius=1, opacity=0.4)
    c.at(0, 0)
    floor = height * (0.8 if tall else 0.78)
    # Balustrade, then the terrace in perspective.
    c.rect(0, floor - height * 0.022, width, height * 0.03, Linear((0, floor - height * 0.022), (0, floor + 4), (0, "#fffaf0"), (1, "#e2c998")))
    c.rect(0, floor, width, height - floor, Linear((0, floor), (0, height), (0, "#e9cfa0"), (0.15, SAND), (1, "#d9b67c")))
    for at in range(-14, 15):
        c.line([(width / 2 + at * width * 0.055, floor + 5), (width / 2 + at * width * 0.13, height)], "#b98f56", 1.6, opacity=0.35)
    for at in (0.16, 0.42, 0.8):
        c.line([(0, floor + (height - floor) * at), (width, floor + (height - floor) * at)], "#b98f56", 1.2 + at, opacity=0.35)
    zoom = (width / 220 * 0.5) if tall else height / 420 * 0.76
    cx = width * 0.5 - 110 * zoom
    top = height * (0.965 if tall else 0.95) - 414 * zoom
    c.fill([(cx + 20 * zoom, top + 412 * zoom), (cx + 220 * zoom, top + 412 * zoom), (cx - 150 * zoom, top + 440 * zoom), (cx - 330 * zoom, top + 432 * zoom)], "#6b4a22", opacity=0.32, blur=5)
    suitcase(c, cx, top, zoom)
    # A sun hat leans against the case.
    hx, hy, h = cx + 215 * zoom, top + 388 * zoom, zoom * 1.15
    c.at(hx, hy, h)
    c.oval(50, 24, 92, 9, "#000000", opacity=0.3, blur=5)
    c.oval(50, 14, 96, 17, Linear((-40, 0), (150, 0), (0, "#fff0cc"), (1, "#d9a95c")))
    c.fill("M 2 12 C -2 -40 20 -62 50 -62 C 80 -62 102 -40 98 12 C 70 22 30 22 2 12 Z", Linear((0, -60), (100, 10), (0, "#fff4d8"), (1, "#dcae63")))
    c.fill("M 2 12 C 1 4 1 -4 2 -12 C 34 -2 66 -2 98 -12 C 99 -4 99 4 98 12 C 70 22 30 22 2 12 Z", "#0f6d82")
    c.at(0, 0)
    return c


def bottle(c, x, y, zoom, body="#1f7a6a", cap="#12352f", ground=True):
    """An insulated bottle, 110 wide, 330 high."""
    c.at(x, y, zoom)
    if ground:
        c.oval(56, 326, 78, 11, "#000000", opacity=0.32, blur=7)
    c.line("M 30 44 C 20 -14 92 -14 82 44", mix(cap, "#ffffff", 0.15), 10)
    c.rect(26, 34, 60, 40, Linear((26, 0), (86, 0), (0, mix(cap, "#ffffff", 0.35)), (0.45, cap), (1, mix(cap, "#000000", 0.35))), radius=9)
    mask = c.fill("M 28 70 L 84 70 C 86 96 110 100 110 132 L 110 304 C 110 322 102 328 90 328 L 22 328 C 10 328 2 322 2 304 L 2 132 C 2 100 26 96 28 70 Z", Linear((2, 0), (110, 0), (0, mix(body, "#ffffff", 0.18)), (0.22, mix(body, "#ffffff", 0.34)), (0.5, body), (1, mix(body, "#000000", 0.38))))
    c.rect(0, 284, 120, 60, "#000000", opacity=0.2, clip=mask)
    c.rect(0, 70, 120, 7, "#ffffff", opacity=0.35, clip=mask)
    c.fill("M 26 220 L 52 180 L 63 196 L 72 186 L 92 220 Z", PAPER, opacity=0.95)
    c.oval(76, 172, 7, 7, SUN)
    c.line("M 16 140 L 16 276", "#ffffff", 6, opacity=0.4, blur=2, clip=mask)
    c.at(0, 0)


def backpack(c, x, y, zoom, body="#2f6b8f", deep="#173c55", pop=SUN):
    """A roll-top day pack, 260 wide, 340 high."""
    c.at(x, y, zoom)
    c.oval(130, 334, 150, 13, "#000000", opacity=0.32, blur=8)
    c.line("M 92 40 C 92 -6 168 -6 168 40", deep, 13)
    c.fill("M 22 120 C -22 170 -18 280 14 318 L 40 318 L 40 120 Z", deep)
    c.fill("M 238 120 C 282 170 278 280 246 318 L 220 318 L 220 120 Z", mix(deep, "#000000", 0.25))
    mask = c.fill("M 40 60 C 70 34 190 34 220 60 C 246 110 250 250 240 316 C 236 334 222 336 208 336 L 52 336 C 38 336 24 334 20 316 C 10 250 14 110 40 60 Z", Linear((10, 0), (250, 0), (0, mix(body, "#ffffff", 0.16)), (0.4, body), (1, mix(body, deep, 0.85))))
    c.fill("M 0 0 L 260 0 L 260 106 C 190 128 70 128 0 106 Z", Linear((0, 30), (0, 126), (0, mix(deep, "#ffffff", 0.14)), (1, deep)), clip=mask)
    c.line("M 14 108 C 70 130 190 130 246 108", "#000000", 5, opacity=0.35, blur=2, clip=mask)
    for left in (74, 170):
        c.rect(left, 46, 16, 150, Linear((left, 0), (left + 16, 0), (0, mix(pop, "#ffffff", 0.25)), (1, pop)), radius=4, clip=mask)
        c.rect(left - 5, 142, 26, 24, mix(deep, "#000000", 0.3), radius=5)
        c.rect(left + 1, 148, 14, 12, mix(deep, "#ffffff", 0.3), radius=3)
    pocket = c.rect(44, 202, 172, 120, Linear((0, 202), (0, 322), (0, mix(body, "#ffffff", 0.14)), (1, mix(body, deep, 0.7))), radius=26)
    c.line("M 52 230 C 90 240 170 240 208 230", mix(deep, "#000000", 0.2), 5, clip=pocket)
    c.rect(196, 228, 8, 26, pop, radius=3)
    c.fill("M 96 292 L 120 258 L 132 272 L 142 262 L 164 292 Z", PAPER)
    c.line("M 34 130 C 28 190 28 250 32 310", "#ffffff", 6, opacity=0.3, blur=3, clip=mask)
    c.at(0, 0)


def jacket(c, x, y, zoom, body="#e8643c", deep="#8f2f17", pop="#ffe2b0"):
    """A hooded rain shell laid flat, 340 wide, 330 high."""
    c.at(x, y, zoom)
    c.oval(170, 326, 150, 11, "#000000", opacity=0.3, blur=8)
    c.fill("M 92 66 C 52 82 26 150 8 268 C 6 282 44 296 56 286 L 110 150 Z", Linear((10, 0), (110, 0), (0, mix(body, "#ffffff", 0.1)), (1, mix(body, deep, 0.5))))
    c.fill("M 248 66 C 288 82 314 150 332 268 C 334 282 296 296 284 286 L 230 150 Z", Linear((230, 0), (332, 0), (0, mix(body, deep, 0.35)), (1, mix(body, deep, 0.8))))
    c.line("M 10 262 C 26 276 44 284 60 280", pop, 8)
    c.line("M 330 262 C 314 276 296 284 280 280", pop, 8)
    mask = c.fill("M 88 68 C 130 50 210 50 252 68 C 262 150 262 250 258 318 C 210 330 130 330 82 318 C 78 250 78 150 88 68 Z", Linear((80, 0), (260, 0), (0, mix(body, "#ffffff", 0.2)), (0.45, body), (1, mix(body, deep, 0.6))))
    c.fill("M 60 40 L 280 40 L 280 132 C 220 152 120 152 60 132 Z", Linear((0, 60), (0, 146), (0, deep), (1, mix(deep, body, 0.25))), clip=mask, opacity=0.92)
    c.fill("M 112 66 C 100 16 132 -8 170 -8 C 208 -8 240 16 228 66 C 210 84 130 84 112 66 Z", Linear((110, 0), (230, 0), (0, mix(body, "#ffffff", 0.22)), (1, mix(body, deep, 0.5))))
    c.fill("M 128 60 C 124 26 144 14 170 14 C 196 14 216 26 212 60 C 196 74 144 74 128 60 Z", mix(deep, "#000000", 0.35))
    c.line("M 170 62 L 170 322", pop, 6)
    c.rect(165, 96, 11, 24, pop, radius=4)
    c.line("M 102 232 L 140 214", mix(deep, "#000000", 0.1), 7)
    c.line("M 238 232 L 200 214", mix(deep, "#000000", 0.1), 7)
    c.fill("M 196 116 L 210 96 L 217 104 L 222 98 L 234 116 Z", PAPER)
    c.line("M 96 160 C 92 210 92 260 96 306", "#ffffff", 6, opacity=0.35, blur=3, clip=mask)
    c.at(0, 0)


def basket_with_things(c, x, y, zoom):
    """A woven basket, 520 wide, about 470 high, with what was put into it."""
    c.at(x, y, zoom)
    c.oval(262, 466, 300, 20, "#5a3216", opacity=0.4, blur=12)
    c.at(0, 0)
    backpack(c, x + 52 * zoom, y + 6 * zoom, zoom * 0.86, "#2f6b8f", "#173c55", SUN)
    bottle(c, x + 288 * zoom, y + 22 * zoom, zoom * 0.92, "#e8643c", "#5a2313", ground=False)
    c.at(x, y, zoom)
    c.rect(374, 150, 118, 120, Linear((374, 0), (492, 0), (0, "#2a7d67"), (1, PINE)), radius=6)
    c.rect(364, 138, 138, 38, Linear((0, 138), (0, 176), (0, "#3c937b"), (1, "#1e5c4c")), radius=6)
    c.fill("M 408 232 L 430 198 L 441 211 L 450 202 L 470 232 Z", PAPER)
    c.line("M 58 240 C 40 -60 480 -60 462 240", "#7a4a22", 24)
    c.line("M 58 236 C 40 -64 480 -64 462 236", Linear((60, 0), (460, 0), (0, "#d69a55"), (0.4, "#f0c07c"), (1, "#a86a30")), 15)
    body = c.fill("M 18 232 L 502 232 L 450 452 C 446 464 434 466 424 466 L 96 466 C 86 466 74 464 70 452 Z", Linear((18, 0), (502, 0), (0, "#b87a3c"), (0.35, "#d89d58"), (1, "#8a5424")))
    for row in range(7):
        for column in range(19):
            left = 2 + column * 28 + (row % 2) * 14
            top = 252 + row * 31
            c.rect(left, top, 25, 26, Linear((0, top), (0, top + 26), (0, "#f3c88a"), (0.5, "#dba260"), (1, "#a96f35")), radius=9, opacity=0.85, clip=body)
    c.fill("M 300 232 L 520 232 L 520 480 L 330 480 Z", Linear((300, 0), (500, 0), (0, "#5a2f10", 0), (1, "#5a2f10", 0.5)), clip=body)
    c.rect(0, 232, 520, 18, "#4a2610", opacity=0.35, blur=4, clip=body)
    c.rect(4, 214, 512, 36, Linear((0, 214), (0, 250), (0, "#f5cf96"), (0.5, "#d89d58"), (1, "#9a6028")), radius=18)
    for at in range(18):
        c.line([(24 + at * 28, 246), (38 + at * 28, 218)], "#8a5424", 3, opacity=0.55)
    c.at(0, 0)


def basket(width, height, tall=False):
    """The basket left behind, in warm light."""
    c = Canvas(width, height, Linear((0, 0), (0, height), (0, "#fff4e0"), (0.7, "#ffdfb8"), (1, "#f7c592")))
    cx, cy = width * 0.5, height * (0.46 if tall else 0.5)
    big = width * (0.56 if tall else 0.24)
    c.oval(cx, cy, big * 2, big * 2, Radial((cx, cy), big * 2, (0, "#ffffff", 0.7), (1, "#ffffff", 0)))
    c.oval(cx, cy, big, big, Linear((cx - big, cy - big), (cx + big, cy + big), (0, "#ffc987"), (1, "#f08a5d")))
    floor = height * 0.82
    c.rect(0, floor, width, height - floor, Linear((0, floor), (0, height), (0, "#e9a772"), (1, "#c97f4e")))
    c.rect(0, floor, width, 3, "#fff1da", opacity=0.6)
    # Light of a window falls over the wall.
    for left in (0.06, 0.19) if not tall else (0.02,):
        c.fill([(width * left, height * 0.1), (width * (left + 0.11), height * 0.06), (width * (left + 0.14), height * 0.6), (width * (left + 0.03), height * 0.66)], "#ffffff", opacity=0.3, blur=4)
    if not tall:
        # A rail with a jacket on the right, a plant on the left.
        c.line([(width * 0.74, height * 0.16), (width * 0.98, height * 0.16)], "#7a4a22", 9)
        c.line([(width * 0.86, height * 0.16), (width * 0.86, height * 0.21)], "#7a4a22", 5)
        jacket(c, width * 0.86 - 170 * 1.02, height * 0.22, 1.02, "#2f8f7a", "#14473c", "#f7e3b5")
        px, py = width * 0.15, height * 0.86
        for angle, long in ((-62, 190), (-36, 240), (-12, 270), (14, 262), (40, 224), (64, 176)):
            a = math.radians(angle)
            tx, ty = px + math.sin(a) * long, py - 60 - math.cos(a) * long
            mx, my = px + math.sin(a) * long * 0.4, py - 60 - math.cos(a) * long * 0.62
            n = (math.cos(a) * 26, math.sin(a) * 26)
            c.fill(f"M {px:.1f} {py - 50:.1f} Q {mx - n[0]:.1f} {my - n[1]:.1f} {tx:.1f} {ty:.1f} Q {mx + n[0]:.1f} {my + n[1]:.1f} {px:.1f} {py - 50:.1f} Z".replace("-0.0", "0.0"), Linear((px, py), (tx, ty), (0, PINE), (1, "#5aa37f")))
        c.fill([(px - 58, py - 74), (px + 58, py - 74), (px + 42, py + 30), (px - 42, py + 30)], Linear((px - 58, 0), (px + 58, 0), (0, "#fff3e0"), (1, "#d9b48c")))
        c.oval(px, py + 32, 70, 9, "#5a3216", opacity=0.3, blur=6)
    zoom = width / 520 * 0.92 if tall else height / 470 * 0.83
    basket_with_things(c, cx - 262 * zoom, height * (0.93 if tall else 0.94) - 466 * zoom, zoom)
    return c


def workshop(width, height, tall=False):
    """A mended sleeve: patch, thread and needle."""
    c = Canvas(width, height, Linear((0, 0), (width, height), (0, "#2f6b55"), (1, PINE)))
    for at in range(-30, 70):
        c.line([(at * 26, 0), (at * 26 - height * 0.5, height)], "#0b2621", 3, opacity=0.2)
    c.rect(0, 0, width, height, Radial((width * 0.45, height * 0.4), width * 0.75, (0, "#ffffff", 0.14), (1, "#000000", 0.3)))
    s = height / 628 if not tall else width / 628
    c.at(width * 0.5 - 250 * s, height * 0.5 - 210 * s, s)
    c.fill("M 40 50 C 160 20 340 26 460 58 C 486 160 484 280 452 376 C 330 404 160 402 48 372 C 16 270 14 150 40 50 Z", "#000000", opacity=0.4, blur=12)
    patch = c.fill("M 34 40 C 156 12 340 16 466 46 C 492 150 488 276 458 372 C 336 398 160 394 42 366 C 12 264 8 146 34 40 Z", Linear((0, 0), (480, 400), (0, "#ffc06a"), (0.6, "#f0863f"), (1, "#d9603a")))
    c.fill("M 60 330 L 190 150 L 246 216 L 312 128 L 440 330 Z", PAPER, clip=patch)
    c.fill("M 190 150 L 246 216 L 206 236 L 176 210 L 148 226 L 140 220 Z M 312 128 L 366 212 L 330 206 L 304 226 L 276 176 Z", "#bfe0d2", clip=patch)
    c.oval(368, 100, 34, 34, "#fff1c9", clip=patch)
    stitch = path_along("M 56 62 C 166 38 334 42 446 66 C 468 160 464 270 440 354 C 330 376 164 374 60 348 C 36 260 34 150 56 62")
    for at in range(0, len(stitch) - 3, 6):
        c.line(stitch[at : at + 4], "#12352f", 8, opacity=0.9)
    c.line("M 440 354 C 520 372 560 330 600 350 C 660 380 620 440 560 420", "#fff3da", 6)
    c.line("M 470 470 L 690 250", "#5e6b70", 15, opacity=0.5, blur=5)
    c.line("M 462 460 L 682 240", Linear((462, 460), (690, 240), (0, "#ffffff"), (0.5, "#c8d4d8"), (1, "#eef4f6")), 11)
    c.line("M 654 268 L 672 250", "#5e6b70", 4)
    c.at(0, 0)
    return c


def path_along(text):
    """Points evenly spread along one path."""
    points = path(text)[0]
    even, left = [points[0]], 0.0
    for (ax, ay), (bx, by) in zip(points, points[1:]):
        long = math.dist((ax, ay), (bx, by))
        while left + long >= 7:
            share = (7 - left) / long
            ax, ay = ax + (bx - ax) * share, ay + (by - ay) * share
            even.append((ax, ay))
            long, left = math.dist((ax, ay), (bx, by)), 0.0
        left += long
    return even


def lantern(width, height, tall=False):
    """Night at the camp: stars, a fire and the gold of the members' weekend."""
    c = Canvas(width, height, Linear((0, 0), (0, height), (0, "#0c1230"), (0.55, "#2b2a5e"), (0.8, "#7a4a6b"), (1, "#d9835b")))
    sky = random.Random(21)
    for _ in range(190 if not tall else 90):
        x, y, r = sky.uniform(0, width), sky.random() ** 1.4 * height * 0.66, sky.choice((0.8, 1.0, 1.2, 1.9))
        c.oval(x, y, r, r, "#fff4d6", opacity=sky.uniform(0.35, 1))
    for base, rise, seed, top, low in ((0.72, 0.12, 33, "#3c3568", "#8a5672"), (0.8, 0.1, 29, "#262652", "#4e3c66"), (0.88, 0.05, 4, "#15183a", "#1f1f47")):
        land(c, ridge(width, height * base, height * rise, seed), Linear((0, height * (base - rise)), (0, height * (base + 0.14)), (0, top), (1, low)), height)
    near = random.Random(2)
    for x in (0.02, 0.06, 0.11, 0.17, 0.83, 0.88, 0.93, 0.985) if not tall else (0.03, 0.14, 0.86, 0.97):
        pine_tree(c, width * x, height, height * near.uniform(0.28, 0.5), "#0a0d24")
    lx, foot = width * 0.5, height * 0.955
    s = height / 628 if not tall else width / 420
    c.oval(lx, foot - 130 * s, 420 * s, 420 * s, Radial((lx, foot - 130 * s), 420 * s, (0, "#ffcf70", 0.85), (0.35, "#ffb24d", 0.35), (1, "#ffb24d", 0)))
    c.rect(0, foot - 6 * s, width, height, Linear((0, foot), (0, height), (0, "#0d1029"), (1, "#070919")))
    c.at(lx - 80 * s, foot - 290 * s, s)
    c.oval(80, 292, 120, 12, "#000000", opacity=0.5, blur=6)
    c.line("M 30 70 C 20 -30 140 -30 130 70", "#c99a4a", 8)
    c.fill("M 46 40 L 114 40 L 132 84 L 28 84 Z", Linear((28, 0), (132, 0), (0, "#f0c878"), (0.5, "#c99a4a"), (1, "#7a5520")))
    glass = c.rect(34, 84, 92, 150, Linear((34, 0), (126, 0), (0, "#ffe9b0"), (0.5, "#fff8dc"), (1, "#ffcf70")), radius=14)
    c.fill("M 80 128 C 108 166 106 208 80 216 C 54 208 52 166 80 128 Z", Linear((80, 128), (80, 216), (0, "#ff8a3c"), (1, "#ffd75e")), clip=glass)
    c.fill("M 80 164 C 94 184 92 206 80 212 C 68 206 66 184 80 164 Z", "#fffbe6", clip=glass)
    for left in (34, 76, 120):
        c.rect(left, 84, 7, 152, "#8a6428", opacity=0.9)
    c.fill("M 24 234 L 136 234 L 148 288 L 12 288 Z", Linear((12, 0), (148, 0), (0, "#f0c878"), (0.5, "#c99a4a"), (1, "#7a5520")))
    c.rect(24, 232, 112, 8, "#fff1c9", opacity=0.5, radius=3)
    c.at(0, 0)
    return c


def product(draw, ground, width, height, zoom):
    """One thing on a plain square."""
    c = Canvas(400, 400, Radial((200, 170), 300, (0, mix(ground, "#ffffff", 0.6)), (1, ground)))
    draw(c, 200 - width * zoom / 2, 205 - height * zoom / 2, zoom)
    return c


def mark(ink=PAPER, sun=SUN):
    """The brand's mark: a sun behind two peaks, on nothing."""
    c = Canvas(128, 128)
    c.oval(84, 40, 22, 22, sun)
    c.fill("M 4 112 L 46 34 L 68 70 L 82 50 L 124 112 Z", ink)
    c.fill("M 46 34 L 68 70 L 58 80 L 47 66 L 36 78 L 29 65 Z", mix(ink, sun, 0.55))
    return c


WIDE, TALL = (1200, 628), (320, 640)
PICTURES = {
    **{f"{name}-wide.webp": (lambda scene=scene: scene(*WIDE)) for name, scene in
       {"peaks": peaks, "trail": trail, "basket": basket, "coast": coast, "workshop": workshop, "lantern": lantern}.items()},
    **{f"{name}-tall.webp": (lambda scene=scene: scene(*TALL, tall=True)) for name, scene in
       {"peaks": peaks, "trail": trail, "basket": basket, "coast": coast}.items()},
    "shoe.webp": lambda: product(lambda c, x, y, z: shoe(c, x, y, z, "#19d3c5", "#33157a", "#ffe14d"), "#e6ddf5", 640, 330, 0.58),
    "bottle.webp": lambda: product(lambda c, x, y, z: bottle(c, x, y, z, "#e8643c", "#5a2313"), "#fbe0cc", 112, 330, 0.98),
    "pack.webp": lambda: product(lambda c, x, y, z: backpack(c, x, y, z), "#d5e6ee", 260, 340, 0.94),
    "shell.webp": lambda: product(lambda c, x, y, z: jacket(c, x, y, z, "#2f8f7a", "#14473c", "#f7e3b5"), "#d8ebe2", 340, 330, 0.94),
    "case.webp": lambda: product(lambda c, x, y, z: suitcase(c, x, y, z), "#fbe3cf", 230, 410, 0.82),
    "mark-light.png": lambda: mark(),
    "mark-dark.png": lambda: mark(PINE, EMBER),
}


def main():
    """Draws all pictures, or those named."""
    here = pathlib.Path(__file__).resolve().parent.parent
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("names", nargs="*", help="only pictures whose name starts so")
    options.add_argument("--out", type=pathlib.Path, default=here / "creatives/demo/assets")
    options.add_argument("--png", action="store_true", help="write PNG instead, to look at")
    options = options.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name, draw in PICTURES.items():
        if options.names and not name.startswith(tuple(options.names)):
            continue
        file = options.out / name
        if options.png:
            file = file.with_suffix(".png")
        draw().save(file)
        print(f"{file.name}: {file.stat().st_size / 1024:.1f} KB")


if __name__ == "__main__":
    main()
