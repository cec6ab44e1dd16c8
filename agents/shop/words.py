"""The words from which item titles are composed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CategoryWords:
    """One category: `median_price` in the shop's currency; a title is `<quality> <noun> <series>, <variant>`."""

    name: str
    median_price: float
    nouns: tuple[str, ...]
    qualities: tuple[str, ...]
    variants: tuple[str, ...]


def _words(name: str, median_price: float, nouns: str, qualities: str, variants: str) -> CategoryWords:
    return CategoryWords(
        name, median_price, tuple(nouns.split(", ")), tuple(qualities.split(", ")), tuple(variants.split(", "))
    )


CATEGORIES = (
    _words(
        "tables",
        240,
        "side table, dining table, coffee table, desk, console, bench",
        "Oak, Walnut, Ash, Pine, Marble, Steel",
        "round, square, oval, extendable",
    ),
    _words(
        "chairs",
        130,
        "dining chair, armchair, bar stool, rocking chair, office chair",
        "Leather, Rattan, Velvet, Beech, Woven",
        "black, natural, green, with arms",
    ),
    _words(
        "lighting",
        70,
        "floor lamp, desk lamp, pendant, wall light, lantern",
        "Brass, Paper, Opal, Copper, Linen",
        "small, medium, large, dimmable",
    ),
    _words(
        "rugs",
        160,
        "rug, runner, doormat, bath mat",
        "Wool, Jute, Cotton, Sisal, Kilim",
        "60 x 90, 80 x 200, 160 x 230, 200 x 300",
    ),
    _words(
        "bedding",
        60,
        "duvet cover, pillowcase, blanket, fitted sheet, quilt",
        "Linen, Percale, Flannel, Washed cotton, Satin",
        "single, double, king",
    ),
    _words(
        "kitchen",
        32,
        "saucepan, chef's knife, mixing bowl, kettle, teapot, chopping board",
        "Enamel, Stainless, Cast-iron, Beech, Stoneware",
        "1 l, 2 l, 3 l, set of two",
    ),
    _words(
        "tableware",
        18,
        "dinner plate, mug, carafe, salad bowl, tumbler, serving dish",
        "Stoneware, Porcelain, Glass, Terracotta",
        "white, sand, blue, set of four",
    ),
    _words(
        "plants",
        24,
        "planter, watering can, herb pot, hanging basket, plant stand",
        "Zinc, Terracotta, Bamboo, Glazed, Concrete",
        "small, medium, large",
    ),
    _words(
        "storage",
        55,
        "shelf, basket, chest, coat rack, drawer box, bookcase",
        "Willow, Oak, Wire, Felt, Plywood",
        "low, tall, narrow, wide",
    ),
    _words(
        "coats",
        180,
        "rain coat, parka, trench coat, fleece jacket, gilet",
        "Waxed, Quilted, Wool, Recycled, Light",
        "S, M, L, XL",
    ),
    _words(
        "shoes",
        95,
        "running shoe, ankle boot, loafer, sandal, trainer",
        "Suede, Leather, Canvas, Knit, Trail",
        "38, 40, 42, 44",
    ),
    _words(
        "bags",
        75,
        "backpack, tote bag, weekender, wallet, shoulder bag",
        "Canvas, Leather, Nylon, Waxed, Cork",
        "black, olive, cognac, navy",
    ),
)

_FIRST = ("Al", "Bor", "Dal", "El", "Fal", "Ham", "Lin", "Mar", "Nor", "Ost", "Rus", "Sol", "Tor", "Vik")
_LAST = ("berg", "by", "en", "holm", "lund", "mark", "ra", "sund", "vik", "ö")
N_SERIES = len(_FIRST) * len(_LAST)


def series_name(number: int) -> str:
    """Return the series of `number`; names repeat with the period `N_SERIES`."""
    return _FIRST[number % len(_FIRST)] + _LAST[number // len(_FIRST) % len(_LAST)]
