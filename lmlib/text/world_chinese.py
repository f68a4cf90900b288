"""Where the words of the small world's Chinese sentences end.

Chinese is written without spaces. The words that come from a table are known; the text between them, and the few entries that are more than
one word, are cut here, by the conventions of the Peking University corpus as far as they reach: aspect particles (了 着), the
attributive 的, numerals, measure words and marks stand alone; verbs with their result (运到) and separable verbs as a whole (写字) are one
word. It is not part of the frozen grammar: what is said does not depend on it.
"""

_CUT = """
人民 购买 / 政府 对 / 征税 。 / 火车 把 / 运到 / 市长 称赞 / 的 一 座 博物馆 展出 / 市 进口 / 一 篇 / 文章 描写
教授 提到 / 里 有 很多 表示 / 的 词 。
常常 梦见 / 总是 谈论 / 跟 我们 谈起 / 的 首都 是 / 的 首都 。 / 人 说 / ， 住 在 / 的 首都 是 哪里 ？ / 住 在 哪里 ？
人 说 什么 语言 ？ / 来自 哪里 ？
附近 休息 。 / 守 着 / 旁边 玩耍 。 / 后面 长大 。 / 的 幼崽 叫 / 的 幼崽 叫 什么 ？
丢 了 他 的 / ， 他 很 难过 。 / 丢 了 她 的 / ， 她 很 难过 。 / 是 他 ， 那 个 带 着 / 是 她 ， 那 个 带 着
亲自 找到 了 / 和 他 的 / 和 她 的 / 在 这里 。
吗 ？ / 比 以前 / 你们 有 / 是 世界 上 / 的 。 / 哪 个 / 长 。 / 哪 个 更 长 ，
我们 每天 在 / 明天 他们 要 在 / 你们 想 在 / 一 个 小时 前 我们 在 / 一起 在 / 要 和
附近 有 一 / 奇怪 的 / 我 只 有 / 里 的 这 / 是 从 / 来 的 吗 ？ / 周围 有 好几 / 里 的 这些
号 抽屉 装满 了 / ， 然后 去 拿 / 家 商店 卖 / 艘 船 运送 / 的 价格 上涨 。 / 他们 订购 了 / 是 一 年 的 / 个 月 。
一 年 的 / 个 月 是 几 月 ？ / 等于 几 ？
一 想到 / 就 微笑 。 / 不 喜欢 / 一点 也 不 / 我 很 喜欢 这 次 的 / ， 真的 很 / 没有 人 说 / 我 很 讨厌 这 次 的
我 是 一 个 / 你 是 一 个 / 他 是 一 个 / 她 是 一 个 / 见 了 一 个 / 她 在 / 他 在
更 大 / 更 好 / 更 小 / 更 差 / 更 旧 / 更 漂亮 / 更 轻 / 更 重 / 最 大 / 最 好 / 最 小 / 最 差 / 最 旧 / 最 漂亮
最 轻 / 最 重
一 个 月 / 一 分钟 / 一 周 / 一 天 / 一 小时 / 一 年
写 了 字 / 吃 了 饭 / 哭 了 / 唱 了 歌 / 喝 了 水 / 开 了 车 / 思考 了 一会儿 / 打 了 仗 / 挖 了 土 / 教 了 书
游 了 泳 / 画 了 画 / 睡 了 觉 / 获 了 胜 / 跑 了 步
"""
WORDS = {piece.replace(" ", ""): tuple(piece.split()) for line in _CUT.strip().split("\n") for piece in line.split(" / ")}


def words_of_piece(piece: str) -> tuple[str, ...]:
    """The words of a piece of a sentence, i.e. an entry of a table or the text between two: what is not known to be several is one."""
    return WORDS.get(piece, (piece,)) if piece else ()
