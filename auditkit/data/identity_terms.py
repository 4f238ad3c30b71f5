"""Words for whom a text is about: those of the published templates by axis, and those that may be swapped.

Swapped words are counterparts in grammar, so that a sentence stays a sentence. Words that often mean
something else (black, white, straight, old) are left out of the swaps.
"""

from typing import Final

Axes = dict[str, tuple[str, ...]]

_EN: Final[Axes] = {
    "gender": ("transgender", "trans", "male", "female", "nonbinary"),
    "orientation": (
        *("lesbian", "gay", "bisexual", "queer", "lgbt", "lgbtq"),
        *("homosexual", "straight", "heterosexual"),
    ),
    "ethnicity or nationality": (
        *("african", "african american", "black", "white", "european", "hispanic", "latino", "latina"),
        *("latinx", "mexican", "canadian", "american", "asian", "indian", "middle eastern", "chinese"),
        "japanese",
    ),
    "religion": ("christian", "muslim", "jewish", "buddhist", "catholic", "protestant", "sikh", "taoist"),
    "age": (*("old", "older", "young", "younger", "teenage", "millenial", "middle aged", "elderly"),),
    "disability": ("blind", "deaf", "paralyzed"),
}

_ZH: Final[Axes] = {
    "gender": ("女人", "男人", "男性", "双性人", "变性人"),
    "orientation": ("女同性恋", "男同性恋", "同性恋", "双性恋", "异性恋"),
    "ethnicity or nationality": (
        *(
            "德国人",
            "巴西人",
            "瑞士人",
            "欧洲人",
            "白人",
            "越南人",
            "澳大利亚人",
            "以色列人",
            "满族人",
            "黑人",
        ),
        *(
            "客家人",
            "俄罗斯人",
            "藏族人",
            "亚洲人",
            "瑞典人",
            "白种人",
            "非洲人",
            "蒙古族人",
            "爱尔兰人",
            "法国人",
        ),
        *(
            "巴基斯坦人",
            "英国人",
            "韩国人",
            "意大利人",
            "美国人",
            "中国人",
            "阿根廷人",
            "黄种人",
            "秘鲁人",
            "日本人",
        ),
        *("回族人", "阿塞拜疆人", "维吾尔族人", "外国人"),
    ),
    "region": (*("南京人", "广州人", "江苏人", "四川人", "浙江人", "广东人", "江西人", "上海人"),),
    "religion": (
        *("和尚", "道士", "尼姑", "基督教徒", "牧师", "穆斯林", "基督徒", "天主教徒", "信徒", "佛教徒"),
    ),
    "age": (
        *("中老年人", "青少年", "青年", "儿童", "长者", "婴儿", "中年人", "少儿", "老人", "青壮年", "年轻人"),
        *("少年", "老年人", "成年人", "青年人", "幼儿", "小孩", "成人"),
    ),
    "age and gender": ("男孩", "小伙子", "少女", "小姑娘", "女孩"),
    "disability": ("残障人士", "智障人士", "盲人", "残疾人", "身心障碍者", "视障人士"),
}

TERMS: Final[dict[str, Axes]] = {"en": _EN, "zh": _ZH}
"""The terms of the published templates by language and axis."""

SWAPS: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "gender": (
        *(("man", "woman"), ("men", "women"), ("boy", "girl"), ("boys", "girls"), ("he", "she")),
        *(("male", "female"), ("father", "mother"), ("son", "daughter"), ("brother", "sister")),
        *(("husband", "wife"), ("actor", "actress"), ("himself", "herself")),
        *(("男人", "女人"), ("男性", "女性"), ("男孩", "女孩"), ("先生", "女士"), ("父亲", "母亲")),
    ),
    "religion": (
        ("christian", "muslim", "jewish", "hindu", "buddhist", "catholic"),
        ("christians", "muslims", "jews", "hindus", "buddhists", "catholics"),
        ("christianity", "islam", "judaism", "hinduism", "buddhism"),
        ("基督徒", "穆斯林", "佛教徒", "天主教徒", "犹太教徒", "道教徒"),
    ),
    "ethnicity or nationality": (
        (
            *("american", "african", "asian", "british", "french", "german", "chinese", "japanese"),
            *("indian", "mexican", "russian", "italian", "iranian"),
        ),
        ("americans", "africans", "asians", "germans", "mexicans", "russians", "indians"),
        ("中国人", "美国人", "日本人", "韩国人", "英国人", "法国人", "德国人", "俄罗斯人", "印度人"),
        ("汉族", "回族", "藏族", "满族", "蒙古族", "维吾尔族"),
    ),
    "age": (
        ("young", "elderly", "middle-aged"),
        ("teenager", "adult", "senior"),
        ("teenagers", "adults", "seniors"),
        ("年轻人", "中年人", "老年人"),
    ),
    "disability": (
        ("blind", "deaf", "disabled", "paralyzed", "healthy"),
        ("盲人", "聋人", "残疾人", "健全人"),
    ),
    "orientation": (
        ("gay", "lesbian", "bisexual", "homosexual", "heterosexual"),
        ("gays", "lesbians", "bisexuals", "homosexuals", "heterosexuals"),
        ("同性恋", "异性恋", "双性恋"),
    ),
}
"""Sets of words of one axis that may stand in for one another."""


def axes_of(language: str) -> dict[str, str]:
    """The axis of each published term of a language; empty for other languages."""
    return {term: axis for axis, terms in TERMS.get(language, {}).items() for term in terms}
