"""How near an estimate without a tokenizer comes to the tokenizers themselves."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from llmsql.backends import base
from llmsql.token_estimate import estimate

Find = Callable[[str], base.Model]

PROSE = {
    "story": 'Marta had not opened the greenhouse since the autumn storms. The key turned with a complaint, and a smell of wet earth and old tomatoes came out to meet her. Two panes were broken; beneath them the rain had washed a small valley into the soil, and in the valley, against all reason, a single lettuce was growing. She knelt down to look at it. "You are late," she told the plant, "or much too early." Behind her the dog sneezed, turned around twice, and lay down on the only dry sack. By noon she had swept the glass into a bucket, found three pots without cracks, and decided that the place could be saved, though not before Easter, and not without her brother\'s ladder.',
    "review": "I bought this coffee grinder in March and used it every morning until last week, when the motor began to smell and then stopped altogether. Customer service answered quickly, I have to say, but they wanted photos, a receipt and the serial number, which is printed on the part that melted. The grind itself was fine for filter coffee and far too coarse for espresso. If you only make one cup a day and don't mind the noise, it is a fair deal at forty dollars. I would not buy it again, and I've told my sister the same.",
    "mail": "Hi Jonas, thank you for sending the draft contract. We have read it twice and there are only three points left. First, the delivery date in section 4 should be the end of June, as we agreed on the phone. Second, our lawyers ask that the penalty for late payment be capped at five percent. Third, could you please correct the spelling of our company's name on the last page? If you are happy with these changes, we can sign on Thursday. I'll be travelling on Wednesday, so please call Amira if anything is unclear. Kind regards, Helen",
    "report": "The committee found that ridership on regional lines rose by about eleven percent in the second year, while revenue per passenger fell slightly. Much of the growth came from commuters who had previously driven, according to a survey of 2,300 households. Critics argue that the discount is too expensive and that rural districts, where buses run only twice a day, gain nothing from it. The ministry disagrees and points to new express services in the north. A final decision is expected after the summer recess, when the finance department will publish its own estimate of the long-term costs.",
    "manual": "Before you replace the filter, switch the pump off and close both valves. Unscrew the lid by turning it counterclockwise; if it does not move, use the wrench that came with the kit. Lift the old cartridge out slowly, because some water will remain in the housing. Rinse the seal, check it for cracks, and apply a thin layer of silicone grease. Insert the new cartridge with the arrow pointing down. Finally, open the inlet valve a quarter turn, wait until the air has escaped, and then open it completely. The indicator turns green when the pressure is normal. Repeat this procedure every six months or after 5,000 litres.",
    "essay": 'It is tempting to believe that people change their minds because of arguments. More often they change the company they keep, and the opinions follow a few months later. This is not as bleak as it sounds. Trust is a reasonable guide when we cannot check everything ourselves, and nobody can. What matters is whether the groups to which we belong reward honesty when it is inconvenient: whether somebody who says "I was wrong" loses a friend or gains one. Institutions that manage this, such as a good laboratory or an unusually patient family, tend to look quarrelsome from the outside and feel remarkably safe from within.',
}
"""English of several kinds, written for this test."""

MEANS = {"python": 104, "json": 104, "numbers": 202, "german": 84, "chinese": 63, "emoji": 31}
"""What cl100k, o200k, Qwen, DeepSeek and Tekken make of OTHER, on average."""
OTHER = {
    "python": 'def moving_average(values, width=3):\n    """Yield the mean of each run of width values."""\n    window = deque(maxlen=width)\n    for value in values:\n        window.append(float(value))\n        if len(window) == width:\n            yield sum(window) / width\n\n\nif __name__ == "__main__":\n    for mean in moving_average([1, 2, 3.5, 8, 13], width=2):\n        print(f"{mean:.2f}")\n',
    "json": '{"order_id": 48213, "customer": {"name": "Li Wei", "city": "Hamburg"}, "items": [{"sku": "A-1042", "qty": 2, "price": 19.9}, {"sku": "B-7", "qty": 1, "price": 249.0}], "paid": true, "created_at": "2024-03-18T09:41:07Z"}',
    "numbers": "17, 204, 3.1416, -8, 99120, 0.05, 65536, 12, 7, 1999, 2024, 48.5, 300000, 1.5, 33\n17, 204, 3.1416, -8, 99120, 0.05, 65536, 12, 7, 1999, 2024, 48.5, 300000, 1.5, 33\n17, 204, 3.1416, -8, 99120, 0.05, 65536, 12, 7, 1999, 2024, 48.5, 300000, 1.5, 33\n",
    "german": "Die Lieferung kam zwei Tage früher als angekündigt, doch leider fehlten die Schrauben für das mittlere Regalbrett. Der Kundendienst war freundlich und schickte sofort Ersatz. Insgesamt bin ich zufrieden, würde aber beim nächsten Mal die größere Ausführung bestellen, weil für die Bücher meiner Töchter kaum noch Platz übrig ist.",
    "chinese": "这家餐厅的服务非常好，菜也很新鲜。我们点了三个菜和一个汤，味道都不错，就是价格有点贵。周末人很多，最好提前预订。下次我会带父母一起来尝尝他们的烤鸭。",
    "emoji": "Best day ever 🎉🎉 thank you all so much ❤️ see you tomorrow 👍😀 the cake was amazing 🍰🔥",
}


@pytest.mark.models
def test_english_prose_is_estimated_within_a_tenth(model: Find) -> None:
    """In sum over all kinds of prose, and within a fifth for each, by SmolLM2's tokenizer."""
    texts = list(PROSE.values())
    counted = [len(tokens) for tokens in model("transformers").tokenize(texts)]
    estimated = [estimate(text) for text in texts]
    assert sum(estimated) == pytest.approx(sum(counted), rel=0.1)
    assert estimated == pytest.approx(counted, rel=0.2)


@pytest.mark.parametrize("name", OTHER)
def test_other_texts_are_estimated_within_a_third(name: str) -> None:
    """Code, data and other languages come out near the mean of large vocabularies."""
    assert estimate(OTHER[name]) == pytest.approx(MEANS[name], rel=0.3)


def test_nothing_has_no_tokens() -> None:
    """The empty text costs nothing, and any other something."""
    assert estimate("") == 0
    assert all(
        estimate(text) > 0 for text in ["a", "7", "_", "\n", "é", "ß", "я", "中", "🙂", "\ud800"]
    )


def test_a_text_doubled_has_twice_the_tokens() -> None:
    """What came before does not change what a text costs."""
    for text in [*PROSE.values(), *OTHER.values()]:
        assert estimate(f"{text}\n{text}\n") == pytest.approx(2 * estimate(f"{text}\n"), rel=0.02)
