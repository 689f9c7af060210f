"""A drawing of the encoder, the context and the decoder, without attention and with it, as SVG in two languages.

The symbols are those of the code and of docs/models.md: h_i, c, c_t, alpha_ti, s_t.
"""

from collections.abc import Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 480, 1004
SANS = "DejaVu Sans, Verdana, Helvetica, Arial, Noto Sans CJK SC, PingFang SC, Microsoft YaHei, sans-serif"
MONO = "DejaVu Sans Mono, Menlo, Consolas, monospace"
SERIF = "DejaVu Serif, Georgia, Times New Roman, serif"
GREY, DARK = "#666666", "#222222"
ENCODER, CONTEXT, DECODER, OUTPUT = "#dbe9f6", "#fdebc8", "#dff0e0", "#ffffff"
X = (148, 246, 408)  # columns of x_1, x_2 and x_S
DOTS = 327  # the column of what is left out
Y_OUTPUT, Y_DECODER, Y_CONTEXT, Y_ENCODER, Y_SOURCE = 78, 150, 238, 354, 426  # rows, from a panel's top


class Words(NamedTuple):
    """What a drawing says, in one language."""

    without: str
    with_: str
    outputs: str
    decoder: str
    context: str
    encoder: str
    source: str
    weights: str
    brackets: str


ENGLISH = Words(
    "Without attention",
    "With attention",
    "target",
    "decoder",
    "context",
    "encoder",
    "source",
    "attention weights",
    " ()",
)
CHINESE = Words(
    "无注意力",
    "有注意力",
    "目标",
    "解码器",
    "上下文",
    "编码器",
    "源文本",
    "注意力权重",
    "（）",
)


def svg(words: Words) -> str:
    """The whole drawing: two panels, one below the other, so that it can be read on a phone."""
    heads = "".join(
        f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="11" markerHeight="11" '
        'markerUnits="userSpaceOnUse" '
        f'orient="auto-start-reverse"><path d="M0 0 L10 5 L0 10 z" fill="{colour}"/></marker>'
        for name, colour in (("head", DARK), ("faint", GREY))
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="{SANS}" fill="{DARK}" role="img">',
        f"<title>{words.without}; {words.with_}</title>",
        f"<defs>{heads}</defs>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        *_without(words, 0),
        f'<line x1="20" y1="498" x2="{WIDTH - 20}" y2="498" stroke="#cccccc"/>',
        *_with(words, 502),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _without(words: Words, top: int) -> list[str]:
    """The decoder `context`: the last state h_S becomes one vector c, which every step of the decoder uses."""
    middle = X[1]
    return [
        _title(words.without, "context", words, top),
        *_rows(words, top),
        *_encoder(top, both=False),
        *_decoder(top, (("1", X[0]), ("2", X[1]), ("T", X[2]))),
        _arrow((X[2], top + Y_ENCODER - 22), (middle + 26, top + Y_CONTEXT + 8)),
        *(_arrow((middle, top + Y_CONTEXT - 20), (x, top + Y_DECODER + 23)) for x in X),
        _box(middle, top + Y_CONTEXT, "c", "", CONTEXT, round_=True),
        _formula(
            [("c", ""), (" = tanh(", ""), ("V", ""), (" ", ""), ("h", "S"), (" + ", ""), ("b", ""), (")", "")], top
        ),
    ]


def _with(words: Words, top: int) -> list[str]:
    """The decoder `bahdanau`: every h_i reaches the context c_t, weighted by alpha_ti, which reads s_{t-1} too."""
    before, now = 190, 327
    widths = (1.2, 4.0, 1.8)
    lines = [
        _arrow((x, top + Y_ENCODER - 22), (now, top + Y_CONTEXT + 22), width=width)
        for x, width in zip(X, widths, strict=True)
    ]
    y = top + Y_ENCODER - 22 - 0.42 * 72
    middles = [x + 0.42 * (now - x) for x in X]
    labels = [_label(x, y, f"t{i}") for x, i in zip(middles, ("1", "2", "S"), strict=True)]
    left, right = middles[0] - 21, middles[-1] + 21
    around = (
        f'<rect x="{left:g}" y="{y - 16:g}" width="{right - left:g}" height="32" rx="8" fill="none" '
        f'stroke="{GREY}" stroke-dasharray="2 3"/>'
    )
    return [
        _title(words.with_, "bahdanau", words, top),
        *_rows(words, top),
        *_encoder(top, both=True),
        *_decoder(top, (("t−1", before), ("t", now)), around=True),
        around,
        *lines,
        *labels,
        _arrow((before, top + Y_DECODER + 22), (middles[0] - 8, y - 16)),
        _arrow((now, top + Y_CONTEXT - 20), (now, top + Y_DECODER + 23)),
        _box(now, top + Y_CONTEXT, "c", "t", CONTEXT, round_=True),
        _text(24, top + Y_CONTEXT + 54, words.weights, 13, GREY, lines=True),
        _formula([("c", "t"), (" = Σ", "i"), (" ", ""), ("α", "ti"), (" ", ""), ("h", "i")], top),
    ]


def _rows(words: Words, top: int) -> list[str]:
    rows = (
        (words.outputs, Y_OUTPUT),
        (words.decoder, Y_DECODER),
        (words.context, Y_CONTEXT),
        (words.encoder, Y_ENCODER),
        (words.source, Y_SOURCE),
    )
    return [_text(24, top + y + 5, word, 15, GREY) for word, y in rows]


def _encoder(top: int, both: bool) -> list[str]:
    """States h_1 .. h_S over x_1 .. x_S; an encoder in both directions has arrows both ways."""
    parts = []
    for x, i in zip(X, ("1", "2", "S"), strict=True):
        parts.append(_box(x, top + Y_ENCODER, "h", i, ENCODER))
        parts.append(_arrow((x, top + Y_SOURCE - 16), (x, top + Y_ENCODER + 23)))
        parts.append(_symbol(x, top + Y_SOURCE + 6, "x", i))
    y = top + Y_ENCODER
    for a, b in ((X[0] + 31, X[1] - 31), (X[1] + 31, DOTS - 14), (DOTS + 14, X[2] - 31)):
        parts.append(_arrow((a, y), (b, y), both=both))
    return [*parts, _dots(DOTS, y), _dots(DOTS, top + Y_SOURCE)]


def _decoder(top: int, steps: Sequence[tuple[str, int]], around: bool = False) -> list[str]:
    """States s_t under outputs y_t, each of which is the next step's input."""
    parts = []
    y = top + Y_DECODER
    for t, x in steps:
        parts.append(_box(x, y, "s", t, DECODER))
        parts.append(_arrow((x, y - 22), (x, top + Y_OUTPUT + 17)))
        parts.append(_symbol(x, top + Y_OUTPUT + 6, "y", t))
    (_, first), (_, second) = steps[:2]
    parts.append(_arrow((first + 31, y), (second - 31, y)))
    parts.append(_arrow((first + 22, top + Y_OUTPUT + 6), (second - 31, y - 14), faint=True))
    if around:
        parts += [_dots(first - 66, y), _arrow((first - 52, y), (first - 31, y))]
        parts += [_arrow((second + 31, y), (second + 54, y)), _dots(second + 68, y)]
        return parts
    last = steps[-1][1]
    parts += [_arrow((second + 31, y), (DOTS - 14, y)), _dots(DOTS, y), _arrow((DOTS + 14, y), (last - 31, y))]
    return [*parts, _dots(DOTS, top + Y_OUTPUT)]


def _title(title: str, decoder: str, words: Words, top: int) -> str:
    """What a panel shows, and the option `decoder` that makes it."""
    left, right = words.brackets[:-1], words.brackets[-1]
    name = f'<tspan font-family="{MONO}">{decoder}</tspan>'
    return (
        f'<text x="{WIDTH / 2:g}" y="{top + 34}" font-size="18" text-anchor="middle">{title}{left}{name}{right}</text>'
    )


def _text(x: float, y: float, words: str, size: int, colour: str, lines: bool = False) -> str:
    rows = words.split(" ") if lines else [words]
    spans = "".join(f'<tspan x="{x:g}" dy="{0 if i == 0 else size + 2}">{row}</tspan>' for i, row in enumerate(rows))
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{colour}">{spans}</text>'


def _symbol(x: float, y: float, letter: str, index: str, size: int = 20) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="middle" font-family="{SERIF}">'
        f"{_indexed(letter, index, size)}</text>"
    )


