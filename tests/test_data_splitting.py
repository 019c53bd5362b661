"""Which part a sample belongs to."""

import pytest
import torch

from data_loader.splitting import divide, held_out, keys_of

NAMES = [f"class{number % 10}/{number:05d}.png" for number in range(10_000)]
CLASSES = torch.arange(10_000) % 10


def part_of_each(names, classes, **shares) -> dict[str, str]:
    parts = divide(names, **{"valid": 0.1, "test": 0.1, "seed": 3, **shares}, classes=classes)
    assert sorted(torch.cat(list(parts.values())).tolist()) == list(range(len(names)))
    assert all(torch.equal(part, part.sort().values) for part in parts.values())
    return {names[index]: name for name, part in parts.items() for index in part.tolist()}


def test_a_sample_more_or_less_moves_no_other():
    before = part_of_each(NAMES, CLASSES)
    more = part_of_each(["class0/a new one.png", *NAMES], torch.cat([torch.tensor([0]), CLASSES]))
    less = part_of_each(NAMES[1:], CLASSES[1:])
    assert {name: part for name, part in more.items() if name in before} == before
    assert {name: before[name] for name in less} == less


def test_neither_the_order_nor_the_share_of_another_part_counts():
    before = part_of_each(NAMES, CLASSES)
    assert part_of_each(NAMES[::-1], CLASSES.flip(0)) == before
    without_test = part_of_each(NAMES, CLASSES, test=0)
    moved = [name for name in NAMES if before[name] != "test" and before[name] != without_test[name]]
    assert not moved


def test_shares_of_each_class_are_kept_within_two_deviations():
    for seed in range(20):
        parts = divide(NAMES, 0.1, 0.2, seed, CLASSES)
        for part, quota, deviation in (("test", 200, 12.7), ("valid", 80, 8.5)):
            counts = CLASSES[parts[part]].bincount(minlength=10)
            assert (counts - quota).abs().max() <= 2 * deviation + 5  # the quota of valid is of what test leaves


def test_a_small_class_is_in_every_part():
    names, classes = [f"{i}.png" for i in range(60)], torch.arange(60) // 6
    for seed in range(20):
        parts = divide(names, 0.1, 0.1, seed, classes)
        assert all(classes[part].bincount(minlength=10).min() >= 1 for part in parts.values())
    assert divide(["only one"], 0.5, 0.5, 0)["train"].tolist() == [0]


def test_a_count_is_exact():
    assert held_out(keys_of(NAMES), 123, 1).sum() == 123
    assert [len(part) for part in divide(NAMES, 50, 30, 0).values()] == [9920, 50, 30]
    assert not torch.equal(held_out(keys_of(NAMES), 123, 1), held_out(keys_of(NAMES), 123, 2))


@pytest.mark.parametrize(("valid", "test"), [(0.2, 0.2), (100, 150)])
def test_groups_stay_together(valid, test):
    groups = [f"speaker {i % 13}" for i in range(1000)]  # of 76 or 77 samples each
    for seed in range(10):
        parts = divide(groups, valid, test, seed)
        held = [{groups[index] for index in part.tolist()} for part in parts.values()]
        assert sum(map(len, held)) == 13 and all(held)
        if isinstance(valid, int):
            assert abs(len(parts["valid"]) - valid) <= 77 / 2 and abs(len(parts["test"]) - test) <= 77 / 2


def test_a_single_group_is_not_divided():
    assert len(divide(["one"] * 10, 5, 0, 0)["train"]) == 10


def test_the_parts_are_the_same_on_every_machine():
    assert divide(NAMES[:30], 0.2, 0.2, 7)["test"].tolist() == [9, 22, 23, 25, 28]