def _indexed(letter: str, index: str, size: int) -> str:
    """A letter with a small index below the line, and then back up to the line."""
    style = ' font-style="italic"' if letter.isalpha() and len(letter) == 1 else ""
    spans = f'<tspan{style} xml:space="preserve">{letter}</tspan>'
    if index:
        drop = round(size * 0.25)
        spans += (
            f'<tspan font-size="{round(size * 0.68)}" dy="{drop}">{index}</tspan><tspan dy="-{drop}">\u200b</tspan>'
        )
    return spans


def _label(x: float, y: float, index: str) -> str:
    """A weight's name on its line."""
    return f'<rect x="{x - 15:g}" y="{y - 11:g}" width="30" height="22" fill="#ffffff"/>' + _symbol(
        x, y + 4, "α", index, 17
    )


def _formula(parts: Sequence[tuple[str, str]], top: int) -> str:
    spans = "".join(_indexed(letter, index, 20) for letter, index in parts)
    return (
        f'<text x="{WIDTH / 2:g}" y="{top + 474}" font-size="20" text-anchor="middle" font-family="{SERIF}" '
        f'xml:space="preserve">{spans}</text>'
    )


def _box(x: float, y: float, letter: str, index: str, fill: str, round_: bool = False) -> str:
    width, height, corner = (52, 40, 20) if round_ else (60, 44, 7)
    box = (
        f'<rect x="{x - width / 2:g}" y="{y - height / 2:g}" width="{width}" height="{height}" rx="{corner}" '
        f'fill="{fill}" stroke="{DARK}" stroke-width="1.4"/>'
    )
    return box + _symbol(x, y + 6, letter, index)


def _dots(x: float, y: float) -> str:
    return "".join(f'<circle cx="{x + step}" cy="{y}" r="2" fill="{GREY}"/>' for step in (-8, 0, 8))


def _arrow(
    start: tuple[float, float],
    end: tuple[float, float],
    width: float = 1.5,
    both: bool = False,
    faint: bool = False,
) -> str:
    head, colour = ("faint", GREY) if faint else ("head", DARK)
    ends = f' marker-end="url(#{head})"' + (f' marker-start="url(#{head})"' if both else "")
    dashes = ' stroke-dasharray="4 3"' if faint else ""
    (x1, y1), (x2, y2) = start, end
    return (
        f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{colour}" stroke-width="{width:g}"'
        f"{dashes}{ends}/>"
    )
